# syntax=docker/dockerfile:1
# A dispatcher with its trials, for one kind of hardware; one image a kind, one lock file each.
#   docker build -f deploy/worker.Dockerfile --build-arg ACCELERATOR=cuda -t brainformer-worker-cuda .
#   docker build -f deploy/worker.Dockerfile --build-arg ACCELERATOR=tpu  -t brainformer-worker-tpu .
#   docker build -f deploy/worker.Dockerfile --build-arg ACCELERATOR=cpu  -t brainformer-worker-cpu .
# The CUDA libraries and libtpu come as wheels, so that the base is the same for all: the host needs
# the NVIDIA driver and container toolkit, or a TPU VM. jax[tpu] silently resolves to a version that
# is years old on a glibc below 2.31; bookworm has 2.36.

ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG ACCELERATOR
RUN case "$ACCELERATOR" in cpu|cuda|tpu) ;; \
      *) echo "give --build-arg ACCELERATOR=cpu, cuda or tpu" >&2; exit 1;; esac
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /app
COPY requirements/${ACCELERATOR}.txt requirements/${ACCELERATOR}.txt
RUN /app/bin/pip install --require-hashes -r requirements/${ACCELERATOR}.txt
COPY pyproject.toml README.md LICENSE ./
COPY brainformer brainformer
COPY search search
COPY model model
COPY worker worker
COPY api api
RUN /app/bin/pip install --no-deps . && /app/bin/pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
# Ray needs a home of its own and puts its sockets below /tmp.
RUN groupadd --gid 10001 brainformer \
 && useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin brainformer \
 && install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/home/brainformer
USER 10001:10001
WORKDIR /data
VOLUME /data
ENTRYPOINT ["brainformer"]
CMD ["worker"]
