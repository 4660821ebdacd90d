# syntax=docker/dockerfile:1
# A dispatcher with its trials, and the nodes of its Ray cluster, for one kind of hardware.
#   docker build -f deploy/worker.Dockerfile --build-arg ACCELERATOR=cuda -t brainformer-worker-cuda .
#   docker build -f deploy/worker.Dockerfile --build-arg ACCELERATOR=tpu  -t brainformer-worker-tpu .
#   docker build -f deploy/worker.Dockerfile --build-arg ACCELERATOR=cpu  -t brainformer-worker-cpu .
# The CUDA libraries and libtpu come as wheels, so that the base is the same for all: the host needs
# the NVIDIA driver and container toolkit, or a TPU VM. jax[tpu] silently resolves to a version that
# is years old on a glibc below 2.31; bookworm has 2.36.
# A mirror or a proxy with its own CA: as in controller.Dockerfile.

ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG ACCELERATOR
RUN case "$ACCELERATOR" in cpu|cuda|tpu) ;; \
      *) echo "give --build-arg ACCELERATOR=cpu, cuda or tpu" >&2; exit 1;; esac
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv /app
COPY requirements/build.txt requirements/${ACCELERATOR}.txt requirements/
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    PIP_CONFIG_FILE=/run/secrets/pip.conf /app/bin/pip install --require-hashes \
      -r requirements/build.txt -r requirements/${ACCELERATOR}.txt
COPY pyproject.toml README.md LICENSE ./
COPY brainformer brainformer
COPY search search
COPY model model
COPY worker worker
COPY api api
RUN /app/bin/pip install --no-index --no-build-isolation --no-deps . \
 && /app/bin/pip uninstall --yes setuptools pip

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 brainformer \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data \
      --shell /usr/sbin/nologin brainformer \
 && install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=build /app /app
# The root may be read-only: state, data sets and compiled programs lie in /data. Ray has its
# sockets and logs below /tmp and its object store in /dev/shm.
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/data XDG_CACHE_HOME=/data/cache RAY_USAGE_STATS_ENABLED=0
USER 10001:10001
WORKDIR /data
VOLUME /data
# A worker opens no port; its dispatcher touches this file every five seconds. Ray starts first.
HEALTHCHECK --interval=30s --timeout=4s --start-period=180s --retries=3 \
  CMD ["sh", "-c", "find /data/cache/brainformer/worker/alive -mmin -1 | grep -q ."]
ENTRYPOINT ["brainformer"]
CMD ["worker"]
