"""What the watcher looks for, in memory: every script that was ever handed out, and the coins whose
spending would be news."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from node_watcher.look_ahead import LookAhead
from payments.model import IncomingTx, OutPoint
from payments.tx import outpoint_key
from storage.database import Database
from storage.payments import ALL_SCRIPTS, scripts_after
from storage.till import next_index
from storage.watched import indexes_left_out, prevouts_worth_watching

log = logging.getLogger("nodetill")
_PAGE = 10_000
_BREATH = 50
_NOBODYS = 0
_TOLD_EVERY = 100_000


class Watchlist:
    """`scripts` maps a script_pubkey to its payment's number, `prevouts` holds 36-byte outpoint keys.

    Scripts are never forgotten: an address is watched for ever. Prevouts are the inputs of payments
    that are not deep yet (whoever else spends them replaces the payment) and our own unswept coins.
    With a `LookAhead`, `scripts` also has the next addresses and those that were left out, which are nobody's:
    number 0.
    """

    def __init__(self, database: Database, ahead: LookAhead | None = None) -> None:
        self._database = database
        self.ahead = ahead
        self._newest = 0
        self.scripts: dict[bytes, int] = {}
        self.prevouts: set[bytes] = set()
        self._doubtful = False
        self.stepped_over = 0
        """How often addresses were stepped over."""

    async def load(self) -> None:
        """Read everything from the database. A million scripts take a second or two."""
        async for row in self._database.stream(ALL_SCRIPTS):
            self._newest = row["number"]
            self.scripts[bytes(row["script_pubkey"])] = self._newest
            if len(self.scripts) % _TOLD_EVERY == 0:
                log.info("Loading watched addresses: %d so far", len(self.scripts))
        await self.renew_prevouts()
        log.info("Watching %d addresses", len(self.scripts))
        if self.ahead is not None:
            left_out = await self._database.read(indexes_left_out, self.ahead.keychain_id, self.ahead.span)
            await self._watch(self.ahead.left_out(left_out))
            await self._slide(self.ahead, await self._database.read(next_index, self.ahead.keychain_id))

    async def refresh(self) -> None:
        """Learn the scripts of payments created since, by this process or another.

        Call it after raw bytes were fetched and before they are matched: whatever pays an address
        was made after the address was committed and shown.
        """
        if self._doubtful:
            await self.renew_prevouts()
        while True:
            page = await self._database.read(scripts_after, self._newest, _PAGE)
            first = 0
            for number, script, keychain_id, index in page:
                self.scripts[script] = number
                self._newest = number
                if self.ahead is not None and keychain_id == self.ahead.keychain_id:
                    first = index + 1
            if self.ahead is not None and first:
                await self._slide(self.ahead, first)
            if len(page) < _PAGE:
                return

    async def _slide(self, ahead: LookAhead, first: int) -> None:
        """All below index `first` were handed out, or never will be."""
        for script in ahead.passed(first):
            if self.scripts[script] == _NOBODYS:
                del self.scripts[script]
        await self._watch(ahead.more())

    async def _watch(self, nobodys: Iterable[bytes]) -> None:
        for count, script in enumerate(nobodys):
            self.scripts.setdefault(script, _NOBODYS)
            if count % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)

    async def step_over(self, found: Iterable[IncomingTx]) -> bool:
        """Never hand out an address that one of these pays though nobody was shown it, nor those around it.

        Call it before anything is recorded of transactions that are in the node's mempool or in a block. When
        it returns True the next addresses are others, and the same bytes may pay one of them, too.
        """
        if self.ahead is None or (first := await self.ahead.step_over(self._database, found)) is None:
            return False
        await self._slide(self.ahead, first)
        self.stepped_over += 1
        return True

    def handed_out(self, found: Iterable[IncomingTx]) -> list[IncomingTx]:
        """The same transactions, with those of their outputs that pay the address of a payment."""
        return [
            seen._replace(outputs=tuple(o for o in seen.outputs if self.scripts.get(o.script_pubkey, _NOBODYS)))
            for seen in found
        ]

    async def renew_prevouts(self) -> None:
        """Read again what is worth watching, and drop the prevouts that nobody needs any more."""
        before = frozenset(self.prevouts)
        self._doubtful = False  # a doubt that comes up meanwhile is not settled by what is read now
        try:
            watched = await self._database.read(prevouts_worth_watching)
        except BaseException:
            self._doubtful = True
            raise
        learned_meanwhile = self.prevouts - before
        self.prevouts = {outpoint_key(outpoint) for outpoint in watched} | learned_meanwhile

    @contextmanager
    def disconnecting(self) -> Iterator[None]:
        """A block is taken back inside: what was deep enough to be let alone may be spent otherwise now."""
        try:
            yield
        finally:
            self._doubtful = True

    @contextmanager
    def learning(self, transactions: Iterable[IncomingTx]) -> Iterator[None]:
        """Transactions are recorded inside: from then on whoever spends their inputs, or our outputs, is noticed.

        They are learned afterwards: what is learned before could be dropped again by `renew_prevouts`, whose view
        of the database is older. Who fails may have recorded them all the same (an answer to COMMIT that is
        lost), so then everything is read again.
        """
        try:
            yield
        except BaseException:
            self._doubtful = True
            raise
        for transaction in transactions:
            self._learn(transaction)

    def _learn(self, incoming: IncomingTx) -> None:
        if incoming.outputs:
            self.prevouts.update(outpoint_key(prevout) for prevout in incoming.prevouts)
            self.prevouts.update(outpoint_key(OutPoint(incoming.txid, output.vout)) for output in incoming.outputs)
