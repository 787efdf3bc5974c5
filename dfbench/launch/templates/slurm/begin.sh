
cd -- {{ s.folder }} || exit 1
{% if s.setup %}
# shellcheck source=/dev/null
. {{ s.setup }}
{% endif %}
{% for name, value in work.env %}
export {{ name }}={{ value }}
{% endfor %}
set -euo pipefail
