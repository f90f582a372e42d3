"""The shop that most tests of storage/ begin with, on each of the two databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from regtest.postgres import PostgresServer
from storage.database import Database
from storage.tx import Context
from tests.storage.small_shop import SmallShop

CONTEXT = Context(public_url="https://shop.example", endpoints=(("https://hook.example", frozenset()),))

MakeUrl = Callable[[str], str]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database with one webhook endpoint that wants everything."""
    async with Database(database_url, CONTEXT) as opened:
        yield opened


@pytest.fixture
async def shop(database: Database) -> SmallShop:
    return await SmallShop(database).open()


@pytest.fixture
async def forwarding_shop(database: Database) -> SmallShop:
    """A shop whose coins wait in the till until they are swept to the owner."""
    return await SmallShop(database, watch_only=False).open()


@pytest.fixture
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeUrl]:
    """`empty("sqlite" | "postgres")`: the URL of a place for a backup."""
    made: list[tuple[PostgresServer, str]] = []

    def make(engine: str) -> str:
        if engine == "sqlite":
            return f"sqlite:///{tmp_path / 'restored.db'}"
        server: PostgresServer = request.getfixturevalue("postgres_server")
        made.append((server, server.create_database()))
        return made[-1][1]

    yield make
    for server, url in made:
        server.drop_database(url)
