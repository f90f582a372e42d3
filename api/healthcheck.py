"""Is the service in this container alive? `python -I api/healthcheck.py`: exit code 0 or 1.

Standard library only, and the settings are read by hand: it runs every few seconds, where loading
them properly would cost more than the answer.
"""

from __future__ import annotations

import os
import sys
import tomllib
import urllib.request
from collections.abc import Mapping
from pathlib import Path

_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened on


def address(file: Path, environ: Mapping[str, str]) -> str:
    """The service's `/healthz`, by its settings in `file` and `environ`; the environment wins."""
    api = tomllib.loads(file.read_text("utf-8")).get("api", {}) if file.exists() else {}
    host = environ.get("NODETILL_API__HOST") or str(api.get("host", "127.0.0.1"))
    port = environ.get("NODETILL_API__PORT") or str(api.get("port", 8480))
    host = host.strip().strip("[]")
    host = _ANY_HOST.get(host, host)
    return f"http://[{host}]:{port}/healthz" if ":" in host else f"http://{host}:{port}/healthz"


def main() -> int:
    url = address(Path("nodetill.toml"), os.environ)
    try:
        # No proxy stands between a service and itself.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=4) as answer:
            return 0 if answer.status == 200 else 1
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
