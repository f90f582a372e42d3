"""The real service as a process of its own, beside a private node: start it, ask it, kill it."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from node_watcher.seed import create as create_seed
from regtest.child_process import ChildProcess
from regtest.command_line import ROOT, clean_environment
from regtest.free_ports import free_port
from regtest.node import RegtestNode
from regtest.owner import Owner
from regtest.service_client import BASE, SCOPES, ServiceClient
from regtest.settings_file import Tables, toml_text

__all__ = ["BASE", "SCOPES", "Mode", "RunningService", "ServiceEnded"]

Mode = Literal["watch-only", "forwarding"]


class ServiceEnded(RuntimeError):
    """The service ended instead of answering; its exit code and last words are in the message."""


class RunningService(ServiceClient):
    """`with RunningService(node, database_url) as till: payment = till.create("small")`."""

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
    ) -> None:
        """Writes nodetill.toml; nothing runs before `start()`. `settings` go over what stands below.

        `node` must be running: its wallet for the owner is made here, unless one is given. An owner is
        for one service, or for services that never start. `zmq=False` names no endpoint.
        """
        super().__init__(free_port(), database_url, secrets.token_hex(32))
        self.node, self.mode = node, mode
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="nodetill-service-"))
        self.owner = owner or Owner(node)
        self.forward_to: str | None = None
        self.config = self.folder / "nodetill.toml"
        self.log_file = self.folder / "service.log"
        self.settings = self._settings(zmq, settings or {})
        self.write_config()
        self._process: ChildProcess | None = None

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
        create_seed(self.folder / "seed.json", passphrase, scrypt_n=2**10)
        return {"seed_file": "seed.json", "seed_passphrase": passphrase, "forward_to": self.forward_to}

    def write_config(self) -> None:
        """Write `settings` to nodetill.toml, for its owner's eyes only."""
        self.config.touch(mode=0o600)
        self.config.write_text(toml_text(self.settings), encoding="utf-8")

    # ------------------------------------------------------------------ life and death

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the service is not running: call start()")
        return self._process.pid

    def launch(self) -> int:
        """Start without waiting for anything; the process id."""
        command = [sys.executable, str(ROOT / "main.py"), "serve", "--config", str(self.config)]
        orphan = self.folder if self._temporary else None
        self._process = ChildProcess(
            command, log_file=self.log_file, environment=clean_environment(), folder=ROOT, remove_on_orphan=orphan
        )
        return self._process.pid

    def start(self, *, ready: bool = True, timeout: float = 60.0) -> Self:
        """Start, and wait until it is ready (or, `ready=False`, until it answers). Raises `ServiceEnded`."""
        self.launch()
        path = "/readyz" if ready else "/healthz"
        self.wait(f"GET {path}", lambda: self._answers(path), timeout=timeout)
        return self

    def _answers(self, path: str) -> bool:
        if not self.running:
            code = self._process.exit_code if self._process else None
            raise ServiceEnded(f"the service ended with code {code}:\n{self.log_tail()}")
        try:
            return self.ask("GET", path, key=None).status == 200
        except OSError:
            return False

    @property
    def exit_code(self) -> int | None:
        """Negative: the signal that ended it. None while it runs, or when it was never started."""
        return None if self._process is None else self._process.exit_code

    def signal(self, what: signal.Signals) -> None:
        """Send a signal; nothing happens when the service has ended."""
        if self._process is not None:
            self._process.send(what)

    def stop(self) -> int | None:
        """SIGTERM, and wait; the exit code."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        process.stop()
        return process.exit_code

    def kill(self) -> None:
        """`kill -9`."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stop, and remove the folder if it was a temporary one."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ waiting and reading

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
        except AssertionError as slow:
            raise AssertionError(f"{slow}\nthe payment is {json.dumps(seen, indent=1)}") from None
        return seen

    def wait(self, what: str, condition: Callable[[], object], *, timeout: float = 30.0) -> None:
        """Ask every 30 ms until it is true. Raises `AssertionError` with the end of the log."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"waited {timeout:g} s for {what}; the log ends with\n{self.log_tail()}")
            time.sleep(0.03)

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

    def log(self) -> list[dict[str, Any]]:
        """The log so far, one object a line; a line that is no JSON is `{"message": line}`."""
        found: list[dict[str, Any]] = []
        for line in self.log_file.read_text("utf-8", "replace").splitlines() if self.log_file.exists() else []:
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"level": "?", "message": line})
        return found

    def log_says(self, text: str) -> int:
        """How many log messages hold `text`."""
        return sum(text in line["message"] for line in self.log())

    def log_tail(self, lines: int = 15) -> str:
        found = self.log_file.read_text("utf-8", "replace").splitlines() if self.log_file.exists() else []
        return "\n".join(found[-lines:])
