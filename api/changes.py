"""Wakes everybody who waits for a change of the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from api.shop import SHOP

POLL_SECONDS = 1.0
"""A commit of this process wakes at once; one of another process is found by looking."""


class Changes:
    """A bell that rings at each commit, and for the last time when the service stops."""

    def __init__(self) -> None:
        self._bell = asyncio.Event()
        self.closed = False
        self.listeners = 0

    def bell(self) -> asyncio.Event:
        """Take it *before* looking at the database: what happens in between rings it."""
        return self._bell

    def ring(self) -> None:
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()

    def close(self) -> None:
        self.closed = True
        self.ring()


CHANGES: web.AppKey[Changes] = web.AppKey("changes", Changes)


async def rung(bell: asyncio.Event) -> None:
    """Returns at the next ring, or after the poll interval."""
    try:
        async with asyncio.timeout(POLL_SECONDS):
            await bell.wait()
    except TimeoutError:
        pass


async def hear_commits(app: web.Application) -> AsyncIterator[None]:
    """Ties the bell to the database for as long as the application runs."""
    stop = app[SHOP].database.on_commit(app[CHANGES].ring)
    yield
    stop()


async def stop_listening(app: web.Application) -> None:
    """At shutdown open streams end by themselves, so that nobody has to wait for them."""
    app[CHANGES].close()
