# syntax=docker/dockerfile:1
#
# dfbench with all that it needs, and nothing else, as requirements-<ACCELERATOR>.lock has it:
#
#   docker build -t dfbench .                                      CPUs; ACCELERATOR=cuda or tpu
#   docker build -t dfbench-beam --target beam --build-arg ACCELERATOR=beam .    workers of Beam
#   docker run --rm -v "$PWD:/work" -v dfbench:/cache dfbench run --train synth_swap
#
# The base is pinned by its tag. To pin its very bytes, look them up with
# `docker buildx imagetools inspect python:3.11-slim-bookworm` and build with
# --build-arg PYTHON=python:3.11-slim-bookworm@sha256:<digest>.
ARG PYTHON=python:3.11-slim-bookworm
ARG BEAM_SDK=apache/beam_python3.11_sdk:2.77.0

# ------------------------------------------------------------------------------------ the packages
FROM ${PYTHON} AS build
ARG ACCELERATOR=cpu
WORKDIR /src
COPY requirements-build.lock requirements-${ACCELERATOR}.lock ./
# Wheels first: what has none on the index is built here, by pinned tools too, which stay behind, as
# does pip.
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock \
 && /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --require-hashes \
      --wheel-dir /opt/wheels -r requirements-${ACCELERATOR}.lock \
 && python -m venv --without-pip /opt/dfbench \
 && /opt/build/bin/pip --python /opt/dfbench/bin/python install --no-cache-dir --no-deps \
      --no-index /opt/wheels/*.whl
COPY pyproject.toml README.md LICENSE ./
COPY dfbench dfbench
COPY datasets datasets
COPY benchmarks/protocols benchmarks/protocols
COPY leaderboard/published leaderboard/published
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /opt/own . \
 && /opt/build/bin/pip --python /opt/dfbench/bin/python install --no-cache-dir --no-deps \
      --no-index /opt/own/*.whl

# ------------------------------------------------------------------------------- what runs anywhere
FROM ${PYTHON} AS runtime
# What the wheels do not bring: OpenCV wants libGL, GLib and libxcb, MediaPipe wants EGL and GLES.
# Debian keeps no old versions that could be pinned; its release is fixed by the base.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libegl1 libgl1 libgles2 libglib2.0-0 libxcb1 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/dfbench /opt/dfbench
ENV PATH=/opt/dfbench/bin:$PATH \
    DFBENCH_CACHE=/cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# --------------------------------------------------------- workers of Dataflow, Flink and Spark
FROM ${BEAM_SDK} AS beam-sdk

FROM runtime AS beam
COPY --from=beam-sdk /opt/apache/beam /opt/apache/beam
# Else the worker makes an environment of its own, without what is installed here.
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
ENTRYPOINT ["/opt/apache/beam/boot"]

# ------------------------------------------------------------------------------------- the command
FROM runtime AS dfbench
# Of any user's number: Kubernetes and `docker run --user` choose their own.
RUN useradd --uid 10001 --create-home dfbench \
 && mkdir -p /cache /work \
 && chmod 1777 /cache /work
USER 10001
WORKDIR /work
VOLUME ["/cache", "/work"]
HEALTHCHECK NONE
ENTRYPOINT ["dfbench"]
CMD ["--help"]
