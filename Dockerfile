# The service. It runs from the checkout's files, as everywhere; only the locked packages are installed.
#
#   docker build -t nodetill .
#   docker run -v nodetill:/data -v ./nodetill.toml:/data/nodetill.toml:ro -p 127.0.0.1:8480:8480 nodetill
#
# /data is the only folder it writes to: settings (nodetill.toml), database, and what you put beside them.

FROM debian:trixie-slim AS environment
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv /opt/venv
COPY requirements/build.txt requirements/runtime.txt /requirements/
# As the launcher does it: first what builds the two source-only packages, then the rest, all by hash.
RUN for lock in build runtime; do \
      /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-input --progress-bar off \
        --require-hashes --no-deps --use-pep517 --no-build-isolation \
        --only-binary :all: --no-binary embit,python-bitcoinrpc -r /requirements/$lock.txt || exit 1; \
    done \
 && /opt/venv/bin/python -m pip uninstall -q -y setuptools wheel pip

FROM debian:trixie-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --user-group --create-home nodetill \
 && useradd --uid 1001 --user-group --home-dir /signer nodetill-signer \
 && printf '#!/bin/sh\nexec /opt/venv/bin/python /app/main.py "$@"\n' >/usr/local/bin/nodetill \
 && chmod 755 /usr/local/bin/nodetill \
 # New volumes take owner and content from here: user 1000, and settings that leave all to the environment.
 && install -d -o 1000 -g 1000 -m 700 /data /cookie \
 && install -d -o 1001 -g 1001 -m 700 /signer \
 && install -d -o 1001 -g 1001 -m 755 /run/nodetill-signer \
 && echo '# No settings here: they come from NODETILL_... variables, or mount your own file in this place.' \
      >/data/nodetill.toml \
 && chown 1000:1000 /data/nodetill.toml
COPY --from=environment /opt/venv /opt/venv
COPY . /app
RUN /opt/venv/bin/python -m compileall -q /app

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/home/nodetill
WORKDIR /data
USER 1000:1000
EXPOSE 8480
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["/opt/venv/bin/python", "-I", "/app/api/healthcheck.py"]
ENTRYPOINT ["nodetill"]
CMD ["serve"]
