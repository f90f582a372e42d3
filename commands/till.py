"""The till's database as a command opens it, beside a running service or without one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from config.settings import Settings
from storage.database import Database
from storage.tx import Context


def public_url(settings: Settings) -> str:
    """What links begin with."""
    host = f"[{settings.api.host}]" if ":" in settings.api.host else settings.api.host
    return settings.api.public_url or f"http://{host}:{settings.api.port}"


def context_of(settings: Settings) -> Context:
    """What events need beside their payment: the same, whoever writes them."""
    endpoints = tuple((hook.url, frozenset(hook.events)) for hook in settings.webhooks)
    return Context(public_url=public_url(settings), endpoints=endpoints)


def reading(settings: Settings) -> Database:
    """The service's database, to look at it; one that is not there, or of another schema, is refused."""
    return Database(settings.database.url.get_secret_value(), context_of(settings), read_only=True)


@asynccontextmanager
async def writing(settings: Settings) -> AsyncIterator[Database]:
    """The service's database, to write into it. None is made, and none is migrated under a service that runs."""
    async with reading(settings):
        pass
    async with Database(settings.database.url.get_secret_value(), context_of(settings)) as database:
        yield database
