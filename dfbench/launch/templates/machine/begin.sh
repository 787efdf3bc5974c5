set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
export PATH="$HOME/dfbench-env/bin:$PATH"
{% for name, value in work.env %}
export {{ name }}={{ value }}
{% endfor %}
