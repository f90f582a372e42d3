"""Is this the node we think it is, and is it fit to be believed just now?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from node_watcher.chain_rules import ChainRules
from node_watcher.identity import Proved, prove
from node_watcher.reason import Reason
from node_watcher.rpc import NodeError, NodeUnavailable, Rpc
from node_watcher.witness_node import WitnessNode, agree
from payments.model import BlockId

Agreement: TypeAlias = Callable[[Sequence[WitnessNode], BlockId], Awaitable[tuple[Reason, ...]]]
"""Asks the witness nodes for a block: `witness_node.agree`."""

_NEEDED = {"chain", "blocks", "headers", "bestblockhash", "initialblockdownload", "verificationprogress"}
_PATIENCE_SECONDS = 10.0
"""A node that does not answer the cheapest question for so long hangs, and `/readyz` says so."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be done with this node now, and for which `tip` that holds.

    `readable` is False when nothing of it may be recorded (another network, another chain); `frozen` when
    facts may be recorded but no credit given or taken back. `loading` when it has not the whole chain, and
    so no mempool. `lag` is how many blocks it knows of and has not checked yet.
    """

    reasons: tuple[Reason, ...]
    readable: bool
    loading: bool
    tip: BlockId
    lag: int

    @property
    def frozen(self) -> bool:
        return bool(self.reasons)

    @property
    def height(self) -> int:
        return self.tip.height


class Gate:
    """Asks the node, and remembers of a tip what cannot change while it is the tip."""

    def __init__(
        self,
        rpc: Rpc,
        rules: ChainRules,
        witnesses: Sequence[WitnessNode] = (),
        *,
        agree: Agreement = agree,
    ) -> None:
        self._rpc, self._rules, self._witnesses, self._agree = rpc, rules, witnesses, agree
        self._proved: Proved | None = None
        self._agreed: BlockId | None = None

    def forget(self) -> None:
        """Another node may answer next: ask everything again."""
        self._proved = self._agreed = None

    async def examine(self, now: int) -> Verdict:
        """Judge the node at `now` (ms). Raises `NodeError`."""
        try:
            return await self._examine(now)
        except NodeError:
            self.forget()
            raise

    async def _examine(self, now: int) -> Verdict:
        info: Any = await self._rpc.call("getblockchaininfo", timeout=_PATIENCE_SECONDS)
        if not isinstance(info, dict) or not info.keys() >= _NEEDED:
            raise NodeUnavailable(
                "What answers at node.rpc_url is not bitcoind (its getblockchaininfo makes no sense): "
                "correct node.rpc_url."
            )
        tip = BlockId(int(info["blocks"]), str(info["bestblockhash"]))
        lag = max(0, int(info["headers"]) - tip.height)
        if info["chain"] != self._rules.network:
            self.forget()
            return Verdict((wrong_network(self._rules.network, str(info["chain"])),), False, False, tip, lag)
        syncing = self._syncing(info, lag)
        proved = await self._prove(tip, whole=not syncing)
        if proved.reasons:
            return Verdict(proved.reasons, False, bool(syncing), tip, lag)
        doubts = await self._ask_witnesses(proved)
        readable = all(doubt.code != "witness-disagrees" for doubt in doubts)
        if syncing:
            return Verdict((*syncing, *doubts), readable, True, tip, lag)
        return Verdict((*self._stale(proved, now), *doubts), readable, False, tip, lag)

    def _syncing(self, info: dict[str, Any], lag: int) -> tuple[Reason, ...]:
        if info["initialblockdownload"] and (self._rules.network != "regtest" or lag > 0):
            share = f"{float(info['verificationprogress']):.1%}"
            return (
                Reason(
                    "syncing",
                    f"The node is still downloading the chain ({share}); credits wait until it is done.",
                ),
            )
        if lag > 1:
            return (Reason("syncing", f"The node has {lag} more headers than blocks; credits wait for them."),)
        return ()

    async def _prove(self, tip: BlockId, *, whole: bool) -> Proved:
        """What is well is not asked again for the same tip; what is not, at each look."""
        if self._proved is not None and self._proved.tip == tip:
            return self._proved
        proved = await prove(self._rpc, self._rules, tip, whole=whole)
        self._proved = proved if whole and not proved.reasons else None
        return proved

    async def _ask_witnesses(self, proved: Proved) -> tuple[Reason, ...]:
        if self._agreed == proved.tip:
            return ()
        doubts = await self._agree(self._witnesses, proved.agreed_on)
        self._agreed = None if doubts else proved.tip
        return doubts

    def _stale(self, proved: Proved, now: int) -> tuple[Reason, ...]:
        limit, made = self._rules.stale_after_ms, proved.tip_time
        if limit is None or made is None or now - made <= limit:
            return ()
        when = datetime.fromtimestamp(made // 1000, UTC).strftime("%Y-%m-%d %H:%M")
        return (
            Reason(
                "stale",
                f"The node's newest block is of {when} UTC, more than {limit // 60_000} minutes ago: it may be cut off "
                "from the network. Credits wait for the next block; look at its connections (bitcoin-cli getpeerinfo) "
                "and at the clock of this machine.",
            ),
        )


def wrong_network(network: str, chain: str) -> Reason:
    return Reason(
        "wrong-chain",
        f"node.network is {network}, but the node at node.rpc_url is on {chain}; "
        "set node.network to the node's, or node.rpc_url to another node.",
    )
