"""Looks that another process asks for: two counters, and a hint where the database can give one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from regtest.postgres import PostgresServer
from storage import looks, till
from storage.database import Database
from storage.errors import DatabaseBusy
from tests.storage.small_shop import START, SmallShop


async def test_one_look_is_enough_for_all_who_wait(shop: SmallShop) -> None:
    database = shop.database
    assert await database.read(looks.due) is None
    assert await database.read(looks.told) == (0, 0)
    numbers = await asyncio.gather(*(database.write(looks.want) for _ in range(20)))
    assert sorted(numbers) == list(range(1, 21))
    assert await database.read(looks.due) == 20
    late = await database.write(looks.want)
    await database.write(looks.finish, 20)
    assert await database.read(looks.told) == (20, 0)
    assert await database.read(looks.due) == late == 21, "who asked during the look waits for the next"
    await database.write(looks.finish, late)
    assert await database.read(looks.due) is None


async def test_what_is_done_stays_done(shop: SmallShop) -> None:
    for _ in range(3):
        await shop.database.write(looks.want)
    await shop.database.write(looks.finish, 3)
    await shop.database.write(looks.finish, 2)
    assert await shop.database.read(looks.told) == (3, 0)


async def test_a_look_that_failed_is_told_and_not_due_again(shop: SmallShop) -> None:
    database = shop.database
    first = await database.write(looks.want)
    await database.write(looks.fail, first)
    assert await database.read(looks.told) == (0, 1)
    assert await database.read(looks.due) is None, "who waited was told; the next may ask again"
    second = await database.write(looks.want)
    assert await database.read(looks.due) == second
    await database.write(looks.finish, second)
    await database.write(looks.fail, first)
    assert await database.read(looks.told) == (2, 1)
    assert await database.read(looks.due) is None


async def test_before_the_first_start(database: Database) -> None:
    assert await database.read(looks.due) is None
    assert await database.read(looks.told) == (0, 0)


async def test_numbers_outlive_the_process(shop: SmallShop, database_url: str) -> None:
    await shop.database.write(looks.want)
    async with Database(database_url) as other:
        assert await other.write(looks.want) == 2
        assert await other.read(looks.due) == 2


async def test_nobody_else_asks_on_sqlite(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path / 'till.db'}") as database:
        assert [notice async for notice in database.notices(looks.CHANNEL, 0.01)] == []


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
async def asked(postgres_url: str) -> AsyncIterator[Database]:
    """On PostgreSQL, claimed, as its leader."""
    async with Database(postgres_url, leader=True) as opened:
        await opened.write(till.claim, "regtest", START)
        yield opened


class Bell:
    """Counts the notices."""

    def __init__(self, database: Database, seconds: float) -> None:
        self.rings = 0
        self._rung = asyncio.Event()
        self._task = asyncio.create_task(self._listen(database, seconds))

    async def _listen(self, database: Database, seconds: float) -> None:
        async for _ in database.notices(looks.CHANNEL, seconds):
            self.rings += 1
            self._rung.set()

    async def next(self, timeout: float = 5.0) -> float:
        """Seconds until it rang, or until listening failed, which is raised."""
        began = time.monotonic()
        ring = asyncio.create_task(self._rung.wait())
        await asyncio.wait({ring, self._task}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not ring.done():
            ring.cancel()
            if self._task.done():
                self._task.result()
            raise TimeoutError("no notice came")
        self._rung.clear()
        return time.monotonic() - began

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


async def test_another_process_is_heard_at_once(asked: Database, postgres_url: str) -> None:
    bell = Bell(asked, 3600)
    await bell.next()  # it listens now, and what was asked before is to be looked up
    async with Database(postgres_url) as other:
        for _ in range(3):
            wanted = asyncio.create_task(other.write(looks.want))
            assert await bell.next() < 1.0
            await wanted
    rings = bell.rings
    await asked.write(till.report_health, {}, START, START)
    await asked.write(looks.finish, 3)
    await asyncio.sleep(0.2)
    assert bell.rings == rings, "only a wanted look rings"
    await bell.stop()


async def test_without_a_notice_it_is_looked_up_at_the_interval(asked: Database) -> None:
    bell = Bell(asked, 0.2)
    for _ in range(3):
        await bell.next(timeout=2)
    await bell.stop()


async def test_a_line_that_is_cut_is_told(asked: Database, postgres_url: str) -> None:
    bell = Bell(asked, 3600)
    await bell.next()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
    connection.close()
    with pytest.raises(DatabaseBusy):
        await bell.next()


async def test_a_server_that_is_away_is_told() -> None:
    with PostgresServer(fsync=False) as server:
        async with Database(server.create_database()) as database:
            await asyncio.to_thread(server.stop)
            with pytest.raises(DatabaseBusy):
                await Bell(database, 3600).next()
