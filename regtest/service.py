"""The real service as a process of its own, beside a private node: start it, ask it, kill it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import jwt

from node_watcher.clock import now_ms
from node_watcher.seed import create as create_seed
from regtest.child_process import ChildProcess
from regtest.free_ports import free_port
from regtest.http_json import Answer, ask
from regtest.node import RegtestNode
from storage.api_keys import create_key
from storage.database import Database

ROOT = Path(__file__).resolve().parent.parent
BASE = "/api/v1/bitcoin"
SCOPES = ("payments:read", "payments:write", "credits:read", "credits:write")

Mode = Literal["watch-only", "forwarding"]
Tables = Mapping[str, Any]
"""Settings as nodetill.toml has them: `{"payments": {"late": "hold"}, "packages": [{…}]}`."""


class ServiceEnded(RuntimeError):
    """The service ended instead of answering; its exit code and last words are in the message."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run of the command line: its exit code and what it said."""

    code: int
    out: str
    err: str


def main(*words: str, environ: Mapping[str, str] | None = None, timeout: float = 60.0) -> Ended:
    """Run `main.py WORDS…` to its end, with no setting from our own environment."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *words],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
        env=clean_environment(environ),
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without anybody's settings of nodetill, and then `more`."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("NODETILL_", "BITCOIN_"))}
    return {**ours, **(more or {})}


class Owner:
    """The wallet that the coins must reach: a wallet of the private node under a name of its own."""

    def __init__(self, node: RegtestNode) -> None:
        self._node, self.name = node, f"owner-{secrets.token_hex(4)}"
        node.rpc("createwallet", wallet_name=self.name, load_on_startup=True)
        listed = node.rpc("listdescriptors", wallet=self.name)["descriptors"]
        self.descriptor: str = next(d["desc"] for d in listed if d["desc"].startswith("wpkh(") and not d["internal"])
        """Receive addresses of this wallet, public part only."""

    def new_address(self) -> str:
        return str(self._node.rpc("getnewaddress", "", "bech32", wallet=self.name))

    def owns(self, address: str) -> bool:
        return bool(self._node.rpc("getaddressinfo", address, wallet=self.name)["ismine"])

    def received(self) -> dict[tuple[str, int], int]:
        """Satoshi by (txid, vout) of all that this wallet has not spent, the mempool included."""
        rows = self._node.rpc("listunspent", 0, wallet=self.name)
        return {(row["txid"], row["vout"]): int(row["amount"] * 100_000_000) for row in rows}


class RunningService:
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
    ) -> None:
        """Writes nodetill.toml; nothing runs before `start()`. `settings` go over what stands below.

        `node` must be running: its wallet for the owner is made here. `zmq=False` names no endpoint.
        """
        self.node, self.mode, self.database_url = node, mode, database_url
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="nodetill-service-"))
        self.port = free_port()
        self.owner = Owner(node)
        self.forward_to: str | None = None
        self.user_token_secret = secrets.token_hex(32)
        self.config = self.folder / "nodetill.toml"
        self.log_file = self.folder / "service.log"
        self.settings = self._settings(zmq, settings or {})
        self.write_config()
        self._process: ChildProcess | None = None
        self._key: str | None = None

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

    # ------------------------------------------------------------------ asking

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """An API key with every scope, made on first use."""
        if self._key is None:
            self._key = self.new_key(*SCOPES)
        return self._key

    def new_key(self, *scopes: str) -> str:
        """What `keys create` does, without the second that a new process would take."""

        async def make() -> str:
            async with Database(self.database_url) as database:
                return (await database.write(create_key, "shop", scopes, now_ms()))[1]

        return asyncio.run(make())

    def user_token(self, sub: str, *, seconds: float = 600.0) -> str:
        """What the site would give its user `sub`."""
        return jwt.encode({"sub": sub, "exp": int(time.time() + seconds)}, self.user_token_secret, "HS256")

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = "",
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        """One request; `path` below `/api/v1/bitcoin` unless it begins with a slash.

        `key`: "" is our API key, None is nobody, anything else is sent as the bearer.
        """
        sent = dict(headers or {})
        bearer = self.key if key == "" else key
        if bearer is not None:
            sent["Authorization"] = f"Bearer {bearer}"
        path = path if path.startswith("/") else f"{BASE}/{path}"
        return ask(self.port, method, path, body, headers=sent, raw=raw)

    def get(self, path: str, *, key: str | None = "") -> Any:
        """JSON of a GET that must succeed."""
        return self.ask("GET", path, key=key).expect(200)

    def post(self, path: str, body: object = None, *, key: str | None = "", status: int = 200) -> Any:
        """JSON of a POST that must answer `status`."""
        return self.ask("POST", path, body, key=key).expect(status)

    def create(self, package_id: str = "small", user_id: str = "u1", **more: object) -> dict[str, Any]:
        """A new payment."""
        made: dict[str, Any] = self.post("payments", {"package_id": package_id, "user_id": user_id, **more}, status=201)
        return made

    def payment(self, payment_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.get(f"payments/{payment_id}")
        return shown

    def look(self, payment_id: str) -> dict[str, Any]:
        """The payment after the watcher has finished a pass that began now (`POST /confirm`)."""
        answer = self.ask("POST", f"confirm/{payment_id}")
        if answer.status not in (200, 409):
            answer.expect(200)
        return self.payment(payment_id)

    def balance(self, user_id: str = "u1") -> int:
        return int(self.get(f"users/{user_id}/credits")["balance"])

    def entries(self, user_id: str = "u1") -> list[tuple[str, int]]:
        """(kind, amount) of a user's statement, oldest first."""
        found = self.get(f"users/{user_id}/credits?limit=100")["entries"]
        return [(entry["kind"], entry["amount"]) for entry in reversed(found)]

    def all_events(self) -> list[dict[str, Any]]:
        """The whole feed."""
        found: list[dict[str, Any]] = []
        after = 0
        while True:
            page = self.get(f"events?after={after}&limit=100")
            if not page["events"]:
                return found
            found += page["events"]
            after = page["next_after"]

    def events_of(self, payment_id: str) -> list[str]:
        """Types of a payment's events in the order of the feed."""
        return [event["type"] for event in self.all_events() if event["data"].get("payment_id") == payment_id]

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


def toml_text(tables: Tables) -> str:
    """nodetill.toml with these tables. A None is left out."""
    lines: list[str] = []
    for section, values in tables.items():
        for table in values if isinstance(values, list) else [values]:
            lines.append(f"[[{section}]]" if isinstance(values, list) else f"[{section}]")
            lines += [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]
            lines.append("")
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    # JSON's strings, numbers and truth values are TOML's too.
    return json.dumps(value)
