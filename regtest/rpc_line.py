"""The line between a service and its node, and what can go wrong on it: for faults that no healthy node shows."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from regtest.node import RegtestNode


class Trouble(StrEnum):
    """What happens to a request. The first five never reach the node."""

    HUNG_UP = "hung up"
    BUSY = "HTTP 503: its work queue is full"
    FORBIDDEN = "HTTP 403: not on the whitelist"
    LOGIN = "HTTP 401: another cookie"
    STARTING = "-28: the node is starting"
    CUT = "the answer is cut"
    HALF = "half an answer that looks whole"
    LOST = "done, and the answer lost"
    TWICE = "done twice"


class RpcLine:
    """`with RpcLine(node) as line: … with line.trouble(Trouble.CUT, "getblock"): …`. Set `url` as node.rpc_url."""

    def __init__(self, node: RegtestNode) -> None:
        """`node` may be exchanged while the line is open; it is logged in to with its own cookie."""
        self.node = node
        self.asked: Counter[str] = Counter()
        """How often each method came by, whatever became of it."""
        self._trouble: Trouble | None = None
        self._methods: frozenset[str] = frozenset()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextlib.contextmanager
    def trouble(self, kind: Trouble, *methods: str) -> Iterator[None]:
        """Until the end of the block: with these methods, or with all."""
        self._methods, self._trouble = frozenset(methods), kind
        try:
            yield
        finally:
            self._trouble = None

    def fate_of(self, methods: list[str]) -> Trouble | None:
        """What happens to a request with these methods; None is nothing bad."""
        self.asked.update(methods)
        concerned = not self._methods or not self._methods.isdisjoint(methods)
        return self._trouble if concerned else None

    def pass_on(self, verb: str, path: str, body: bytes) -> tuple[int, str, bytes]:
        """Ask the node: status, content type, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.node.rpc_port, timeout=60)
        login = base64.b64encode(self.node.cookie_file.read_bytes()).decode()
        try:
            connection.request(verb, path, body, {"Authorization": f"Basic {login}"})
            response = connection.getresponse()
            return response.status, response.getheader("Content-Type", ""), response.read()
        finally:
            connection.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(line: RpcLine) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("GET", b"", ["rest"])

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            calls = json.loads(body)
            self._answer("POST", body, [call["method"] for call in (calls if isinstance(calls, list) else [calls])])

        def _answer(self, verb: str, body: bytes, methods: list[str]) -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._meet(line.fate_of(methods), verb, body, methods)
                return
            self.close_connection = True  # the node, or the service, is gone

        def _meet(self, fate: Trouble | None, verb: str, body: bytes, methods: list[str]) -> None:
            match fate:
                case Trouble.HUNG_UP:
                    self.close_connection = True
                    return
                case Trouble.BUSY:
                    return self._send(503, "text/html", b"Work queue depth exceeded")
                case Trouble.FORBIDDEN:
                    return self._send(403, "text/html", b"")
                case Trouble.LOGIN:
                    return self._send(401, "text/html", b"")
                case Trouble.STARTING:
                    error = {"code": -28, "message": "Loading block index…"}
                    one: list[dict[str, object]] = [
                        {"id": number, "result": None, "error": error} for number in range(len(methods))
                    ]
                    text = json.dumps(one if body.startswith(b"[") else one[0]).encode()
                    return self._send(200 if body.startswith(b"[") else 500, "application/json", text)
                case Trouble.TWICE:
                    line.pass_on(verb, self.path, body)
            status, kind, text = line.pass_on(verb, self.path, body)
            half = text[: len(text) // 2]
            match fate:
                case Trouble.LOST:
                    self.close_connection = True
                case Trouble.HALF:
                    self._send(status, kind, half)
                case Trouble.CUT:
                    self._send(status, kind, half, promised=len(text))
                    self.close_connection = True
                case _:
                    self._send(status, kind, text)
            return None

        def _send(self, status: int, kind: str, body: bytes, *, promised: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body) if promised is None else promised))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads along."""

    return Handler
