"""RPC by python-bitcoinrpc: a fresh connection for each exchange, in a few threads.

Its proxy never heals a broken connection, is not thread-safe, knows no cookie, takes a percent sign in
a password for what it is not, and its `batch_` fails on current nodes. So each exchange gets a
connection of its own, which we make and close, and a batch is many calls over that one.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
import re
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote, urlsplit

from bitcoinrpc.authproxy import AuthServiceProxy, JSONRPCException

from node_watcher.credentials import Credentials
from node_watcher.rpc import Call, NodeUnavailable, RpcError
from node_watcher.rpc_patience import MAX_CONNECTIONS, Observer, PatientRpc

# At DEBUG it writes every parameter to the log, passphrases of wallets included.
logging.getLogger("BitcoinRPC").setLevel(logging.WARNING)

_NOT_JSON: Final = (-342, -343)  # no JSON; JSON without a result
_SOCKET_SECONDS: Final = 3600.0
"""Only a last resort: PatientRpc keeps the time, and shuts the socket when it is up."""


class ProxyRpc(PatientRpc):
    """`node_watcher.rpc.Rpc` on python-bitcoinrpc. `close()` it."""

    def __init__(
        self, url: str, credentials: Credentials, *, timeout: float = 30.0, observe: Observer | None = None
    ) -> None:
        super().__init__(url, credentials, timeout=timeout, observe=observe)
        self._pool = ThreadPoolExecutor(MAX_CONNECTIONS, thread_name_prefix="rpc")
        self._open: set[http.client.HTTPConnection] = set()

    async def close(self) -> None:
        for connection in list(self._open):
            _shut(connection)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _exchange(self, calls: Sequence[Call], wallet: str | None, login: str) -> list[Any]:
        connection = self._connection()
        try:
            job = self._pool.submit(self._talk, connection, calls, wallet, login)
        except RuntimeError as error:
            raise NodeUnavailable("The connections to the node are closed: nodetill is stopping.") from error
        self._open.add(connection)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            if job.cancelled() and not _cancelling():  # by close(), before its turn came
                raise NodeUnavailable("The connections to the node are closed: nodetill is stopping.") from None
            raise
        finally:
            self._open.discard(connection)
            if not job.done():
                _shut(connection)  # time is up: the thread wakes with an error and is free again

    def _connection(self) -> http.client.HTTPConnection:
        where = urlsplit(self._url)
        kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
        return kind(where.hostname or "", where.port, timeout=_SOCKET_SECONDS)

    def _talk(
        self, connection: http.client.HTTPConnection, calls: Sequence[Call], wallet: str | None, login: str
    ) -> list[Any]:
        """In a thread: all calls, one after the other, over one connection."""
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise self._nobody_there(error) from error
        answers: list[http.client.HTTPResponse] = []

        def kept(*args: Any, **named: Any) -> http.client.HTTPResponse:
            answers[:] = [http.client.HTTPResponse(*args, **named)]
            return answers[0]

        # The library drops an answer that is not JSON unread and open, and then the connection is too.
        connection.response_class = kept  # type: ignore[assignment]
        try:
            return [self._say(connection, call, wallet, login) for call in calls]
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._cut(error) from error
        finally:
            connection.close()
            for answer in answers:
                answer.close()

    def _say(self, connection: http.client.HTTPConnection, call: Call, wallet: str | None, login: str) -> Any:
        name, *params = call
        path = "/" if wallet is None else f"/wallet/{quote(wallet, safe='')}"
        where = urlsplit(self._url)
        # It wants credentials in the URL, and does not decode them: idle ones, then the real header.
        url = where._replace(netloc=f"x:x@{where.netloc}", path=where.path + path).geturl()
        proxy = AuthServiceProxy(url, name, _SOCKET_SECONDS, connection)
        proxy._AuthServiceProxy__auth_header = login.encode()
        try:
            return proxy(*[_exact(param) for param in params])
        except JSONRPCException as error:
            code = getattr(error, "code", None)  # the library takes JSON of any shape for an error
            if code in _NOT_JSON:
                status = re.search(r"'(\d{3}) ", str(error.message))
                self._refused_status(int(status[1]) if status else 0, [call])
            if not isinstance(code, int):
                self._refused_status(200, [call])
            return RpcError(name, code, str(error.message))
        except (AttributeError, TypeError, RecursionError):  # or for an answer
            self._refused_status(200, [call])


def _exact(value: Any) -> Any:
    """Decimals as strings, which bitcoind reads exactly; the library would make floats of them."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _exact(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(inner) for inner in value]
    return value


def _shut(connection: http.client.HTTPConnection) -> None:
    """Wake the thread that waits for this connection; it closes it then."""
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
