"""One look at the node, in order, as far as the node can be believed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from node_watcher.blocks import NotBitcoin
from node_watcher.chain import ChainFollower
from node_watcher.changes import tell
from node_watcher.clock import Clock, now_ms
from node_watcher.crediting import Crediting, tell_bookings
from node_watcher.gate import Gate
from node_watcher.identity import another_chain
from node_watcher.mempool import Mempool
from node_watcher.reason import Reason
from node_watcher.rpc import NodeError
from node_watcher.watchlist import Watchlist
from payments.model import BlockId
from storage import chain as stored
from storage import evaluation, ledger
from storage.database import Database

_RENEW_EVERY_BLOCKS = 144


class Forwards(Protocol):
    """The forwarder of forwarding mode."""

    async def forward_due(self, tip: BlockId) -> int: ...


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of a look. `tip` is set when it was complete: nothing up to there was missed.

    `more` means that the next look is wanted at once: the chain is walked in stages.
    """

    reasons: tuple[Reason, ...]
    tip: BlockId | None = None
    more: bool = False
    lag: int = 0
    """Blocks of the node's active chain that were not processed yet."""

    @property
    def complete(self) -> bool:
        return self.tip is not None


class Look:
    """Is the node to be believed, walk the chain to its tip, compare the mempool, settle what a
    reorganisation left open, book credits, close price windows, forward."""

    def __init__(
        self,
        gate: Gate,
        database: Database,
        watchlist: Watchlist,
        follower: ChainFollower,
        mempool: Mempool,
        crediting: Crediting,
        *,
        forwarder: Forwards | None = None,
        on_first_contact: Callable[[], Awaitable[None]] | None = None,
        ledger_broken: Callable[[], Awaitable[Reason | None]] | None = None,
        clock: Clock = now_ms,
    ) -> None:
        """`ledger_broken` says why nothing may be built on the ledger, if so: then facts are recorded, and no more."""
        self._gate = gate
        self._database = database
        self._watchlist = watchlist
        self._follower = follower
        self._mempool = mempool
        self._crediting = crediting
        self._forwarder = forwarder
        self._on_first_contact = on_first_contact
        self._ledger_broken = ledger_broken
        self._clock = clock
        self._renewed_at = 0
        self.believed_at: str | None = None
        """The tip at which the node was last found to be on our network's chain; None when it was not."""

    async def go(self, started: int) -> Looked:
        """Look once. `started` (ms) is when: a complete look proves that nothing until then was missed."""
        try:
            verdict = await self._gate.examine(started)
        except NodeError:
            self.believed_at = None  # who knows which node answers next
            raise
        if not verdict.readable:
            self.believed_at = None
            return Looked(verdict.reasons)
        if self._on_first_contact is not None:
            await self._on_first_contact()
            self._on_first_contact = None
        if verdict.frozen and await self._database.read(stored.cursor) is None:
            self.believed_at = verdict.tip.hash
            return Looked(verdict.reasons)  # where to begin is known once the node has the whole chain
        try:
            followed = await self._follower.follow()
        except NotBitcoin as error:
            self.believed_at = None
            self._gate.forget()
            return Looked((another_chain(error),))
        # The mempool of a node that forgot our last block may spend what that block has spent.
        self.believed_at = None if followed.behind else verdict.tip.hash
        if followed.behind:
            return Looked((*verdict.reasons, _node_behind(followed.tip)))
        tip = followed.tip
        if followed.more:
            return Looked(
                (*verdict.reasons, _catching_up(tip, verdict.height)), more=True, lag=verdict.height - tip.height
            )
        if tip.height >= self._renewed_at + _RENEW_EVERY_BLOCKS:
            await self._watchlist.renew_prevouts()
            self._renewed_at = tip.height
        if tip != verdict.tip:
            return Looked(verdict.reasons, more=True)  # the verdict was of another tip: ask about this one
        if verdict.loading or not await self._mempool.look(tip) or verdict.frozen:
            return Looked(verdict.reasons)
        if self._ledger_broken is not None and (broken := await self._ledger_broken()) is not None:
            return Looked((broken,))
        await self._conclude(tip, started)
        return Looked((), tip)

    async def _conclude(self, tip: BlockId, started: int) -> None:
        """At the tip of a node that is to be believed: judge, credit, expire, forward."""
        changes, taken_back = await self._database.write(ledger.settle, self._clock())
        tell(changes)
        tell_bookings(taken_back)
        await self._crediting.book_due(tip)
        while await self._database.read(evaluation.windows_due, started):
            tell(await self._database.write(evaluation.close_windows, started, self._clock()))
        if self._forwarder is not None:
            await self._forwarder.forward_due(tip)


def _catching_up(cursor: BlockId, height: int) -> Reason:
    return Reason(
        "behind", f"nodetill is reading blocks: it is at height {cursor.height} of {height}; credits wait for the tip."
    )


def _node_behind(cursor: BlockId) -> Reason:
    return Reason(
        "node-behind",
        f"The node does not have block {cursor.hash} at height {cursor.height} any more, which it gave us before: "
        "it went back (a crash, a restored disk), or is another node. nodetill waits until it has caught up, and "
        "undoes nothing meanwhile.",
    )
