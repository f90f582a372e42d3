"""What the node says a transaction must pay now."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

from node_watcher.rpc import Rpc, RpcError, feerate


async def current_feerate(rpc: Rpc, target_blocks: int, network: str) -> Decimal | None:
    """Feerate in sat/vB for a confirmation within `target_blocks` (`estimatesmartfee`), never below
    what the node itself would relay. None without an estimate; on regtest, where there never is
    one, the relay minimum."""
    mempool: dict[str, Any] = await rpc.call("getmempoolinfo")
    floor = max(feerate(mempool["mempoolminfee"]), feerate(mempool["minrelaytxfee"]))
    estimate: dict[str, Any] = {}
    with suppress(RpcError):  # a node with blocksonly=1 refuses to make one (-32603)
        estimate = await rpc.call("estimatesmartfee", target_blocks)
    if "feerate" not in estimate:
        return floor if network == "regtest" else None
    return max(floor, feerate(estimate["feerate"]))
