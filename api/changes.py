"""Tells each open stream when its own payment changed: at a new tip all of them, else nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from payments.model import BlockId
from storage.chain import cursor
from storage.database import Database
from storage.errors import DatabaseBusy, DatabaseUnusable
from storage.events import changed_after, newest_event

POLL_SECONDS = 1.0
"""A commit of this process is noticed at once; one of another process by looking."""


class Changes:
    """Who waits for which payment. Run `follow()` in a TaskGroup beside the server."""

    def __init__(self) -> None:
        self._waiting: dict[int, set[asyncio.Event]] = {}
        self._told_up_to: int | None = None
        self._tip: BlockId | None = None
        self.closed = False

    @property
    def listeners(self) -> int:
        return sum(map(len, self._waiting.values()))

    @contextmanager
    def listening(self, number: int) -> Iterator[asyncio.Event]:
        """An event that is set whenever the payment with this number may have changed.

        Clear it *before* looking at the database: what happens in between sets it again.
        """
        changed = asyncio.Event()
        self._waiting.setdefault(number, set()).add(changed)
        try:
            yield changed
        finally:
            self._waiting[number].discard(changed)
            if not self._waiting[number]:
                del self._waiting[number]

    async def follow(self, database: Database) -> None:
        """Read the feed of events after each commit, once for all streams, until cancelled."""
        committed = asyncio.Event()
        stop = database.on_commit(committed.set)
        try:
            while True:
                committed.clear()
                try:
                    await self._look(database)
                except (DatabaseBusy, DatabaseUnusable):
                    self._told_up_to = None  # we look again, and tell everybody
                await wait(committed, POLL_SECONDS)
        finally:
            stop()

    async def _look(self, database: Database) -> None:
        if not self._waiting:
            self._told_up_to = None  # what happens while nobody listens need not be read
            return
        tip = await database.read(cursor)
        if self._told_up_to is None or tip != self._tip:
            self._told_up_to, self._tip = await database.read(newest_event), tip
            self._tell_all()
            return
        for event, number in await database.read(changed_after, self._told_up_to):
            self._told_up_to = event
            if number is not None:
                for changed in self._waiting.get(number, ()):
                    changed.set()

    def _tell_all(self) -> None:
        for waiting in self._waiting.values():
            for changed in waiting:
                changed.set()

    def close(self) -> None:
        """The service stops: streams end by themselves, so that nobody has to wait for them."""
        self.closed = True
        self._tell_all()


CHANGES: web.AppKey[Changes] = web.AppKey("changes", Changes)


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Returns when the event is set, or after that many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


async def stop_listening(app: web.Application) -> None:
    app[CHANGES].close()
