"""The real service as a process of its own, beside a private node: start it, ask it, kill it."""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from node_watcher.signing.seed import create as create_seed
from regtest.child_process import ChildProcess
from regtest.child_server import ChildServer, Process
from regtest.command_line import ROOT, Ended, clean_environment, main
from regtest.free_ports import free_port
from regtest.node import RegtestNode
from regtest.owner import Owner
from regtest.service_client import BASE, SCOPES, ServiceClient
from regtest.settings_file import Tables, toml_text

__all__ = ["BASE", "SCOPES", "Mode", "RunningService"]

Mode = Literal["watch-only", "forwarding"]


class RunningService(ServiceClient, ChildServer):
    """`with RunningService(node, database_url) as till: payment = till.create("small")`."""

    called = "the service"

    def __init__(
        self,
        node: RegtestNode,
        database_url: str,
        *,
        mode: Mode = "watch-only",
        settings: Tables | None = None,
        zmq: bool = True,
        folder: Path | None = None,
        owner: Owner | None = None,
        record: Path | None = None,
    ) -> None:
        """Writes nodetill.toml; nothing runs before `start()`. `settings` go over what stands below.

        `node` must be running: its wallet for the owner is made here, unless one is given. An owner is
        for one service, or for services that never start. `zmq=False` names no endpoint; `record` is the
        file of `serve --record`.
        """
        ServiceClient.__init__(self, free_port(), database_url, secrets.token_hex(32))
        home = folder or Path(tempfile.mkdtemp(prefix="nodetill-service-"))
        ChildServer.__init__(self, home, temporary=folder is None)
        self.node, self.mode, self.record = node, mode, record
        self.owner = owner or Owner(node)
        self.forward_to: str | None = None
        self.mnemonic = ""
        """The words of its seed, in forwarding mode."""
        self.config = self.folder / "nodetill.toml"
        self.settings = self._settings(zmq, settings or {})
        self.write_config()
        self._door = "/readyz"

    def _settings(self, zmq: bool, more: Tables) -> dict[str, Any]:
        node: dict[str, Any] = {
            "network": "regtest",
            "rpc_url": self.node.rpc_url,
            "rpc_cookie_file": str(self.node.cookie_file),
            "wallet": f"till-{secrets.token_hex(4)}",
        }
        if zmq:
            node |= {"zmq_rawtx": self.node.zmq_rawtx, "zmq_hashblock": self.node.zmq_hashblock}
        made: dict[str, Any] = {
            "node": node,
            "wallet": self._wallet(),
            "payments": {"check_interval_seconds": 0.5},
            "database": {"url": self.database_url},
            "api": {"port": self.port, "user_token_secret": self.user_token_secret},
        }
        for section, values in more.items():
            made[section] = {**made.get(section, {}), **values} if isinstance(values, Mapping) else values
        return made

    def _wallet(self) -> dict[str, str]:
        if self.mode == "watch-only":
            return {"descriptor": self.owner.descriptor}
        self.forward_to = self.owner.new_address()
        passphrase = secrets.token_hex(8)
        # A light curve: its strength is tested elsewhere, here it would cost half a second a start.
        self.mnemonic = create_seed(self.folder / "seed.json", passphrase, scrypt_n=2**10)
        return {"seed_file": "seed.json", "seed_passphrase": passphrase, "forward_to": self.forward_to}

    def write_config(self) -> None:
        """Write `settings` to nodetill.toml, for its owner's eyes only."""
        self.config.touch(mode=0o600)
        self.config.write_text(toml_text(self.settings), encoding="utf-8")

    # ------------------------------------------------------------------ life and death

    def _spawn(self) -> Process:
        recorded = [] if self.record is None else ["--record", str(self.record)]
        return ChildProcess(
            [sys.executable, str(ROOT / "main.py"), "serve", "--config", str(self.config), *recorded],
            log_file=self.log_file,
            environment=clean_environment(),
            folder=ROOT,
            remove_on_orphan=self.remove_on_orphan,
        )

    def start(self, timeout: float = 60.0, *, ready: bool = True) -> Self:
        """Start, and wait until it is ready (or, `ready=False`, until it answers). Raises `DidNotStart`."""
        self._door = "/readyz" if ready else "/healthz"
        return super().start(timeout)

    def _answers(self) -> bool:
        try:
            return self.ask("GET", self._door, key=None).status == 200
        except OSError:
            return False

    def serve(self, **environ: str) -> Ended:
        """Run in the foreground to its end, which something wrong brings about at once."""
        return main("serve", "--config", str(self.config), environ=environ)

    # ------------------------------------------------------------------ reading

    def wait_payment(
        self, payment_id: str, is_there: Callable[[dict[str, Any]], object] | str, *, timeout: float = 30.0
    ) -> dict[str, Any]:
        """The payment once `is_there(payment)` is true; a text is the status to wait for."""
        seen: dict[str, Any] = {}

        def arrived() -> bool:
            seen.update(self.payment(payment_id))
            return bool(seen["status"] == is_there if isinstance(is_there, str) else is_there(seen))

        try:
            self.wait(f"payment {payment_id}", arrived, timeout=timeout)
        except TimeoutError as slow:
            raise TimeoutError(f"{slow}\nthe payment is {json.dumps(seen, indent=1)}") from None
        return seen

    def wait_level(self, *, timeout: float = 30.0) -> None:
        """Until the service is ready and at the node's tip."""

        def level() -> bool:
            answer = self.ask("GET", "/readyz", key=None)
            return answer.status == 200 and answer.json()["tip_height"] == self.node.height

        self.wait("the node's tip", level, timeout=timeout)

    def not_ready(self) -> list[str]:
        """Codes of the reasons of a 503 of /readyz; empty when it is ready."""
        answer = self.ask("GET", "/readyz", key=None)
        return [] if answer.status == 200 else [reason["code"] for reason in answer.json()["reasons"]]

    def why_not_ready(self) -> str:
        """What /readyz says is the matter; empty when nothing is."""
        answer = self.ask("GET", "/readyz", key=None)
        return "" if answer.status == 200 else str(answer.json()["reasons"][0]["detail"])

    def log(self) -> list[dict[str, Any]]:
        """The log so far, one object a line; a line that is no JSON is `{"message": line}`."""
        found: list[dict[str, Any]] = []
        for line in self.log_file.read_text("utf-8", "replace").splitlines() if self.log_file.exists() else []:
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"level": "?", "message": line})
        return found

    def figures(self) -> dict[str, float]:
        """/metrics by name, with the labels as they stand there."""
        lines = self.ask("GET", "/metrics", key=None).body.decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line[0] != "#")
        return {name: float(value) for name, value in pairs}

    def log_says(self, text: str) -> int:
        """How many log messages hold `text`."""
        return sum(text in line["message"] for line in self.log())
