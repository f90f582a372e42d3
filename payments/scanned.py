"""What is ours in a run of blocks that were read from the node: one side of an audit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from payments.model import BlockHeader, BlockId, IncomingTx, OutPoint, PaidOutput


class ScannedBlock(NamedTuple):
    """One block: its header, and its transactions that pay us or spend our coins, in block order."""

    header: BlockHeader
    ours: tuple[IncomingTx, ...]


class ScannedOutput(NamedTuple):
    """An output to one of our scripts, and the block it is in."""

    block: BlockId
    outpoint: OutPoint
    paid: PaidOutput


@dataclass(frozen=True, slots=True)
class ScannedChain:
    """Blocks of the node's active chain without holes, lowest first, on top of `base`, whose content was not read.
    `tip` is the node's own at that time, and may lie above them."""

    base: BlockId
    blocks: tuple[ScannedBlock, ...]
    tip: BlockId

    def hash_at(self, height: int) -> str | None:
        """The node's block at a height; None where none was read."""
        if height == self.base.height:
            return self.base.hash
        above = height - self.base.height - 1
        return self.blocks[above].header.hash if 0 <= above < len(self.blocks) else None

    def until(self, height: int) -> ScannedChain:
        """The same without what lies above a height."""
        return ScannedChain(self.base, tuple(b for b in self.blocks if b.header.height <= height), self.tip)

    def outputs(self) -> Iterator[ScannedOutput]:
        """Every output that pays us."""
        for block in self.blocks:
            for transaction in block.ours:
                for paid in transaction.outputs:
                    yield ScannedOutput(block.header.id, OutPoint(transaction.txid, paid.vout), paid)

    def spenders(self) -> dict[OutPoint, str]:
        """For every coin that a transaction of ours spends, that transaction's txid."""
        return {
            coin: transaction.txid
            for block in self.blocks
            for transaction in block.ours
            for coin in transaction.prevouts
        }
