"""Opening a database: what cannot be used is said in one sentence that names the setting and the mend."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from regtest.postgres import PostgresServer
from storage.database import Database, engine_for
from storage.errors import DatabaseUnusable
from storage.migrate import steps
from storage.tx import Context, Tx

HOLD_PLACE = """
import asyncio, sys
from storage.database import Database, engine_for
async def main():
    async with Database(sys.argv[1], leader=True):
        print("mine", flush=True)
        sys.stdin.read()
asyncio.run(main())
"""


async def refusal(url: str, *, leader: bool = False) -> str:
    with pytest.raises(DatabaseUnusable) as refused:
        async with Database(url, leader=leader):
            pass
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("leader", [False, True])
async def test_a_folder_that_is_not_there(tmp_path: Path, leader: bool) -> None:
    sentence = await refusal(f"sqlite:///{tmp_path}/no/where.db", leader=leader)
    assert f"database.url: the folder {tmp_path}/no does not exist" in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("leader", [False, True])
async def test_a_folder_in_place_of_the_file(tmp_path: Path, leader: bool) -> None:
    (tmp_path / "till.db").mkdir()
    assert "database.url" in await refusal(f"sqlite:///{tmp_path}/till.db", leader=leader)


@pytest.mark.parametrize("leader", [False, True])
async def test_a_file_that_is_no_database(tmp_path: Path, leader: bool) -> None:
    (tmp_path / "till.db").write_text("dear diary, today I sold forty credits " * 99)
    sentence = await refusal(f"sqlite:///{tmp_path}/till.db", leader=leader)
    assert sentence.startswith("database.url:")
    assert "not a database" in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["till.db"]


async def test_a_damaged_page_is_found_before_anything_is_written(tmp_path: Path) -> None:
    """Opened without a look, it would serve until somebody's payment is on that page."""
    path, url = tmp_path / "till.db", f"sqlite:///{tmp_path}/till.db"
    async with Database(url, leader=True):
        pass
    pages = bytearray(path.read_bytes())
    for place in range(4 * 4096, 5 * 4096):
        pages[place] ^= 0x5A
    path.write_bytes(pages)
    for _ in range(2):  # its place is given back
        sentence = await refusal(url, leader=True)
        assert f"{path} is damaged" in sentence
        assert "backup" in sentence
    assert path.read_bytes() == pages


async def test_a_folder_where_sqlite_cannot_make_its_own_files(tmp_path: Path) -> None:
    """Missing rights do not stop root, who may run this test; something in the way of the WAL file does."""
    (tmp_path / "till.db-wal").mkdir()
    assert "database.url" in await refusal(f"sqlite:///{tmp_path}/till.db")


@pytest.mark.parametrize("url", ["mysql://x/y", "nodetill.db", "sqlite://till.db", ""])
async def test_an_address_that_is_none(url: str) -> None:
    sentence = await refusal(url)
    assert sentence.startswith("database.url:")
    assert "sqlite:///" in sentence
    assert "postgresql://" in sentence


async def test_a_schema_from_the_future(database_url: str) -> None:
    async with Database(database_url) as database:
        await database.write(lambda tx: tx.execute("INSERT INTO migration (number, name) VALUES (9999, 'later')"))
    sentence = await refusal(database_url)
    assert "schema 9999" in sentence
    assert "newer nodetill" in sentence


async def test_only_one_leads(database_url: str) -> None:
    async with Database(database_url, leader=True):
        assert "another nodetill" in await refusal(database_url, leader=True)
        async with Database(database_url) as follower:
            assert await follower.read(lambda tx: tx.one("SELECT 1 AS one")) is not None
    async with Database(database_url, leader=True):
        pass


async def test_the_place_of_a_killed_leader_is_free(database_url: str) -> None:
    holder = subprocess.Popen(  # noqa: ASYNC220 - reading one line of it may hold up the loop
        [sys.executable, "-c", HOLD_PLACE, database_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "mine\n"
        sentence = await refusal(database_url, leader=True)
        if database_url.startswith("sqlite"):
            assert f"process {holder.pid}" in sentence
    finally:
        holder.kill()
        holder.communicate()
    for _ in range(50):  # PostgreSQL notices the closed connection a moment later
        try:
            async with Database(database_url, leader=True):
                return
        except DatabaseUnusable:
            continue
    raise AssertionError("the place of the dead is still taken")


async def test_a_link_to_the_database_is_the_same_place(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("till.db")
    async with Database(f"sqlite:///{tmp_path}/till.db", leader=True):
        assert "is in use by another nodetill" in await refusal(f"sqlite:///{tmp_path}/link.db", leader=True)


async def test_a_place_that_was_refused_elsewhere_is_given_back(tmp_path: Path) -> None:
    """Opening fails after the place was taken: the next try must not meet its own shadow."""
    path = tmp_path / "till.db"
    path.write_text("no database " * 99)
    await refusal(f"sqlite:///{path}", leader=True)
    path.unlink()
    async with Database(f"sqlite:///{path}", leader=True):
        pass


async def test_every_sqlite_connection_is_safe(tmp_path: Path) -> None:
    def settings(tx: Tx) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return {name: next(iter(dict(tx.one(f"PRAGMA {name}") or {}).values())) for name in names}

    async with Database(f"sqlite:///{tmp_path}/till.db") as database:
        safe = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
        assert await database.read(settings) == safe
        assert await database.write(settings) == safe
        assert [dict(row) async for row in database.stream("PRAGMA foreign_keys")] == [{"foreign_keys": 1}]


async def test_postgres_writers_queue_whatever_the_servers_default(postgres_server: PostgresServer) -> None:
    """Under a stricter default each waiting writer would read from before its turn."""
    url = postgres_server.create_database()
    strict = f"{url}?options=-c%20default_transaction_isolation%3Dserializable"
    async with Database(strict) as database:
        shown = await database.write(lambda tx: tx.one("SHOW transaction_isolation"))
    assert dict(shown or {}) == {"transaction_isolation": "read committed"}


@pytest.mark.parametrize("leader", [False, True])
@pytest.mark.parametrize(("said", "kept"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")])
async def test_every_postgres_commit_is_on_the_disk(
    postgres_server: PostgresServer, said: str, kept: str, leader: bool
) -> None:
    """Whatever server, role or URL say; more than that stays."""
    url = f"{postgres_server.create_database()}?options=-c%20synchronous_commit%3D{said}"
    async with Database(url, leader=leader) as database:
        shown = await database.write(lambda tx: tx.one("SHOW synchronous_commit"))
    assert dict(shown or {}) == {"synchronous_commit": kept}


async def test_a_wrong_password_is_not_repeated(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database()
    host = url.rsplit("@", 1)[1]
    sentence = await refusal(f"postgresql://nodetill:hunter2@{host}")
    assert "does not let us in" in sentence
    assert "hunter2" not in sentence


async def test_no_server_there(postgres_server: PostgresServer) -> None:
    sentence = await refusal("postgresql://nodetill:hunter2@127.0.0.1:1/till")
    assert "database.url: PostgreSQL" in sentence
    assert "hunter2" not in sentence


async def test_a_new_database_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    async with Database(f"sqlite:///{path}"):
        assert {f.name: oct(f.stat().st_mode & 0o777) for f in tmp_path.glob("till.db*") if "lock" not in f.name} == {
            name: "0o600" for name in ("till.db", "till.db-wal", "till.db-shm")
        }


async def test_a_database_without_an_encoding_gives_text(postgres_server: PostgresServer) -> None:
    """initdb under LANG=C makes SQL_ASCII, where psycopg would hand out text as bytes."""
    url = postgres_server.create_database()
    name = "till_sql_ascii"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    ascii_url = url.replace(f"/{psycopg.conninfo.conninfo_to_dict(url)['dbname']}", f"/{name}")
    async with Database(ascii_url) as database:
        sql = "SELECT name FROM migration WHERE number = 1"

        def name_of(tx: Tx) -> object:
            row = tx.one(sql)
            return row and row["name"]

        assert await database.read(name_of) == "initial"
        assert [row["name"] async for row in database.stream(sql)] == ["initial"]


def test_two_that_open_a_new_file_at_once(tmp_path: Path) -> None:
    """Both change it to WAL, and SQLite tells one of them "locked" without its busy timeout, one time in twenty."""
    with ThreadPoolExecutor(2) as threads:
        for number in range(100):
            engine = engine_for(f"sqlite:///{tmp_path}/till{number}.db", Context())
            for opened in [threads.submit(engine.connect) for _ in range(2)]:
                opened.result().close()


async def test_who_only_reads_makes_and_changes_nothing(tmp_path: Path, database_url: str) -> None:
    url = f"sqlite:///{tmp_path / 'nowhere.db'}"
    with pytest.raises(DatabaseUnusable, match=r"nowhere\.db does not exist"):
        async with Database(url, read_only=True):
            pass
    assert not list(tmp_path.glob("nowhere*"))
    engine = engine_for(database_url, Context())
    connection = engine.connect()
    connection.close()
    newest = max(number for number, _, _ in steps("sqlite"))
    with pytest.raises(DatabaseUnusable, match=f"has schema 0, this nodetill knows {newest}"):
        async with Database(database_url, read_only=True):
            pass
    async with Database(database_url, leader=True), Database(database_url, read_only=True) as reader:
        assert await reader.read(lambda tx: tx.one("SELECT count(*) AS n FROM payment")) is not None
        assert await reader.read_aside(lambda tx: tx.one("SELECT count(*) AS n FROM payment")) is not None
        with pytest.raises(RuntimeError, match="not open"):
            await reader.write(lambda tx: tx.execute("DELETE FROM payment"))
