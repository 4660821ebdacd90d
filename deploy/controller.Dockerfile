# syntax=docker/dockerfile:1
# The controller: REST, dashboard, evolution. It carries neither jax nor ray.
#   docker build -f deploy/controller.Dockerfile -t brainformer-controller .
# A mirror or a proxy with its own CA: --secret id=pip.conf,src=FILE --secret id=ca.pem,src=FILE,
# where pip.conf says `cert = /run/secrets/ca.pem`. Neither stays in the image.

ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv /app
# Dependencies first: they change seldom, so their layer is reused. Every file is checked by hash.
COPY requirements/build.txt requirements/controller.txt requirements/
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    PIP_CONFIG_FILE=/run/secrets/pip.conf /app/bin/pip install --require-hashes \
      -r requirements/build.txt -r requirements/controller.txt
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
# The root may be read-only: what is written without a database URL lies in /data.
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/data XDG_DATA_HOME=/data XDG_CACHE_HOME=/data/cache
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8700
# Ready means: the database answers and its schema is this version's.
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8700/readyz', timeout=3)"]
ENTRYPOINT ["brainformer"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8700"]
