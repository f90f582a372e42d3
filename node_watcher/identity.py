"""Is this node on the chain of its network? Asked at each new tip, once.

A node that follows another coin's rules answers the same questions by the same names, and calls its
chain `main`. What tells it apart: its first block, the pinned blocks, its headers, its version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node_watcher.blocks import ANOTHER_NODE, NotBitcoin, header_bytes
from node_watcher.chain_rules import ChainRules
from node_watcher.reason import Reason
from node_watcher.rpc import Call, Rpc, RpcError
from payments.model import BlockId
from payments.proof_of_work import BadHeader, check_header

WITNESS_DEPTH = 2
"""Blocks below the tip where witness nodes must agree: the last ones may be on their way still."""


@dataclass(frozen=True, slots=True)
class Proved:
    """What was found of a tip. With `reasons` nothing of this node may be recorded.

    `tip_time` is the header's own claim in milliseconds, None where the header was not looked at.
    """

    tip: BlockId
    reasons: tuple[Reason, ...]
    tip_time: int | None
    agreed_on: BlockId
    """The block that witness nodes are asked about."""


async def prove(rpc: Rpc, rules: ChainRules, tip: BlockId, *, whole: bool = True) -> Proved:
    """Hold the node against the rules, in one exchange. Raises `NodeError`.

    `whole` is False for a node that is still loading the chain: the blocks that it has so far may be
    from years when less work was enough, so its tip's header is left alone.
    """
    pinned = [BlockId(0, rules.genesis), *(block for block in rules.checkpoints if block.height <= tip.height)]
    deep = max(0, tip.height - WITNESS_DEPTH)
    asked: list[Call] = [("getnetworkinfo",), ("getblockhash", deep), ("getblockheader", tip.hash, False)]
    answers = await rpc.batch(asked + [("getblockhash", block.height) for block in pinned])
    for answer in answers:
        if isinstance(answer, RpcError):
            raise answer  # the tip moved back meanwhile: the next look asks of the new one
    info, deep_hash, raw, *hashes = answers
    reasons = [*_version(rules, info), *_pins(pinned, hashes)]
    tip_time = None
    if whole:
        try:
            tip_time = check_header(header_bytes(raw, tip.hash), tip, easiest_bits=rules.easiest_bits).time
        except BadHeader as error:
            reasons.append(another_chain(NotBitcoin(tip.hash, error)))
    return Proved(tip, tuple(reasons), tip_time, BlockId(deep, deep_hash))


def another_chain(error: NotBitcoin) -> Reason:
    return Reason("chain-mismatch", str(error))


def _version(rules: ChainRules, info: dict[str, Any]) -> list[Reason]:
    version = str(info.get("subversion", ""))
    software = rules.refusal(version)
    if software is None:
        return []
    return [
        Reason(
            "refused-version",
            f"The node is {software.name} ({version}): {software.why}. {ANOTHER_NODE} If you know that this very "
            f'version follows Bitcoin, set node.accept_version = "{version}".',
        )
    ]


def _pins(pinned: list[BlockId], hashes: list[str]) -> list[Reason]:
    return [
        Reason(
            "chain-mismatch",
            f"The node has block {found} at height {block.height}, where this network's chain has {block.hash}: it is "
            f"on another chain. Nothing of it is recorded. {ANOTHER_NODE} A pin of your own is in node.checkpoints.",
        )
        for block, found in zip(pinned, hashes, strict=True)
        if block.hash != found
    ][:1]
