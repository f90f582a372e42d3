"""What the watcher looks for, in memory: every script that was ever handed out, and the coins whose
spending would be news."""

from __future__ import annotations

import logging

from payments.model import IncomingTx, OutPoint
from payments.tx import outpoint_key
from storage.database import Database
from storage.payments import ALL_SCRIPTS, scripts_after
from storage.watched import prevouts_worth_watching

log = logging.getLogger("nodetill")
_PAGE = 10_000
_TOLD_EVERY = 100_000


class Watchlist:
    """`scripts` maps a script_pubkey to its payment's number, `prevouts` holds 36-byte outpoint keys.

    Scripts are never forgotten: an address is watched for ever. Prevouts are the inputs of payments
    that are not deep yet (whoever else spends them replaces the payment) and our own unswept coins.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._newest = 0
        self.scripts: dict[bytes, int] = {}
        self.prevouts: set[bytes] = set()

    async def load(self) -> None:
        """Read everything from the database. A million scripts take a second or two."""
        async for row in self._database.stream(ALL_SCRIPTS):
            self._newest = row["number"]
            self.scripts[bytes(row["script_pubkey"])] = self._newest
            if len(self.scripts) % _TOLD_EVERY == 0:
                log.info("Loading watched addresses: %d so far", len(self.scripts))
        await self.renew_prevouts()
        log.info("Watching %d addresses", len(self.scripts))

    async def refresh(self) -> None:
        """Learn the scripts of payments created since, by this process or another.

        Call it after raw bytes were fetched and before they are matched: whatever pays an address
        was made after the address was committed and shown.
        """
        while True:
            page = await self._database.read(scripts_after, self._newest, _PAGE)
            for number, script in page:
                self.scripts[script] = number
                self._newest = number
            if len(page) < _PAGE:
                return

    async def renew_prevouts(self) -> None:
        """Drop the prevouts that nobody needs any more."""
        before = frozenset(self.prevouts)
        watched = await self._database.read(prevouts_worth_watching)
        learned_meanwhile = self.prevouts - before
        self.prevouts = {outpoint_key(outpoint) for outpoint in watched} | learned_meanwhile

    def learn(self, incoming: IncomingTx) -> None:
        """A transaction pays us: from now on whoever spends its inputs, or our outputs, is noticed.

        Call it once the transaction is recorded: what is learned before could be dropped again by
        `renew_prevouts`, whose view of the database is older.
        """
        if incoming.outputs:
            self.prevouts.update(outpoint_key(prevout) for prevout in incoming.prevouts)
            self.prevouts.update(outpoint_key(OutPoint(incoming.txid, output.vout)) for output in incoming.outputs)
