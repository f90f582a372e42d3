"""The service as a program: stopped in the middle of anything, and its secrets in no output."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.server import CannotListen
from commands.serve import _refusals
from node_watcher.signing.seed import create as create_seed
from regtest.free_ports import free_port
from regtest.node import RegtestNode
from storage.errors import DatabaseUnusable
from tests.commands.conftest import DESCRIPTOR
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """`serve` with settings from the environment: the process, its port, its output."""
    port, output = free_port(), folder / "output"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NODETILL_", "BITCOIN_"))}
    environment |= {
        "NODETILL_NODE__NETWORK": "regtest",
        "NODETILL_NODE__WALLET": f"till-{secrets.token_hex(4)}",
        "NODETILL_API__PORT": str(port),
        "NODETILL_DATABASE__URL": f"sqlite:///{folder / 'till.db'}",
        **settings,
    }
    (folder / "nodetill.toml").write_text("")
    with output.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "main.py"), "serve", "--config", str(folder / "nodetill.toml")],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        yield process, port, output
    finally:
        process.kill()
        process.wait()


def answers(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def test_stopped_while_the_node_hangs_and_a_page_is_open(fresh_node: RegtestNode, tmp_path: Path) -> None:
    own = {
        "NODETILL_NODE__RPC_URL": fresh_node.rpc_url,
        "NODETILL_NODE__RPC_COOKIE_FILE": str(fresh_node.cookie_file),
        "NODETILL_WALLET__DESCRIPTOR": DESCRIPTOR,
    }
    with serving(tmp_path, **own) as (process, port, output):
        wait_for(lambda: answers(port, "/readyz") == 200, what=output.read_text())
        fresh_node.suspend()
        held = threading.Thread(target=answers, args=(port, "/readyz"))
        held.start()
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, output.read_text()
        assert time.monotonic() - began < 8
        held.join()
        fresh_node.resume()
    assert "Traceback" not in output.read_text()


def test_a_node_that_hangs_at_the_start_keeps_nobody_waiting(fresh_node: RegtestNode, tmp_path: Path) -> None:
    fresh_node.suspend()
    own = {
        "NODETILL_NODE__RPC_URL": fresh_node.rpc_url,
        "NODETILL_NODE__RPC_COOKIE_FILE": str(fresh_node.cookie_file),
        "NODETILL_WALLET__DESCRIPTOR": DESCRIPTOR,
    }
    with serving(tmp_path, **own) as (process, port, output):
        wait_for(lambda: answers(port, "/healthz") == 200, 20, output.read_text())
        assert answers(port, "/readyz") == 503
        fresh_node.resume()
        wait_for(lambda: answers(port, "/readyz") == 200, 30, output.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0


def test_secrets_are_in_no_output_and_in_no_process_list(node: RegtestNode, tmp_path: Path) -> None:
    """Forwarding mode at its most talkative, with a node that refuses the login, then with one that does not."""
    known = {name: secrets.token_hex(24) for name in ("password", "passphrase", "token")}
    words = create_seed(tmp_path / "seed.json", known["passphrase"], scrypt_n=2**10)
    own = {
        "NODETILL_WALLET__SEED_FILE": str(tmp_path / "seed.json"),
        "NODETILL_WALLET__SEED_PASSPHRASE": known["passphrase"],
        "NODETILL_WALLET__FORWARD_TO": ADDRESS,
        "NODETILL_API__USER_TOKEN_SECRET": known["token"],
        "NODETILL_LOG__LEVEL": "debug",
        "NODETILL_NODE__RPC_URL": node.rpc_url,
    }
    wrong = own | {"NODETILL_NODE__RPC_USER": "till", "NODETILL_NODE__RPC_PASSWORD": known["password"]}
    with serving(tmp_path, **wrong) as (process, _, output):
        assert process.wait(30) == 2
        refused = output.read_text()
    assert "node.rpc_password" in refused
    assert not (tmp_path / "till.db").exists()
    own["NODETILL_NODE__RPC_COOKIE_FILE"] = str(node.cookie_file)
    with serving(tmp_path, **own) as (process, port, output):
        wait_for(lambda: answers(port, "/readyz") == 200, what=output.read_text())
        shown = Path(f"/proc/{process.pid}/cmdline").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    cookie = node.cookie_file.read_text().partition(":")[2]
    everything = refused + output.read_text() + shown
    for secret in (*known.values(), words, cookie):
        assert secret not in everything
    for line in output.read_text().splitlines():
        assert json.loads(line)["level"] in ("debug", "info", "warning")


@pytest.mark.parametrize(
    "error, said",
    [
        (ExceptionGroup("", [DatabaseUnusable("database.url: full")]), ["database.url: full"]),
        (
            ExceptionGroup("", [ExceptionGroup("", [DatabaseUnusable("one")]), CannotListen("two")]),
            ["one", "two"],
        ),
        (ExceptionGroup("", [DatabaseUnusable("one"), ZeroDivisionError()]), []),
        (ZeroDivisionError(), []),
    ],
)
def test_what_only_the_operator_can_mend(error: Exception, said: list[str]) -> None:
    assert _refusals(error) == said
