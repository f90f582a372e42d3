"""Questions to a private node: by RPC, and by bitcoin-cli as a person would type them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import subprocess
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any


class NodeError(RuntimeError):
    """bitcoind answered with an error: its `code` (RPC help) and its words."""

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(f"{method}: {message} (code {code})")
        self.method, self.code, self.message = method, code, message


class NodeRpc:
    """Calls on fresh connections, so it is safe from any thread and heals after a restart."""

    def __init__(self, bitcoin_cli: Path, datadir: Path, rpc_port: int) -> None:
        self._bitcoin_cli, self.datadir, self.rpc_port = bitcoin_cli, datadir, rpc_port

    @property
    def rpc_url(self) -> str:
        return f"http://127.0.0.1:{self.rpc_port}"

    @property
    def cookie_file(self) -> Path:
        """`__cookie__:secret`, written anew at every start of the node."""
        return self.datadir / "regtest" / ".cookie"

    def rpc(
        self, method: str, *params: object, wallet: str | None = None, timeout: float = 60.0, **named: object
    ) -> Any:
        """One call on a fresh connection; decimals come back as `Decimal`. Raises `NodeError`, `OSError`.

        Positional and named parameters may be mixed. `Decimal` goes out as a string, which
        bitcoind reads exactly.
        """
        arguments: object = {"args": params, **named} if named else params
        answer = self._post(method, {"jsonrpc": "1.0", "id": 1, "method": method, "params": arguments}, wallet, timeout)
        if answer["error"] is not None:
            raise NodeError(method, answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    def batch(self, method: str, calls: Sequence[Sequence[object]], *, timeout: float = 60.0) -> list[Any]:
        """One method with many lists of parameters in one request; a `NodeError` stands where the node said no."""
        asked = [{"jsonrpc": "1.0", "id": n, "method": method, "params": params} for n, params in enumerate(calls)]
        answers = self._post(method, asked, None, timeout) if asked else []
        return [
            answer["result"]
            if answer["error"] is None
            else NodeError(method, answer["error"]["code"], answer["error"]["message"])
            for answer in sorted(answers, key=lambda answer: int(answer["id"]))
        ]

    def _post(self, method: str, question: object, wallet: str | None, timeout: float) -> Any:
        body = json.dumps(question, default=_plain)
        login = base64.b64encode(self.cookie_file.read_bytes()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", self.rpc_port, timeout=timeout)
        try:
            path = "/" if wallet is None else f"/wallet/{wallet}"
            connection.request(
                "POST", path, body, {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
            )
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if not text.startswith((b"{", b"[")):
            raise NodeError(method, response.status, text.decode("utf-8", "replace") or response.reason)
        return json.loads(text, parse_float=Decimal)

    def cli(self, *args: str) -> Any:
        """`bitcoin-cli ARGS…` as a person types it: parsed JSON, or the plain text. Raises `NodeError`."""
        command = [
            str(self._bitcoin_cli),
            "-regtest",
            f"-datadir={self.datadir}",
            f"-rpcport={self.rpc_port}",
            *args,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise NodeError(" ".join(args), done.returncode, done.stderr.strip())
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(done.stdout, parse_float=Decimal)
        return done.stdout.strip()


def _plain(value: object) -> str:
    """What JSON has no word for. bitcoind reads amounts from strings too, and exactly."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} cannot be sent to bitcoind")


def rpcauth(user: str, password: str) -> str:
    """The argument that lets `user` in, as Bitcoin Core's share/rpcauth/rpcauth.py makes it."""
    digest = hmac.new(b"salt", password.encode(), hashlib.sha256).hexdigest()
    return f"-rpcauth={user}:salt${digest}"
