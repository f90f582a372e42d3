"""The lowest index that this process may give to a payment: a database can be an older copy of itself.

What was handed out since the copy is in the chain, where it was paid (`node_watcher.look_ahead`). So the first
payment after a start waits a moment for a look at the node; without one it keeps a distance.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from storage.database import Database
from storage.till import next_index

log = logging.getLogger("nodetill")
PATIENCE_SECONDS: Final = 3.0
DISTANCE: Final = 1_000
_PAUSE_SECONDS = 0.2


class IndexFloor:
    """Found once, when the first payment is opened, then known."""

    def __init__(self) -> None:
        self._known: int | None = None
        self._finding = asyncio.Lock()

    async def get(self, database: Database, keychain_id: int, check_now: Callable[[], Awaitable[bool]]) -> int:
        """An index, 0 where the database's own account can be relied on. `check_now` as in `Shop`."""
        if self._known is None:
            async with self._finding:
                if self._known is None:
                    self._known = await self._find(database, keychain_id, check_now)
        return self._known

    async def _find(self, database: Database, keychain_id: int, check_now: Callable[[], Awaitable[bool]]) -> int:
        if await database.read(next_index, keychain_id) == 0 or await _looked(check_now):
            return 0
        floor = await database.read(next_index, keychain_id) + DISTANCE
        log.warning(
            "The node could not be looked at since the start, so nobody knows whether this database is an older copy "
            "that would hand out addresses again: the next address will be that with index %d",
            floor,
        )
        return floor


async def _looked(check_now: Callable[[], Awaitable[bool]]) -> bool:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                if await check_now():
                    return True
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError:
        return False
