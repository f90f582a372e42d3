"""Is this the node we think it is, and is it fit to be believed just now?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node_watcher.rpc import NodeUnavailable, Rpc

_NEEDED = {"chain", "blocks", "headers", "initialblockdownload", "verificationprogress"}
_PATIENCE_SECONDS = 10.0
"""A node that does not answer the cheapest question for so long hangs, and `/readyz` says so."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the service is not ready. `code` is for programs, `detail` tells a person the mend."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be done with this node now.

    `readable` is False when nothing of it may be recorded (another network); `frozen` when facts
    may be recorded but no credit given or taken back. `lag` is how many blocks it knows of and has
    not checked yet.
    """

    reasons: tuple[Reason, ...]
    readable: bool
    frozen: bool
    height: int
    lag: int


async def examine(rpc: Rpc, network: str) -> Verdict:
    """Ask `getblockchaininfo` and judge it. Raises `NodeError`."""
    info: Any = await rpc.call("getblockchaininfo", timeout=_PATIENCE_SECONDS)
    if not isinstance(info, dict) or not info.keys() >= _NEEDED:
        raise NodeUnavailable(
            "What answers at node.rpc_url is not bitcoind (its getblockchaininfo makes no sense): correct node.rpc_url."
        )
    height, lag = int(info["blocks"]), max(0, int(info["headers"]) - int(info["blocks"]))
    if info["chain"] != network:
        return Verdict((wrong_network(network, str(info["chain"])),), False, True, height, lag)
    reasons: list[Reason] = []
    if info["initialblockdownload"] and (network != "regtest" or lag > 0):
        share = f"{float(info['verificationprogress']):.1%}"
        reasons.append(
            Reason(
                "syncing",
                f"The node is still downloading the chain ({share}); credits wait until it is done.",
            )
        )
    elif lag > 1:
        reasons.append(Reason("syncing", f"The node has {lag} more headers than blocks; credits wait for them."))
    return Verdict(tuple(reasons), True, bool(reasons), height, lag)


def wrong_network(network: str, chain: str) -> Reason:
    return Reason(
        "wrong-chain",
        f"node.network is {network}, but the node at node.rpc_url is on {chain}; "
        "set node.network to the node's, or node.rpc_url to another node.",
    )
