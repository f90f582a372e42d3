"""Questions to the node: the interface that the house uses, and the ways in which a node says no.

Two transports stand behind it: `HttpRpc` (aiohttp, kept-alive connections, true batches) and
`ProxyRpc` (python-bitcoinrpc, a fresh connection a call). Both pass the same tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Protocol, TypeAlias

from payments.amount import sat_of

Call: TypeAlias = tuple[str, *tuple[object, ...]]
"""A method and its positional parameters: `("getblockhash", 812)`."""

WARMING_UP: Final = -28
"""RPC_IN_WARMUP of bitcoind's rpc/protocol.h: it is starting and answers nothing yet."""


class NodeError(Exception):
    """The node did not give what it was asked for; the message says how to mend it."""


class NodeUnavailable(NodeError):
    """No answer now, for a reason of the world's: down, starting, hanging, overloaded. Ask again.

    `passing` is true when asking once more at once makes sense (a cut connection, a full queue).
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class NodeRefusesLogin(NodeError):
    """The node does not know this user or password (HTTP 401), or the cookie may not be read."""


class NodeForbids(NodeError):
    """The node knows the user, who may not call this `method` (HTTP 403)."""

    def __init__(self, method: str) -> None:
        super().__init__(
            f"The node forbids {method} to this RPC user: add {method} to rpcwhitelist=<user>:… in "
            "bitcoin.conf, set rpcwhitelistdefault=0 there, and restart the node."
        )
        self.method = method


class RpcError(NodeError):
    """The node was asked, and answered no: `method`, its `code` and its own `message` (RPC help)."""

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(f"{method}: {message} (code {code})")
        self.method, self.code, self.message = method, code, message


class Rpc(Protocol):
    """What a transport offers. All of it raises `NodeError`; numbers with a point come as `Decimal`."""

    async def call(self, method: str, *params: object, wallet: str | None = None, timeout: float | None = None) -> Any:
        """The `result` of one call. `timeout` in seconds, for the whole of it. Raises `RpcError` on a no."""

    async def batch(
        self, calls: Sequence[Call], *, wallet: str | None = None, timeout: float | None = None
    ) -> list[Any]:
        """Answers in the order of `calls`; a call that the node refused gives an `RpcError` in its place.

        `timeout` is for each chunk of calls that go out together.
        """

    async def close(self) -> None:
        """Give the connections back. Calls under way end with `NodeUnavailable`."""


def sat(value: Decimal | int | str) -> int:
    """BTC as the node writes it -> satoshi, exactly. Raises `AmountError` (a `ValueError`)."""
    return sat_of(Decimal(value))


def feerate(value: Decimal | int | str) -> Decimal:
    """BTC/kvB as the node writes it -> sat/vB (10^8 satoshi a bitcoin, 10^3 vbytes a kvB)."""
    return Decimal(value).scaleb(5)
