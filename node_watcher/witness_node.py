"""Another node of the operator's, which must agree on the chain near the tip."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from node_watcher.reason import Reason
from node_watcher.rpc import NodeError, Rpc
from payments.model import BlockId

_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class WitnessNode:
    """`url` is for messages; of the node only `getblockhash` is asked."""

    url: str
    rpc: Rpc


async def agree(witnesses: Sequence[WitnessNode], block: BlockId) -> tuple[Reason, ...]:
    """Ask all of them at once for the hash at the height of `block`; empty when each has this one."""
    found = await asyncio.gather(*(_ask(witness, block) for witness in witnesses))
    return tuple(reason for reason in found if reason is not None)


async def _ask(witness: WitnessNode, block: BlockId) -> Reason | None:
    try:
        seen = await witness.rpc.call("getblockhash", block.height, timeout=_PATIENCE_SECONDS)
    except NodeError as error:
        return Reason(
            "witness-silent",
            f"The witness node at {witness.url} does not say whether it has block {block.height}: {error} Credits wait "
            "for it; start it, let it catch up, or take it out of node.witness_nodes.",
        )
    if seen != block.hash:
        return Reason(
            "witness-disagrees",
            f"At height {block.height} the node has block {block.hash}, the witness node at {witness.url} has {seen}: "
            "one of them is on another chain. Nothing is recorded until they agree; see which one follows Bitcoin.",
        )
    return None
