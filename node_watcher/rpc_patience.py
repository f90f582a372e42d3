"""What both transports do alike: time limits, one more try, the new cookie after a 401, counting."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, TypeAlias

from node_watcher.credentials import Credentials
from node_watcher.rpc import (
    WARMING_UP,
    Call,
    NodeError,
    NodeForbids,
    NodeRefusesLogin,
    NodeUnavailable,
    RpcError,
)

Observer: TypeAlias = Callable[[str, str, float], None]
"""Told `(method, result, seconds)` of each exchange, for metrics. `result` is `ok`, `error` (the node
said no), `unavailable`, `refused` or `cancelled`; `method` is `batch` where several were mixed."""

MAX_CONNECTIONS: Final = 4
"""Calls in flight. bitcoind has 16 RPC threads (4 in old versions) for all of its users."""

CHUNK: Final = 200
"""Calls of a batch that travel together: big enough to be fast, small enough for 100 kB answers."""

_PAUSES: Final = (0.05, 0.25)
"""Seconds before the second and the third try."""

# Asking these twice is as good as once. `sendrawtransaction` is among them because the same bytes are the
# same transaction. No `send…` of the node's wallet is, nor anything that makes or imports.
REPEATABLE: Final = frozenset(
    """
    decoderawtransaction deriveaddresses estimatesmartfee getaddressinfo getbalances getbestblockhash
    getblock getblockchaininfo getblockcount getblockhash getblockheader getchaintips getconnectioncount
    getdescriptorinfo getindexinfo getmempoolentry getmempoolinfo getnetworkinfo getrawmempool
    getrawtransaction gettransaction gettxout gettxspendingprevout getwalletinfo getzmqnotifications
    listdescriptors listsinceblock listunspent listwallets sendrawtransaction testmempoolaccept uptime
    validateaddress
    """.split()  # noqa: SIM905 - a list of forty lines reads no better
)


class PatientRpc(ABC):
    """`node_watcher.rpc.Rpc` on top of one method of the transport."""

    def __init__(
        self, url: str, credentials: Credentials, *, timeout: float = 30.0, observe: Observer | None = None
    ) -> None:
        """`timeout`: seconds that a call may take in all, tries and waiting for a connection included."""
        self._url = url.rstrip("/")
        self._credentials = credentials
        self._timeout = timeout
        self._observe = observe

    @abstractmethod
    async def _exchange(self, calls: Sequence[Call], wallet: str | None, login: str) -> list[Any]:
        """Ask once. `RpcError` in the place of what the node refused; raises other `NodeError`s."""

    @abstractmethod
    async def close(self) -> None: ...

    async def call(self, method: str, *params: object, wallet: str | None = None, timeout: float | None = None) -> Any:
        (answer,) = await self._ask([(method, *params)], wallet, timeout)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(
        self, calls: Sequence[Call], *, wallet: str | None = None, timeout: float | None = None
    ) -> list[Any]:
        answers: list[Any] = []
        for start in range(0, len(calls), CHUNK):
            answers += await self._ask(calls[start : start + CHUNK], wallet, timeout)
        return answers

    async def _ask(self, calls: Sequence[Call], wallet: str | None, timeout: float | None) -> list[Any]:
        started, result = time.monotonic(), "cancelled"
        limit = self._timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(limit):
                answers = await self._ask_again(calls, wallet)
            result = "error" if any(isinstance(answer, RpcError) for answer in answers) else "ok"
            return answers
        except TimeoutError:
            result = "unavailable"
            raise NodeUnavailable(
                f"The node at {self._url} did not answer {names_of(calls)} within {limit:g} s: it hangs or "
                "has too much to do. It will be asked again."
            ) from None
        except NodeError as error:
            result = "unavailable" if isinstance(error, NodeUnavailable) else "refused"
            raise
        finally:
            if self._observe is not None:
                method = calls[0][0] if len({name for name, *_ in calls}) == 1 else "batch"
                self._observe(method, result, time.monotonic() - started)

    async def _ask_again(self, calls: Sequence[Call], wallet: str | None) -> list[Any]:
        repeatable = all(name in REPEATABLE for name, *_ in calls)
        for pause in _PAUSES:
            try:
                return await self._log_in(calls, wallet)
            except NodeUnavailable as error:
                if not (error.passing and repeatable):
                    raise
            await asyncio.sleep(pause)
        return await self._log_in(calls, wallet)

    async def _log_in(self, calls: Sequence[Call], wallet: str | None) -> list[Any]:
        login = self._credentials.header
        try:
            answers = await self._exchange(calls, wallet, login)
        except NodeRefusesLogin:
            # A 401 comes before anything is done, so even what must not be repeated may be.
            if not self._credentials.read_again(login):
                raise
            answers = await self._exchange(calls, wallet, self._credentials.header)
        for answer in answers:
            if isinstance(answer, RpcError) and answer.code == WARMING_UP:
                raise NodeUnavailable(f"The node at {self._url} is starting: {answer.message}")
        return answers

    # ------------------------------------------------------------------ the same words for the same trouble

    def _refused_status(self, status: int, calls: Sequence[Call]) -> NoReturn:
        """An HTTP answer that is no JSON-RPC."""
        if status == 401:
            raise NodeRefusesLogin(
                f"The node at {self._url} refuses the login of {self._credentials.source}: "
                "correct node.rpc_user and node.rpc_password, or node.rpc_cookie_file."
            )
        if status == 403:
            raise NodeForbids(names_of(calls))
        if status == 503:
            raise NodeUnavailable(
                f"The node at {self._url} has too many RPC calls waiting: raise rpcworkqueue in bitcoin.conf "
                "if this goes on.",
                passing=True,
            )
        raise NodeUnavailable(
            f"What answers at {self._url} is not bitcoind (HTTP {status}, no JSON-RPC): check node.rpc_url.",
            passing=True,  # it may have been bitcoind, cut short in the middle of its headers
        )

    def _nobody_there(self, error: OSError) -> NodeUnavailable:
        reason = error.strerror or str(error) or type(error).__name__
        return NodeUnavailable(
            f"Nothing can be reached at {self._url} ({reason}): start the node, or correct node.rpc_url."
        )

    def _cut(self, error: Exception) -> NodeUnavailable:
        reason = str(error) or type(error).__name__
        return NodeUnavailable(f"The node at {self._url} ended the connection in the middle ({reason}).", passing=True)


def names_of(calls: Sequence[Call]) -> str:
    """The methods of a batch, each once."""
    return ", ".join(dict.fromkeys(name for name, *_ in calls))
