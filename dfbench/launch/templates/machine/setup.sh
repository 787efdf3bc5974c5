#!/bin/bash
# Python and dfbench on a machine that has neither, once.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

export PATH="$HOME/.local/bin:$PATH" UV_LINK_MODE=copy
command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
wait=(-o DPkg::Lock::Timeout=600) # for what a fresh machine installs by itself
sudo apt-get "${wait[@]}" update -qq
sudo apt-get "${wait[@]}" install -y -qq --no-install-recommends libgl1 libegl1 libgles2 libglib2.0-0
[[ -x ~/dfbench-env/bin/python ]] || uv venv --python 3.12 ~/dfbench-env
uv pip install --python ~/dfbench-env/bin/python {{ package }}
