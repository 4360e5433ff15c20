# The worker, without a shell's worth of extras: the wheels of requirements-runtime.lock and the package itself.
# Build: docker build -t stream-infer:0.1.0 .    Run: docs/operations.md

FROM python:3.12.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/stream-infer && python -m venv /opt/build
# The wheels before the source: a change of the code does not fetch them again.
COPY requirements-runtime.lock requirements-build.lock ./
RUN /opt/stream-infer/bin/pip install --require-hashes --only-binary :all: -r requirements-runtime.lock \
    && /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY stream_infer stream_infer
RUN /opt/build/bin/python -m hatchling build -t wheel -d /dist \
    && /opt/stream-infer/bin/pip install --no-index --no-deps /dist/*.whl \
    && /opt/stream-infer/bin/pip check

FROM python:3.12.13-slim-bookworm
RUN groupadd --gid 10001 stream-infer \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin stream-infer \
    && install -d -o stream-infer -g stream-infer /var/cache/stream-infer
COPY --from=build /opt/stream-infer /opt/stream-infer
# Kernels are compiled for the processor at hand when a worker first starts, and kept in the one writable folder:
# mount a volume there, and the next container starts faster. There a shadow remembers, too, how often it died.
ENV PATH=/opt/stream-infer/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/var/cache/stream-infer \
    XDG_CACHE_HOME=/var/cache
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
EXPOSE 8080
# Asks the control server itself, past any proxy of the environment. Python's own client: the image has no curl.
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('STREAM_INFER__CONTROL__PORT', '8080') + '/healthz', timeout=4)"]
ENTRYPOINT ["stream-infer"]
CMD ["run", "-c", "/etc/stream-infer/worker.toml"]
