# syntax=docker/dockerfile:1
# The controller: REST, dashboard, evolution. It carries neither jax nor ray.
#   docker build -f deploy/controller.Dockerfile -t brainformer-controller .

ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /app
# Dependencies first: they change seldom, so their layer is reused. Every file is checked by hash.
COPY requirements/controller.txt requirements/controller.txt
RUN /app/bin/pip install --require-hashes -r requirements/controller.txt
COPY pyproject.toml README.md LICENSE ./
COPY brainformer brainformer
COPY search search
COPY model model
COPY worker worker
COPY api api
RUN /app/bin/pip install --no-deps . && /app/bin/pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 brainformer \
 && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin brainformer \
 && install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8700
# Ready means: the database answers and its schema is this version's.
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8700/readyz', timeout=3)"]
ENTRYPOINT ["brainformer"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8700"]
