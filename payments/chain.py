"""The one decision of the chain loop: what to do next, given our cursor and what the node says of it.

Connect and disconnect are inverses, so new block, reorganisation, restart and catch-up are the
same loop asked again. A block that the node does not know at all, or knows by its header only while its own
chain has less work, is not a reorganisation: the node itself went back (a crash, a restored disk), and
then nothing is undone.
"""

from __future__ import annotations

from dataclasses import dataclass

from payments.model import BlockId


@dataclass(frozen=True, slots=True)
class HeaderAnswer:
    """The node's `getblockheader` for our cursor. `confirmations` is -1 for a block that is not in its active chain.

    `outweighed`: that chain has at least as much work, or the operator declared our block invalid. A node chooses
    the most work it can have, so one whose chain has less lost our block, and heard of its header again.
    """

    confirmations: int
    next_hash: str | None
    outweighed: bool = True


@dataclass(frozen=True, slots=True)
class Connect:
    """The next block of the active chain above our cursor."""

    hash: str
    height: int


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Our cursor is stale: step to its parent."""

    block: BlockId


@dataclass(frozen=True, slots=True)
class AtTip:
    """Nothing to do: our cursor is the node's tip."""

    tip: BlockId


@dataclass(frozen=True, slots=True)
class NodeBehind:
    """The node does not have our cursor any more: it went back. Freeze and wait, undo nothing."""

    cursor: BlockId


Step = Connect | Disconnect | AtTip | NodeBehind


def next_step(cursor: BlockId, header: HeaderAnswer | None) -> Step:
    """Decide from the node's answer about the cursor; None means the node does not know the block (-5)."""
    if header is None:
        return NodeBehind(cursor)
    if header.confirmations < 0:
        return Disconnect(cursor) if header.outweighed else NodeBehind(cursor)
    if header.next_hash is None:
        return AtTip(cursor)
    return Connect(header.next_hash, cursor.height + 1)
