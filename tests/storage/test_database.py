"""One database, many callers: together on disk, apart in failure, told only when it is true."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest

from storage.database import Database
from storage.errors import AlreadyThere, StorageError
from storage.tx import Row, Tx


@pytest.fixture
async def notes(database: Database) -> Database:
    """A database with one small table of our own."""
    await database.write(lambda tx: tx.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"))
    return database


def add(tx: Tx, number: int, text: str = "") -> int:
    tx.execute("INSERT INTO note (id, text) VALUES (:number, :text)", number=number, text=text)
    return number


def numbers(tx: Tx) -> list[int]:
    return [row["id"] for row in tx.all("SELECT id FROM note ORDER BY id")]


async def test_many_callers_share_a_commit(notes: Database) -> None:
    commits = 0

    def count() -> None:
        nonlocal commits
        commits += 1

    stop = notes.on_commit(count)
    assert await asyncio.gather(*(notes.write(add, n) for n in range(200))) == list(range(200))
    assert commits < 20
    stop()
    await notes.write(add, 999)
    assert await notes.read(numbers) == [*range(200), 999]


async def test_one_that_fails_does_not_hurt_its_neighbours(notes: Database) -> None:
    def fails(tx: Tx) -> None:
        add(tx, 1000)
        raise RuntimeError("after writing")

    def breaks_the_key(tx: Tx) -> None:
        add(tx, 1001)
        add(tx, 1001)

    def wrong_sql(tx: Tx) -> None:
        add(tx, 1002)
        tx.execute("SELEKT 1")

    bodies = [fails, breaks_the_key, wrong_sql]
    jobs = [job for n in range(30) for job in (notes.write(add, n), notes.write(bodies[n % 3]))]
    answers = await asyncio.gather(*jobs, return_exceptions=True)
    assert answers[::2] == list(range(30))
    assert [type(a) for a in answers[1:6:2]][:2] == [RuntimeError, AlreadyThere]
    assert all(isinstance(a, RuntimeError | StorageError) for a in answers[1::2])
    assert await notes.read(numbers) == list(range(30))


async def test_an_exception_no_future_can_carry(notes: Database) -> None:
    """`next()` without a default in a body: its neighbours must not wait for ever."""

    def stops(tx: Tx) -> None:
        next(iter(()))

    answers = await asyncio.wait_for(
        asyncio.gather(notes.write(stops), notes.write(add, 1), return_exceptions=True), timeout=10
    )
    assert isinstance(answers[0], RuntimeError)
    assert answers[1] == 1


async def test_a_reader_sees_what_its_writer_was_told(notes: Database) -> None:
    for number in range(20):
        await notes.write(add, number)
        assert number in await notes.read(numbers)


async def test_a_read_is_one_snapshot(notes: Database, database_url: str) -> None:
    """Another process writes between two statements of a body: the body does not notice."""
    async with Database(database_url) as other:
        loop = asyncio.get_running_loop()

        def look_twice(tx: Tx) -> tuple[list[int], list[int]]:
            first = numbers(tx)
            if database_url.startswith("postgres"):
                asyncio.run_coroutine_threadsafe(other.write(add, 7), loop).result(10)
            else:
                with closing(other._writer._engine.connect()) as connection:  # type: ignore[union-attr]
                    connection.execute("INSERT INTO note VALUES (7, '')")
            return first, numbers(tx)

        assert await notes.read(look_twice) == ([], [])
    assert await notes.read(numbers) == [7]


async def test_a_read_cannot_write(notes: Database) -> None:
    with pytest.raises(StorageError):
        await notes.read(add, 1)
    assert await notes.read(numbers) == []


async def test_a_caller_that_went_away(notes: Database) -> None:
    waiting = asyncio.ensure_future(notes.write(add, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    await notes.write(add, 2)
    assert await notes.read(numbers) == [1, 2]


async def test_closing_finishes_what_is_queued_and_takes_nothing_more(database_url: str) -> None:
    database = Database(database_url)
    with pytest.raises(RuntimeError, match="not open"):
        await database.write(numbers)
    async with database:
        await database.write(lambda tx: tx.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"))
        queued = [asyncio.ensure_future(database.write(add, n)) for n in range(50)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*queued) == list(range(50))
    with pytest.raises(RuntimeError, match="not open"):
        await asyncio.wait_for(database.write(add, 99), timeout=5)
    async with Database(database_url) as again:
        assert await again.read(numbers) == list(range(50))


async def test_a_long_answer_in_a_stream(notes: Database) -> None:
    await asyncio.gather(*(notes.write(add, n, "x" * 100) for n in range(500)))
    rows: list[Row] = [row async for row in notes.stream("SELECT id, text FROM note WHERE id >= :low", low=100)]
    assert [row["id"] for row in rows] == list(range(100, 500))


async def test_a_stream_that_nobody_reads_to_its_end(notes: Database) -> None:
    await asyncio.gather(*(notes.write(add, n) for n in range(500)))
    stream = notes.stream("SELECT id FROM note ORDER BY id")
    assert (await anext(stream))["id"] == 0
    await stream.aclose()  # type: ignore[attr-defined]
    await notes.write(add, 501)


@pytest.mark.parametrize("sql", ["SELECT * FROM nothing_here", "INSERT INTO note VALUES (5, '')"])
async def test_a_stream_reads_and_says_what_is_wrong(notes: Database, sql: str) -> None:
    with pytest.raises(StorageError):
        async for _ in notes.stream(sql):
            pass
    assert await notes.read(numbers) == []
