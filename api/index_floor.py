"""The lowest index that this process may give to a payment: a database can be an older copy of itself.

What was handed out since the copy is in the chain, where it was paid (`node_watcher.look_ahead`). So payments
are opened after the first look at the node since the start; where the node does not answer, at a distance.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from storage.chain import cursor
from storage.database import Database
from storage.errors import DatabaseBusy, DatabaseUnusable
from storage.till import DISTANCE, health, next_index
from storage.tx import Tx

log = logging.getLogger("nodetill")
PATIENCE_SECONDS: Final = 3.0
PATIENCE_WITH_BLOCKS_SECONDS: Final = 10.0
_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 30.0

CheckNow = Callable[[], Awaitable[bool]]
"""As in `Shop`."""


class CatchingUp(Exception):
    """The blocks since the last run are being read; which addresses they pay is not known before the last one."""


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
        """An index, 0 where the database's own account can be relied on. Raises `CatchingUp`."""
        if self._known is None:
            async with self._finding:
                if self._known is None:
                    self._known = await self._find(database, keychain_id, check_now)
        return self._known

    async def _find(self, database: Database, keychain_id: int, check_now: CheckNow) -> int:
        if await database.read(_is_new, keychain_id) or await _looked(check_now):
            return 0
        if await database.read(_catching_up):
            if await _looked(check_now, PATIENCE_WITH_BLOCKS_SECONDS):
                return 0
            if await database.read(_catching_up):
                raise CatchingUp
        if self._known is not None:
            return self._known
        floor = await database.read(next_index, keychain_id) + DISTANCE
        log.warning(
            "The node could not be looked at since the start, so nobody knows whether this database is an older copy "
            "that would hand out addresses again: the next address will be that with index %d",
            floor,
        )
        return floor


def _is_new(tx: Tx, keychain_id: int) -> bool:
    """Whether this database never sold anything and never saw a block: then it is nobody's copy."""
    return next_index(tx, keychain_id) == 0 and cursor(tx) is None


def _catching_up(tx: Tx) -> bool:
    """Whether the watcher is reading blocks that came since it last ran, perhaps the first of them."""
    return any(reason["code"] in ("behind", "starting") for reason in health(tx).get("reasons", ()))


async def _looked(check_now: CheckNow, seconds: float | None = None) -> bool:
    try:
        async with asyncio.timeout(seconds or PATIENCE_SECONDS):
            while True:
                if await check_now():
                    return True
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError:
        return False
