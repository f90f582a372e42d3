"""The till's database as a command opens it, beside a running service or without one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from commands.event_context import event_context
from config.settings import Settings
from storage.database import Database


def reading(settings: Settings) -> Database:
    """The service's database, to look at it; one that is not there, or of another schema, is refused."""
    return Database(settings.database.url.get_secret_value(), event_context(settings), read_only=True)


@asynccontextmanager
async def writing(settings: Settings) -> AsyncIterator[Database]:
    """The service's database, to write into it. None is made, and none is migrated under a service that runs."""
    async with reading(settings):
        pass
    async with Database(settings.database.url.get_secret_value(), event_context(settings)) as database:
        yield database
