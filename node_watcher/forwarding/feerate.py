"""What the node says a transaction must pay now."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any, NamedTuple

from node_watcher.rpc import Rpc, RpcError, feerate

_USUAL_INCREMENT = Decimal(1)
"""sat/vB, `-incrementalrelayfee` of Bitcoin Core up to version 29."""


class Feerates(NamedTuple):
    """In sat/vB: `now` for a confirmation in time (None without an estimate), `increment` by which a replacement
    must pay more."""

    now: Decimal | None
    increment: Decimal


async def feerates(rpc: Rpc, target_blocks: int, network: str) -> Feerates:
    """Feerate for a confirmation within `target_blocks` (`estimatesmartfee`), never below what the node itself
    would relay. None without an estimate; on regtest, where there never is one, the relay minimum."""
    mempool: dict[str, Any] = await rpc.call("getmempoolinfo")
    floor = max(feerate(mempool["mempoolminfee"]), feerate(mempool["minrelaytxfee"]))
    increment = feerate(mempool["incrementalrelayfee"]) if "incrementalrelayfee" in mempool else _USUAL_INCREMENT
    estimate: dict[str, Any] = {}
    with suppress(RpcError):  # a node with blocksonly=1 refuses to make one (-32603)
        estimate = await rpc.call("estimatesmartfee", target_blocks)
    if "feerate" not in estimate:
        return Feerates(floor if network == "regtest" else None, increment)
    return Feerates(max(floor, feerate(estimate["feerate"])), increment)
