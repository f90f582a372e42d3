"""A till in one file and back: the same rows, whichever of the two databases they come from and go to."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from payments.events import EventType
from storage import migrate, till
from storage.api_keys import create_key
from storage.audit.alone import audit_alone
from storage.audit.question import no_step
from storage.backup.backup_file import BackupFile
from storage.backup.layout import known_schema, layout
from storage.backup.restore import Wanted, restore
from storage.backup.save import save
from storage.backup.step_ahead import EVENTS, Descriptor, Stepped
from storage.database import Database
from storage.errors import BackupRefused, DatabaseUnusable, StorageError
from storage.till import DISTANCE
from storage.tx import Tx
from tests.storage import invariants
from tests.storage.conftest import CONTEXT, MakeUrl
from tests.storage.small_shop import START, SmallShop
from tests.storage.test_audit import busy

LATER = START + 3_600_000


@pytest.fixture
async def shop(database: Database) -> SmallShop:
    """A busy one, that forwards, with a key."""
    shop = await busy(await SmallShop(database, watch_only=False).open())
    await database.write(create_key, "shop ☂ 'quoted'", ("admin",), shop.now)
    return shop


def wanted(url: str, **changed: Any) -> Wanted:
    given: dict[str, Any] = {
        "url": url,
        "network": "regtest",
        "descriptor": Descriptor("fp", "wpkh(…)", watch_only=False),
        "distance": DISTANCE,
        "now": LATER,
        "context": CONTEXT,
    }
    return Wanted(**given | changed)


def put_back(file: Path, url: str, **changed: Any) -> Stepped:
    with BackupFile(file) as backup:
        return restore(backup, wanted(url, **changed), no_step)


def saved(url: str, file: Path) -> Path:
    save(url, file, network="regtest", now=START, step=no_step)
    return file


def everything(tx: Tx) -> dict[str, list[tuple[object, ...]]]:
    found = {}
    for table in layout(known_schema()).values():
        rows = tx.all(f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {', '.join(table.key)}")
        found[table.name] = [
            tuple(bytes(row[name]) if isinstance(row[name], memoryview) else row[name] for name in table.columns)
            for row in rows
        ]
    return found


def execute(tx: Tx, statement: str) -> None:
    tx.execute(statement)


def columns(table: str) -> tuple[str, ...]:
    return layout(known_schema())[table].columns


@pytest.mark.parametrize("to", ["sqlite", "postgres"])
async def test_the_same_rows_on_either_database(
    shop: SmallShop, database_url: str, to: str, empty: MakeUrl, tmp_path: Path
) -> None:
    file, url = saved(database_url, tmp_path / "till.backup"), empty(to)
    assert file.stat().st_mode & 0o777 == 0o600
    before = await shop.database.read(everything)
    stepped = put_back(file, url)
    last = len(before["event"])
    assert stepped == Stepped(next_index=5 + DISTANCE, event=last + EVENTS)
    async with Database(url, CONTEXT) as database:
        after = await database.read(everything)
        ((told),) = after.pop("event")[last:]
        (sent,) = after.pop("outbox")[len(before["outbox"]) :]
        assert dict(zip(columns("event"), told, strict=True))["type"] == EventType.TILL_RESTORED.value
        assert dict(zip(columns("outbox"), sent, strict=True))["event_id"] == stepped.event
        del before["event"], before["outbox"]
        (keychain,) = before.pop("keychain")
        raised = {**dict(zip(columns("keychain"), keychain, strict=True)), "next_index": 5 + DISTANCE}
        assert after.pop("keychain") == [tuple(raised.values())]
        assert after == before
        assert all(after[table] for table in ("payment", "transfer", "api_key", "output", "account", "block_tx"))
        assert (await database.read(audit_alone, no_step))[1] == []
        await database.read(invariants.check)
        if to == "sqlite":
            path = Path(url.removeprefix("sqlite:///"))
            assert path.stat().st_mode & 0o777 == 0o600
            assert not list(path.parent.glob("*.restoring*"))


@pytest.mark.parametrize("to", ["sqlite", "postgres"])
async def test_business_goes_on(shop: SmallShop, database_url: str, to: str, empty: MakeUrl, tmp_path: Path) -> None:
    """Numbers go on behind the highest, on PostgreSQL too, and the ledger is as append-only as it was."""
    url = empty(to)
    stepped = put_back(saved(database_url, tmp_path / "till.backup"), url)
    async with Database(url, CONTEXT) as database:
        again = SmallShop(database, watch_only=False)
        again.keychain, again.now, again.blocks = shop.keychain, LATER, shop.blocks
        new = await again.create("new")
        assert (new.number, new.address_index) == (6, 5 + DISTANCE)
        assert (await again.create("newer")).address_index == 6 + DISTANCE
        rows = await database.read(lambda tx: tx.all("SELECT id FROM event ORDER BY id DESC LIMIT 3"))
        assert [row["id"] for row in rows] == [stepped.event + 2, stepped.event + 1, stepped.event]
        for statement in ("UPDATE transfer SET credits = 0", "DELETE FROM transfer_line"):
            with pytest.raises(StorageError, match="append-only"):
                await database.write(execute, statement)
        # A row that names one which is not there is refused as ever.
        with pytest.raises(StorageError):
            await database.write(lambda tx: tx.execute("INSERT INTO block_tx (block_hash, txid) VALUES ('no', 'no')"))


async def test_every_counter_of_postgres_is_behind_the_highest(
    shop: SmallShop, database_url: str, empty: MakeUrl, tmp_path: Path
) -> None:
    url = empty("postgres")
    put_back(saved(database_url, tmp_path / "till.backup"), url)
    counted = {"keychain": "id", "payment": "number", "account": "id", "transfer": "id", "event": "id"}
    with psycopg.connect(url) as connection:
        for table, column in counted.items():
            (highest,) = connection.execute(f"SELECT max({column}) FROM {table}".encode()).fetchone() or (0,)
            sql = f"SELECT nextval(pg_get_serial_sequence('{table}', '{column}'))"
            assert connection.execute(sql.encode()).fetchone() == (highest + 1,), table
        loose = connection.execute("SELECT conname FROM pg_constraint WHERE condeferrable").fetchall()
        assert loose == []


def many_blocks(tx: Tx) -> None:
    tx.many(
        "INSERT INTO block (hash, height, prev_hash, time, active) VALUES (:h, :n, '', 0, 0)",
        [{"h": f"b{n}", "n": n} for n in range(2_500)],
    )


async def test_one_snapshot_while_others_write(database_url: str, empty: MakeUrl, tmp_path: Path) -> None:
    """What is written while the backup is read is in it whole or not at all."""
    async with Database(database_url, CONTEXT) as database:
        shop = await SmallShop(database).open()
        await shop.create("first")
        loop, sold = asyncio.get_running_loop(), 0

        def sell_meanwhile(what: str, done: int, of: int) -> None:
            nonlocal sold
            if what == "rows" and sold < 5:
                sold += 1
                asyncio.run_coroutine_threadsafe(shop.create(f"u{sold}"), loop).result(20)

        await database.write(many_blocks)
        file = tmp_path / "till.backup"
        await asyncio.to_thread(save, database_url, file, network="regtest", now=START, step=sell_meanwhile)
        assert sold >= 1
    url = empty("sqlite")
    put_back(file, url)
    async with Database(url, CONTEXT) as restored:
        assert len((await restored.read(everything))["payment"]) == 1
        await restored.read(invariants.check)


async def test_more_rows_than_a_page(database_url: str, empty: MakeUrl, tmp_path: Path) -> None:
    """Of a table whose key is two columns, and of one whose key is text."""

    def fill(tx: Tx) -> None:
        many_blocks(tx)
        tx.many(
            "INSERT INTO block_tx (block_hash, txid) VALUES (:h, :t)",
            [{"h": f"b{n}", "t": f"Tx-{n % 7}-é"} for n in range(2_500)],
        )

    async with Database(database_url) as database:
        await database.write(till.claim, "regtest", START)
        await database.write(fill)
        before = await database.read(everything)
    url = empty("sqlite")
    put_back(saved(database_url, tmp_path / "till.backup"), url)
    async with Database(url) as restored:
        after = await restored.read(everything)
    assert len(after["block_tx"]) == 2_500
    for table in ("block", "block_tx"):
        assert sorted(after[table], key=str) == sorted(before[table], key=str)


async def test_an_existing_file_is_never_overwritten(shop: SmallShop, database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "till.backup"
    file.write_text("dear to somebody")
    with pytest.raises(BackupRefused, match="exists, and a backup is never overwritten"):
        saved(database_url, file)
    assert file.read_text() == "dear to somebody"
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(BackupRefused, match="never overwritten"):
        saved(database_url, tmp_path / "link")
    with pytest.raises(BackupRefused, match="No such file or directory"):
        saved(database_url, tmp_path / "no" / "folder")
    with pytest.raises(DatabaseUnusable, match="belongs to regtest"):
        save(database_url, tmp_path / "other", network="main", now=START, step=no_step)
    assert not [path.name for path in tmp_path.iterdir() if "partial" in path.name or path.name == "other"]


async def test_a_file_that_appears_meanwhile_is_kept(shop: SmallShop, database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "till.backup"

    def somebody_is_faster(what: str, done: int, of: int) -> None:
        file.write_text("dear to somebody")

    with pytest.raises(BackupRefused, match="never overwritten"):
        save(database_url, file, network="regtest", now=START, step=somebody_is_faster)
    assert file.read_text() == "dear to somebody"
    assert not list(tmp_path.glob(".*partial"))


async def test_only_into_an_empty_place(shop: SmallShop, database_url: str, empty: MakeUrl, tmp_path: Path) -> None:
    file = saved(database_url, tmp_path / "till.backup")
    before = await shop.database.read(everything)
    with pytest.raises(BackupRefused, match="into an empty place only"):
        put_back(file, database_url)
    assert await shop.database.read(everything) == before
    url = empty("postgres")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE outbox (mine INTEGER)")
    with pytest.raises(BackupRefused, match="has a table outbox"):
        put_back(file, url)
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE outbox")
        connection.execute("CREATE TABLE somebody (mine INTEGER)")
    put_back(file, url)  # what is not ours is in nobody's way
    for leftover in ("restored.db", "restored.db-wal", "restored.db-journal"):
        (tmp_path / leftover).write_bytes(b"")
        with pytest.raises(BackupRefused, match=f"{leftover} exists"):
            put_back(file, f"sqlite:///{tmp_path / 'restored.db'}")
        (tmp_path / leftover).unlink()
    with pytest.raises(DatabaseUnusable, match="does not exist"):
        put_back(file, f"sqlite:///{tmp_path / 'no' / 'restored.db'}")


async def test_a_descriptor_that_came_after_the_backup(
    shop: SmallShop, database_url: str, empty: MakeUrl, tmp_path: Path
) -> None:
    file, url = saved(database_url, tmp_path / "till.backup"), empty("sqlite")
    stepped = put_back(file, url, descriptor=Descriptor("fp2", "tr(…)", watch_only=True), distance=5_000)
    assert stepped.next_index == 5_000
    async with Database(url) as database:
        rows = await database.read(lambda tx: tx.all("SELECT fingerprint, next_index FROM keychain ORDER BY id"))
        assert [(row["fingerprint"], row["next_index"]) for row in rows] == [("fp", 5_005), ("fp2", 5_000)]


async def test_a_till_that_never_began(database_url: str, empty: MakeUrl, tmp_path: Path) -> None:
    """Only `keys create` was there before: addresses may have been shown since all the same."""
    async with Database(database_url) as database:
        await database.write(create_key, "shop", ("admin",), START)
    url = empty("sqlite")
    assert put_back(saved(database_url, tmp_path / "till.backup"), url) == Stepped(DISTANCE, EVENTS)
    async with Database(url) as database:
        await database.write(till.claim, "regtest", LATER)
        with pytest.raises(DatabaseUnusable):
            await database.write(till.claim, "main", LATER)


async def test_restored_a_second_time(database_url: str, shop: SmallShop, empty: MakeUrl, tmp_path: Path) -> None:
    """A backup of what was restored, restored: further on again, and the shop is told again."""
    first, second = empty("postgres"), empty("sqlite")
    put_back(saved(database_url, tmp_path / "one.backup"), first)
    stepped = put_back(saved(first, tmp_path / "two.backup"), second)
    assert stepped.next_index == 5 + 2 * DISTANCE
    async with Database(second) as database:
        told = await database.read(
            lambda tx: tx.all("SELECT id, sequence, data FROM event WHERE type = 'till.restored' ORDER BY id")
        )
    assert [row["sequence"] for row in told] == [1, 2]
    assert told[1]["id"] - told[0]["id"] == EVENTS
    assert json.loads(told[1]["data"]) == {
        "backup_created_at": "2023-11-14T22:13:20.000Z",
        "restored_at": "2023-11-14T23:13:20.000Z",
        "events_until": told[0]["id"],
    }


@pytest.mark.parametrize("to", ["sqlite", "postgres"])
async def test_an_older_schema_is_migrated(
    to: str, empty: MakeUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"sqlite:///{tmp_path / 'till.db'}"
    async with Database(source, CONTEXT) as database:
        await busy(await SmallShop(database).open())
        file = saved(source, tmp_path / "till.backup")
    number = known_schema() + 1
    folder = shutil.copytree(migrate._FOLDER, tmp_path / "migrations")
    (folder / f"{number:04d}_more.sql").write_text(
        "ALTER TABLE payment ADD COLUMN colour TEXT NOT NULL DEFAULT 'green';\n"
        "UPDATE payment SET colour = 'blue' WHERE number <= 2;\n"
        "CREATE TABLE spoon (id INTEGER NOT NULL PRIMARY KEY, payment_number INTEGER REFERENCES payment (number),"
        " next_id INTEGER REFERENCES spoon (id)) STRICT;\n"
    )
    monkeypatch.setattr(migrate, "_FOLDER", folder)
    url = empty(to)
    put_back(file, url)
    async with Database(url, CONTEXT) as restored:
        rows = await restored.read(lambda tx: tx.all("SELECT colour FROM payment ORDER BY number"))
        assert [row["colour"] for row in rows] == ["blue"] * 2 + ["green"] * 3, "it was migrated before its rows came"
        # Rows that name each other come and go as well.
        await restored.write(lambda tx: tx.execute("INSERT INTO spoon (id) VALUES (2)"))
        await restored.write(lambda tx: tx.execute("INSERT INTO spoon (id, next_id) VALUES (1, 2)"))
        again = saved(url, tmp_path / "again.backup")
    other = f"sqlite:///{tmp_path / 'other.db'}"
    put_back(again, other)
    async with Database(other) as restored:
        assert len(await restored.read(lambda tx: tx.all("SELECT * FROM spoon"))) == 2


async def test_an_older_database_is_not_backed_up_unseen(database_url: str, tmp_path: Path) -> None:
    async with Database(database_url):
        pass
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as raw:
            raw.execute("UPDATE migration SET number = 999 WHERE number = 1")
            raw.commit()
        with pytest.raises(DatabaseUnusable, match="has schema 999"):
            saved(database_url, tmp_path / "till.backup")
    with pytest.raises(DatabaseUnusable, match="does not exist"):
        saved(f"sqlite:///{tmp_path}/nowhere.db", tmp_path / "till.backup")
    assert not (tmp_path / "till.backup").exists()
