"""What is refused before the node is asked and anything is written."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import Run

ROOT = Path(__file__).resolve().parents[2]


def test_a_slow_curve_is_refused(config: Path) -> None:
    """embit's own fallback, brought about by hiding its C binding from a fresh interpreter."""
    script = (
        "import sys; sys.modules['embit.util.ctypes_secp256k1'] = None\n"
        f"import main; sys.exit(main.main(['serve', '--config', {str(config)!r}]))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("nodetill: embit has no libsecp256k1 for this machine")
    assert list(config.parent.iterdir()) == [config]


@contextmanager
def server_that_answers(answer: Any) -> Iterator[str]:
    """Somebody else's JSON server; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = json.dumps({**answer, "id": asked["id"]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"code": -32601, "message": "the method getblockchaininfo does not exist"}},
        {"result": {}},
        {"result": None},
        {"result": "hello"},
        {"result": {"chain": 5}},
    ],
)
def test_another_json_server_at_the_url(config: Path, run: Run, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setenv("NODETILL_NODE__RPC_USER", "u")
    monkeypatch.setenv("NODETILL_NODE__RPC_PASSWORD", "p")
    with server_that_answers(answer) as url:
        monkeypatch.setenv("NODETILL_NODE__RPC_URL", url)
        done = run("serve", "--config", config)
    assert done.complaint.startswith("node.rpc_url: what answers there is not bitcoind")
    assert list(config.parent.iterdir()) == [config]
