"""Writes a backup: every row of every table as one snapshot of the database holds them, while others write."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from storage.audit.ledger import newest
from storage.audit.question import Step
from storage.backup.backup_file import BackupFile
from storage.backup.file_format import Header, header_line, line, said, seal_line
from storage.backup.layout import Table, known_schema, layout
from storage.backup.new_file import put_in_place
from storage.database import engine_for
from storage.errors import BackupRefused, DatabaseUnusable
from storage.migrate import expect_newest
from storage.tx import Context, Row, Tx, Value

_PAGE: Final = 1_000


def save(url: str, path: Path, *, network: str, now: int, step: Step) -> Header:
    """Write the backup `path`, and read it again. Nothing is changed in the database, and nobody waits for it.

    Raises `BackupRefused`, `DatabaseUnusable`, `DatabaseBusy`; then there is no file.
    """
    if os.path.lexists(path):
        raise _exists(path)
    engine = engine_for(url, Context())
    expect_newest(engine)
    connection = engine.connect()
    try:
        engine.begin(connection, write=False)
        return _new_file(path, lambda file: _write(engine.tx(connection), file, engine.name, network, now, step), step)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise BackupRefused(f"{path} cannot be written: {error.strerror}. There is no backup.") from error
    finally:
        connection.close()


def _new_file(path: Path, write: Callable[[IO[bytes]], Header], step: Step) -> Header:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)  # mode 0600
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            header = write(file)
        with BackupFile(beside) as written:
            written.verify(step)
        put_in_place(beside, path)
        return header
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()


def _exists(path: Path) -> BackupRefused:
    return BackupRefused(f"{path} exists, and a backup is never overwritten: choose another name.")


def _write(tx: Tx, file: IO[bytes], engine: str, network: str, now: int, step: Step) -> Header:
    tables = layout(known_schema())
    header = _header(tx, tables, engine, network, now)
    digest = hashlib.sha256()

    def put(text: bytes) -> None:
        file.write(text)
        digest.update(text)

    put(header_line(header))
    done = 0
    for table in tables.values():
        put(line({"table": table.name, "columns": table.columns}))
        for row in _rows(tx, table):
            put(line([said(row[name]) for name in table.columns]))
            done += 1
            if done % _PAGE == 0:
                step("rows", done, header.total)
    file.write(seal_line(digest.hexdigest()))
    return header


def _header(tx: Tx, tables: dict[str, Table], engine: str, network: str, now: int) -> Header:
    till = tx.one("SELECT network FROM till")
    if till is not None and till["network"] != network:
        raise DatabaseUnusable(
            f"node.network is {network}, but this database belongs to {till['network']}; use the settings "
            "that go with it."
        )
    transfers, ledger = newest(tx)
    return Header(known_schema(), network, engine, now, transfers, ledger, {name: _count(tx, name) for name in tables})


def _count(tx: Tx, table: str) -> int:
    row = tx.one(f"SELECT count(*) AS n FROM {table}")  # noqa: S608 - a name of ours
    return int(row["n"]) if row else 0


def _rows(tx: Tx, table: Table) -> Iterator[Row]:
    """All rows in the order of the key, some at a time: a till may be larger than the memory."""
    columns, order = ", ".join(table.columns), ", ".join(table.key)
    select = f"SELECT {columns} FROM {table.name}"  # noqa: S608 - names of ours
    after = f" WHERE ({order}) > ({', '.join(f':{name}' for name in table.key)})"
    rest = f" ORDER BY {order} LIMIT {_PAGE}"
    page = tx.all(select + rest)
    while page:
        yield from page
        if len(page) < _PAGE:
            return
        page = tx.all(select + after + rest, **{name: _value(page[-1][name]) for name in table.key})


def _value(value: Value | memoryview) -> Value:
    return bytes(value) if isinstance(value, memoryview) else value
