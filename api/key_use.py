"""When API keys were last used, to the minute. No request waits for it to be written."""

from __future__ import annotations

import asyncio

from aiohttp import web

from storage.api_keys import mark_used
from storage.database import Database
from storage.errors import DatabaseBusy, DatabaseUnusable

_GRAIN_MS = 60_000


class KeyUse:
    """Notes uses in memory. Run `write_down()` in a TaskGroup beside the server."""

    def __init__(self) -> None:
        self._noted: dict[str, int] = {}
        self._due: dict[str, int] = {}
        self._bell = asyncio.Event()

    def note(self, key_id: str, now: int) -> None:
        """The key was used at `now`. Within a minute of the last note this does nothing."""
        if abs(now - self._noted.get(key_id, -_GRAIN_MS)) >= _GRAIN_MS:
            self._noted[key_id] = self._due[key_id] = now
            self._bell.set()

    async def write_down(self, database: Database) -> None:
        """Write what was noted, all keys in one transaction, until cancelled."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            due, self._due = self._due, {}
            try:
                await database.write(mark_used, due)
            except (DatabaseBusy, DatabaseUnusable):
                for key_id in due:
                    self._noted.pop(key_id, None)  # the next use is written instead


KEY_USE: web.AppKey[KeyUse] = web.AppKey("key_use", KeyUse)
