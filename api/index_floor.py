"""The lowest index that this process may give to a payment: a database can be an older copy of itself.

What was handed out since the copy is in the chain, where it was paid (`node_watcher.look_ahead`). So payments
are opened after the first look at the node since the start; who cannot wait for that keeps a distance.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from storage.database import Database
from storage.errors import DatabaseBusy, DatabaseUnusable
from storage.till import next_index

log = logging.getLogger("nodetill")
PATIENCE_SECONDS: Final = 3.0
DISTANCE: Final = 1_000
_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 30.0

CheckNow = Callable[[], Awaitable[bool]]
"""As in `Shop`."""


class IndexFloor:
    """Found once after a start, then known."""

    def __init__(self) -> None:
        self._known: int | None = None
        self._finding = asyncio.Lock()

    async def find_out(self, check_now: CheckNow) -> None:
        """Look at the node as soon as that is possible, so that hardly anybody has to wait for it. Run it beside."""
        pause = _PAUSE_SECONDS
        while self._known is None:
            try:
                if await _looked(check_now):
                    self._known = 0
                    return
            except (DatabaseBusy, DatabaseUnusable) as error:
                log.debug("The first look has to wait: %s", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def get(self, database: Database, keychain_id: int, check_now: CheckNow) -> int:
        """An index, 0 where the database's own account can be relied on."""
        if self._known is None:
            async with self._finding:
                found = None if self._known is not None else await self._find(database, keychain_id, check_now)
                self._known = found if self._known is None else self._known
        return self._known or 0

    async def _find(self, database: Database, keychain_id: int, check_now: CheckNow) -> int:
        if await database.read(next_index, keychain_id) == 0 or await _looked(check_now):
            return 0
        if self._known is not None:
            return self._known
        floor = await database.read(next_index, keychain_id) + DISTANCE
        log.warning(
            "The node could not be looked at since the start, so nobody knows whether this database is an older copy "
            "that would hand out addresses again: the next address will be that with index %d",
            floor,
        )
        return floor


async def _looked(check_now: CheckNow) -> bool:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                if await check_now():
                    return True
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError:
        return False
