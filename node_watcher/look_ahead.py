"""The next addresses of the keychain, which nobody was shown as far as this database knows.

One that was put back from an older copy does not know better: then coins on such an address tell that it
was shown to somebody, and it must never be shown to another. See docs/decisions/0012.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Final

from payments.model import IncomingTx
from storage.database import Database
from storage.payments import Derive
from storage.till import step_over

log = logging.getLogger("nodetill")
SPAN: Final = 1_000
"""So many addresses are watched beyond the last that was handed out. Some 0.1 ms each, once."""

GAP: Final = 100
"""So many more are stepped over: who was shown an address after that one may not have paid yet."""


class LookAhead:
    """A window of scripts that moves up with the keychain's `next_index`."""

    def __init__(self, keychain_id: int, derive: Derive, *, span: int = SPAN) -> None:
        self.keychain_id = keychain_id
        self._derive = derive
        self.span = span
        self._index: dict[bytes, int] = {}
        self._left_out: dict[bytes, int] = {}
        self._first = self._end = 0

    def passed(self, first: int) -> list[bytes]:
        """No address below index `first` will be handed out any more; the scripts that this takes out."""
        self._first = max(self._first, first)
        out = [script for script, index in self._index.items() if index < self._first]
        for script in out:
            del self._index[script]
        return out

    def more(self) -> Iterator[bytes]:
        """Derive what is missing at the upper end, one at a time."""
        self._end = max(self._end, self._first)
        while self._end < self._first + self.span:
            script = self._derive(self._end)[0]
            self._index[script] = self._end
            self._end += 1
            yield script

    def left_out(self, indexes: Iterable[int]) -> Iterator[bytes]:
        """Watch these too, one at a time: they are below the next index, no payment has them, and none will. Who was
        shown one by a copy of the database that is lost may pay it at any time. It is told once."""
        for index in indexes:
            script = self._derive(index)[0]
            self._left_out[script] = index
            yield script

    async def step_over(self, database: Database, transactions: Iterable[IncomingTx]) -> int | None:
        """If one of these pays an address of the window, raise the keychain's index above it: the index of the next
        address, which `passed` wants to know. None when none does."""
        paid = {
            watched[output.script_pubkey]: transaction.txid
            for transaction in transactions
            for output in transaction.outputs
            for watched in (self._index, self._left_out)
            if output.script_pubkey in watched
        }
        self._left_out = {script: index for script, index in self._left_out.items() if index not in paid}
        if not paid:
            return None
        first = await database.write(step_over, self.keychain_id, max(paid) + 1 + GAP)
        for index, txid in sorted(paid.items()):
            log.error(
                "Transaction %s pays the address with index %d, which this database has not handed out: it is an older "
                "copy, or something else hands out addresses of the same descriptor. Nobody is credited, nothing is "
                "forwarded; the coins are where the descriptor's keys are. The next address will be that with index %d",
                *(txid, index, first),
            )
        return first
