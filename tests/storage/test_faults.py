"""What the world does to a database: full disks, other processes, servers that go away, SIGKILL."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from regtest.postgres import PostgresServer
from storage.database import Database
from storage.errors import DatabaseBusy, DatabaseUnusable, LeadershipLost, StorageError
from storage.tx import Tx
from tests.storage import invariants
from tests.storage.small_shop import SmallShop

WRITE_UNTIL_KILLED = """
import asyncio, sys
from storage.database import Database
from tests.storage.small_shop import SmallShop, promise, derive
from storage import payments

async def main():
    async with Database(sys.argv[1]) as database:
        shop = await SmallShop(database).open()
        async def one(user):
            while True:
                wanted = payments.NewPayment(user, "small", "{}", promise(shop.now), 10**6)
                made = await database.write(payments.create, wanted, shop.keychain, derive, shop.now)
                print(made.id, made.address_index, flush=True)
        await asyncio.gather(*(one(f"u{n}") for n in range(8)))

asyncio.run(main())
"""


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{tmp_path / 'till.db'}") as opened:
        await opened.write(lambda tx: tx.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"))
        yield opened


def add(tx: Tx, number: int, text: str = "") -> int:
    tx.execute("INSERT INTO note (id, text) VALUES (:number, :text)", number=number, text=text)
    return number


def numbers(tx: Tx) -> list[int]:
    return [row["id"] for row in tx.all("SELECT id FROM note ORDER BY id")]


async def test_sigkill_loses_nothing_that_was_acknowledged(database_url: str) -> None:
    dice = random.Random(7)
    acknowledged: dict[str, int] = {}
    for _ in range(4):
        acknowledged |= await asyncio.to_thread(_write_until_killed, database_url, dice.uniform(0.02, 0.2))
    assert len(acknowledged) > 20
    async with Database(database_url) as database:
        await database.read(invariants.check)
        rows = await database.read(lambda tx: tx.all("SELECT id, address_index FROM payment"))
        stored = {row["id"]: row["address_index"] for row in rows}
        assert acknowledged.items() <= stored.items()
        assert sorted(stored.values()) == list(range(len(stored)))
        shop = await SmallShop(database).open()
        assert (await shop.create("u9")).address_index == len(stored)


def _write_until_killed(url: str, seconds: float) -> dict[str, int]:
    """What a process was told is on disk before it was killed: payment ids with their address index."""
    command = [sys.executable, "-c", WRITE_UNTIL_KILLED, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(seconds)
        child.kill()
        return _ids([first, *child.communicate()[0].splitlines()])


def _ids(lines: list[str]) -> dict[str, int]:
    """Whole lines only: the last one may have been cut."""
    words = [line.split() for line in lines]
    return {w[0]: int(w[1]) for w in words if len(w) == 2 and len(w[0]) == 32 and w[1].isdigit()}


async def test_another_process_holds_the_database_for_a_while(sqlite: Database, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "till.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO note VALUES (1, 'theirs')")
    waiting = [asyncio.ensure_future(sqlite.write(add, n)) for n in range(2, 9)]
    await asyncio.sleep(0.2)
    assert not any(job.done() for job in waiting)
    assert await sqlite.read(numbers) == [], "readers do not wait for writers"
    other.execute("COMMIT")
    other.close()
    assert await asyncio.gather(*waiting) == list(range(2, 9))
    assert await sqlite.read(numbers) == list(range(1, 9))


async def test_another_process_never_lets_go(sqlite: Database, tmp_path: Path) -> None:
    await sqlite.write(lambda tx: tx.one("PRAGMA busy_timeout = 1"))
    other = sqlite3.connect(tmp_path / "till.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answers = await asyncio.gather(*(sqlite.write(add, n) for n in range(3)), return_exceptions=True)
    assert all(isinstance(a, DatabaseBusy) for a in answers)
    other.execute("ROLLBACK")
    other.close()
    assert await sqlite.write(add, 1) == 1


async def test_a_writer_holds_the_pen_from_its_first_word(sqlite: Database, tmp_path: Path) -> None:
    """Read, then write: nobody may write in between (BEGIN IMMEDIATE), or what was read is stale."""

    def somebody_else_may_write(tx: Tx) -> bool:
        numbers(tx)
        other = sqlite3.connect(tmp_path / "till.db", isolation_level=None, timeout=0)
        try:
            other.execute("INSERT INTO note VALUES (1, 'theirs')")
        except sqlite3.OperationalError:
            return False
        finally:
            other.close()
        return True

    assert not await sqlite.write(somebody_else_may_write)


async def test_two_processes_write_in_turns(database_url: str) -> None:
    async with Database(database_url) as ours, Database(database_url) as theirs:
        mine, yours = SmallShop(ours), SmallShop(theirs)
        await mine.open()
        await yours.open()
        made = await asyncio.gather(*(shop.create(f"u{n}") for n in range(25) for shop in (mine, yours)))
    assert sorted(p.address_index for p in made) == list(range(50))


async def test_a_full_disk_is_named_and_forgotten_when_there_is_room(sqlite: Database) -> None:
    def fill_up(tx: Tx) -> None:
        pages = tx.one("PRAGMA page_count")
        tx.one(f"PRAGMA max_page_count = {pages['page_count'] if pages else 0}")

    await sqlite.write(fill_up)
    answers = await asyncio.gather(*(sqlite.write(add, n, "x" * 90_000) for n in range(3)), return_exceptions=True)
    assert all(isinstance(a, StorageError) and "full" in str(a) for a in answers), answers
    assert await sqlite.read(numbers) == []
    assert "full" in (sqlite.cannot_write(20) or "")
    assert sqlite.cannot_write(0) is None  # nothing was tried since
    await sqlite.write(lambda tx: tx.one("PRAGMA max_page_count = 1000000"))
    assert sqlite.cannot_write(20) is None
    assert await sqlite.write(add, 1, "x" * 90_000) == 1


async def test_a_commit_that_fails_is_told_to_everybody_in_it(sqlite: Database) -> None:
    """A foreign key judged only at COMMIT: whoever shared that commit must hear that nothing happened."""

    def breaks_later(tx: Tx) -> None:
        tx.execute("PRAGMA defer_foreign_keys = ON")
        tx.execute("INSERT INTO block_tx (block_hash, txid) VALUES ('nothing', 'a')")

    answers = await asyncio.gather(
        sqlite.write(add, 1), sqlite.write(breaks_later), sqlite.write(add, 2), return_exceptions=True
    )
    kept = await sqlite.read(numbers)
    assert isinstance(answers[1], StorageError)
    assert kept == [a for a in answers if isinstance(a, int)]
    assert await sqlite.write(add, 3) == 3


async def test_a_server_that_cuts_every_connection(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database()
    async with Database(url) as database:
        shop = await SmallShop(database).open()
        await asyncio.gather(*(shop.check() for _ in range(12)))
        for round_ in range(3):
            _cut(url)
            await asyncio.gather(*(shop.check() for _ in range(12)))
            _cut(url)
            assert (await shop.create(f"u{round_}")).address_index == round_


async def test_a_server_that_is_away_for_a_moment(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database()
    name = url.rsplit("/", 1)[1]
    maintenance = url.rsplit("/", 1)[0] + "/postgres"
    async with Database(url) as database:
        shop = await SmallShop(database).open()
        with psycopg.connect(maintenance, autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            _cut(maintenance, name)
            with pytest.raises(DatabaseBusy):
                await shop.check()
            waiting = asyncio.ensure_future(shop.create())
            await asyncio.sleep(0.3)
            assert not waiting.done()
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        assert (await waiting).address_index == 0


def _cut(url: str, name: str | None = None) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = coalesce(%s, current_database()) AND pid <> pg_backend_pid()",
            (name,),
        )


async def test_a_leader_takes_its_place_again_or_stops(postgres_server: PostgresServer) -> None:
    """The lock dies with its session: nobody writes as the leader who is not."""
    url = postgres_server.create_database()
    async with Database(url, leader=True) as first:
        await first.write(lambda tx: tx.execute("CREATE TABLE note (id BIGINT, text TEXT)"))
        _cut(url)
        await first.write(add, 1)
        with pytest.raises(DatabaseUnusable, match="another nodetill"):
            async with Database(url, leader=True):
                pass
        _cut(url)
        async with Database(url, leader=True) as second:
            await second.write(add, 2)
            with pytest.raises(LeadershipLost):
                await first.write(add, 3)
            assert await second.read(numbers) == [1, 2]
