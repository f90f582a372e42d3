"""The watcher of another process, asked through the database that both have."""

from __future__ import annotations

import asyncio

from storage import looks
from storage.database import Database

_PAUSE_SECONDS = 0.05


class WatcherElsewhere:
    """Asks for looks. While nobody waits for one, nothing is read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._told = looks.Told(0, 0)
        self._news: asyncio.Event | None = None

    async def check_now(self) -> bool:
        """Ask for a look and return when one that began after that is done; False when the watcher could not
        ask the node. The caller sets the time for it."""
        number = await self._database.write(looks.want)
        while max(self._told) < number:
            if self._news is None:
                await self._read_for_all()
            else:
                await self._news.wait()
        return self._told.done >= number

    async def _read_for_all(self) -> None:
        """One of those who wait reads for all; when he goes away, another takes his place."""
        self._news = news = asyncio.Event()
        try:
            await asyncio.sleep(_PAUSE_SECONDS)
            self._told = await self._database.read(looks.told)
        finally:
            self._news = None
            news.set()
