# The image of every command. The whole lock is fetched with its hashes checked; only what holdfast needs at run time
# is then installed from it, so the image has no test tools and every file in it is a locked one. The hot path is
# compiled (setup.py says how); mypyc, which does it, stays behind.

# The full image has a compiler: Faust has no wheel for Linux on ARM.
FROM python:3.11.14-bookworm AS build
WORKDIR /src
COPY requirements.lock ./
RUN pip wheel --no-cache-dir --require-hashes --requirement requirements.lock --wheel-dir /wheels
COPY pyproject.toml setup.py README.md LICENSE ./
COPY schemas schemas
COPY streams streams
COPY samples samples
COPY agents agents
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --no-index --find-links /wheels mypy setuptools ".[rocksdb]" \
    && HOLDFAST_COMPILE=1 /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && python -m venv /opt/holdfast \
    && /opt/holdfast/bin/pip install --no-cache-dir --no-index --find-links /wheels "holdfast[rocksdb]"

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/holdfast /opt/holdfast
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/holdfast holdfast \
    && install --directory --owner=holdfast --mode=700 /var/lib/holdfast/data
# By number, so that a cluster can see that it is not root.
USER 10001
WORKDIR /var/lib/holdfast
ENV PATH=/opt/holdfast/bin:$PATH \
    PYTHONUNBUFFERED=1
# Metrics of a worker; the console.
EXPOSE 6066 6067
ENTRYPOINT ["holdfast"]
CMD ["worker"]
