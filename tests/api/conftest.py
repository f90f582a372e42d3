"""The application over a real database of each engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from api.app import make_app
from api.changes import CHANGES
from api.key_use import KEY_USE
from api.shop import Offer, Shop
from storage.database import Database
from storage.tx import Context
from tests.api.till import PACKAGES, PUBLIC_URL, TOKEN_SECRET, Client, Till, set_up

ClientFactory = Callable[..., Awaitable[Client]]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database, migrated."""
    async with Database(database_url, Context(public_url=PUBLIC_URL)) as opened:
        yield opened


@pytest.fixture
async def till(database: Database, aiohttp_client: ClientFactory) -> AsyncIterator[Till]:
    """The application with a client, packages and an empty ledger."""
    keychain_id, descriptor = await set_up(database)
    holder: list[Till] = []

    async def check_now() -> bool:
        holder[0].checks += 1
        if holder[0].on_check is not None:
            await holder[0].on_check()
        return holder[0].node_answers

    def derive(index: int) -> tuple[bytes, str]:
        holder[0].derive_hold.wait(10)  # lets a test keep a create in flight
        return descriptor.derive(index)

    shop = Shop(
        database=database,
        network="regtest",
        packages=PACKAGES,
        keychain_id=keychain_id,
        derive=derive,
        public_url=PUBLIC_URL,
        offer=Offer(max_open_per_user=3),
        user_token_secret=TOKEN_SECRET,
        check_now=check_now,
    )
    app = make_app(shop)
    async with asyncio.TaskGroup() as group:
        beside = [
            group.create_task(task) for task in (app[CHANGES].follow(database), app[KEY_USE].write_down(database))
        ]
        holder.append(Till(database, await aiohttp_client(app), keychain_id))
        yield holder[0]
        for task in beside:
            task.cancel()
