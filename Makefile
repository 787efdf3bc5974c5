# Two commands for a fresh machine: `make demo` and `make test`. Both set up first.
.PHONY: setup demo test test-all e2e lint parity beam browser slurm skypilot bench bench-gpu fuzz soak lock container clean

PYTHON ?= python3
VENV   := .venv
STAMP  := $(VENV)/.set-up
# pip's index, where one is set, is uv's index too.
ifneq ($(PIP_INDEX_URL),)
export UV_DEFAULT_INDEX := $(PIP_INDEX_URL)
endif

setup: $(STAMP)

$(STAMP): pyproject.toml requirements.lock
	@echo "setting up $(VENV): about 20 packages of ours and what they need, some 1.5 GB"
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "Python 3.11 to 3.13 is needed, this is %d.%d; use: make PYTHON=python3.12 setup" % v)'
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
	$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python --require-hashes -r requirements.lock
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --editable .
	@touch $@
	@echo "set up: $(VENV)/bin/dfbench"

demo: setup
	@echo "main job: train on each embedded dataset, score on both"
	$(VENV)/bin/dfbench run --protocol benchmarks/protocols/demo.toml --runs-dir runs/demo

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# A file's tests run in one process, which makes their fixtures once: --dist loadfile. Long files are
# not the last ones in the order of their names.
test: lint
	@echo "tests (the heavier ones: make test-all)"
	$(VENV)/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: lint beam
	$(VENV)/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

# The main job, the protocols of the five reports in small, several processes, object storage: a part
# of test-all, and a step of its own in CI.
e2e: setup
	$(VENV)/bin/python -m pytest -q -p no:xdist tests/e2e/test_tiny.py \
	  tests/e2e/test_report_protocols.py tests/e2e/test_processes.py tests/e2e/test_storage.py

# Apache Beam in an environment of its own: it needs older versions of what others need too.
BEAM := .venv-beam
beam: setup
	$(PYTHON) -m venv --clear $(BEAM)
	$(VENV)/bin/uv pip install --quiet --python $(BEAM)/bin/python --editable ".[dev,beam]"
	$(BEAM)/bin/python -m pytest -q -n 2 tests/faces/test_beam.py

# PyTorch, which only the tests of tests/parity and a benchmark compare with; nothing else changes
# its version. On Linux PyPI's build brings several GB of CUDA packages; PyTorch's index has one
# for CPUs alone: make parity PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
PARITY := $(VENV)/.parity
parity: $(PARITY)

$(PARITY): $(STAMP)
	@echo "installing PyTorch into $(VENV)"
	@$(VENV)/bin/python -m pip freeze --exclude-editable > $(VENV)/installed.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint $(VENV)/installed.txt "torch==2.13.0"
	@touch $@

# A browser, in which the leaderboard's page is tested; without one those tests are skipped.
browser:
	@command -v chromium || command -v chromium-browser || command -v google-chrome \
	  || (apt-get update -qq && apt-get install -qq --no-install-recommends chromium)

# SLURM and Open MPI, on which tests run real jobs; without them these tests are skipped.
slurm: setup
	@(PATH=$$PATH:/usr/sbin command -v slurmctld && command -v mpirun) || (apt-get update -qq && \
	  apt-get install -qq --no-install-recommends slurmctld slurmd slurm-client munge openmpi-bin) \
	  || echo "SLURM and Open MPI cannot be installed here: their tests are skipped"
	$(VENV)/bin/python -m pytest -q -p no:xdist tests/launch/test_slurm.py tests/launch/test_open_mpi.py

# SkyPilot in an environment of its own, whose parser reads the tasks of `dfbench launch skypilot`.
SKYPILOT := .venv-skypilot
skypilot: setup
	$(PYTHON) -m venv --clear $(SKYPILOT)
	$(VENV)/bin/uv pip install --quiet --python $(SKYPILOT)/bin/python --editable ".[dev]" \
	  "skypilot>=0.14,<0.15"
	$(SKYPILOT)/bin/python -m pytest -q -p no:xdist tests/launch/test_skypilot.py

# 100,000 inputs of everything that users and strangers write; some hundred are a part of `test`.
fuzz: setup
	$(VENV)/bin/python tests/fuzz/run.py

# An hour of a matrix that is killed at random and goes on: what came out has to be the same.
soak: setup
	$(VENV)/bin/python tests/soak/run.py

bench: setup
	$(VENV)/bin/python benchmarks/speed/startup.py
	$(VENV)/bin/python benchmarks/speed/train_step.py
	$(VENV)/bin/python benchmarks/speed/extract.py

# All that is measured on an NVIDIA GPU, unattended: docs/gpu.md. What matters most comes first.
MINUTES ?= 60
bench-gpu: setup
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --editable ".[cuda]"
	$(VENV)/bin/python benchmarks/speed/gpu.py --minutes $(MINUTES)

# Versions and hashes of everything `make setup` installs, for every supported Python and platform.
# The others are of the containers, without what the tests need; Beam's cannot have the same versions.
LOCK := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-header --no-annotate
RUNTIME := pyproject.toml --extra s3 --extra gcs
lock: setup
	$(LOCK) pyproject.toml --extra dev -o requirements.lock
	$(LOCK) $(RUNTIME) --constraint requirements.lock -o requirements-cpu.lock
	$(LOCK) $(RUNTIME) --extra cuda --constraint requirements.lock -o requirements-cuda.lock
	$(LOCK) $(RUNTIME) --extra tpu --constraint requirements.lock -o requirements-tpu.lock
	echo 'apache-beam[gcp]' | $(LOCK) - $(RUNTIME) --extra beam -o requirements-beam.lock
	printf 'hatchling>=1.27\nsetuptools\n' | $(LOCK) - -o requirements-build.lock

# The Dockerfile's steps one after the other, without an engine: what needs one is named.
container: setup
	$(VENV)/bin/hadolint Dockerfile
	$(VENV)/bin/python tests/container/replay.py

clean:
	rm -rf $(VENV) $(BEAM) $(SKYPILOT) runs
