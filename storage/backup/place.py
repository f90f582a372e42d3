"""Where a backup is put: an empty place, which is filled whole or stays empty.

SQLite: a new file beside the name of the database, which gets that name when all is done. PostgreSQL: one transaction.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

from storage.backup.layout import known_schema, layout
from storage.backup.new_file import put_in_place
from storage.database import engine_for
from storage.errors import BackupRefused, StorageError
from storage.sqlite import SqliteEngine
from storage.tx import Context, Tx
from storage.writer import Engine

_LEFT_BY_SQLITE: Final = ("-wal", "-shm", "-journal")


class Place(Protocol):
    """An open transaction on an empty database."""

    engine: Engine
    connection: Any
    tx: Tx

    def any_order(self) -> None:
        """From here on a row may come before one that it names."""

    def in_order(self) -> None:
        """All rows are there: refuse one that names a row which is not."""

    def count_on(self) -> None:
        """New rows get numbers above those that are there."""


def empty_place(url: str, context: Context) -> AbstractContextManager[Place]:
    """Enter it to fill it; it is committed at the end. Raises `BackupRefused` where it is not empty."""
    engine = engine_for(url, context)
    return _sqlite(engine, context) if isinstance(engine, SqliteEngine) else _postgres(engine)


class _SqlitePlace:
    def __init__(self, engine: SqliteEngine, connection: Any) -> None:
        self.engine: Engine = engine
        self.connection = connection
        self.tx: Tx = engine.tx(connection)

    def any_order(self) -> None:
        self.tx.one("PRAGMA defer_foreign_keys = ON")

    def in_order(self) -> None:
        if (wrong := self.tx.one("PRAGMA foreign_key_check")) is not None:
            raise StorageError(f"a row of {wrong['table']} names one of {wrong['parent']} that is not there")
        self.tx.one("PRAGMA defer_foreign_keys = OFF")

    def count_on(self) -> None:
        """SQLite takes the highest number and one."""


@contextmanager
def _sqlite(engine: SqliteEngine, context: Context) -> Iterator[Place]:
    path = engine.path.resolve()
    _expect_nothing(path)
    engine.take_leadership()  # a service that is started meanwhile is refused, and so is a second restore
    beside = path.with_name(f"{path.name}.restoring")
    try:
        _expect_nothing(path)
        _remove(beside)  # of one that was killed
        inner = SqliteEngine(beside, context)
        connection = inner.connect()
        try:
            inner.begin(connection, write=True)
            yield _SqlitePlace(inner, connection)
            inner.commit(connection)
            inner.whole_in_one_file(connection)
        finally:
            connection.close()
        put_in_place(beside, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        raise BackupRefused(f"database.url: {path} cannot be written: {error.strerror}.") from error
    finally:
        _remove(beside)
        engine.release_leadership()


def _expect_nothing(path: Path) -> None:
    for name in (path, *(path.with_name(path.name + more) for more in _LEFT_BY_SQLITE)):
        if os.path.lexists(name):
            raise _taken(name)


def _taken(path: Path) -> BackupRefused:
    return BackupRefused(
        f"database.url: {path} exists, and a backup is restored into an empty place only: name another database, or "
        "move that file away (with those beside it that begin like it)."
    )


def _remove(beside: Path) -> None:
    for more in ("", *_LEFT_BY_SQLITE):
        with suppress(FileNotFoundError):
            beside.with_name(beside.name + more).unlink()


_REFERENCES: Final = (
    "SELECT c.conname AS name, c.conrelid::regclass::text AS owner FROM pg_constraint c"
    " JOIN pg_namespace n ON n.oid = c.connamespace WHERE c.contype = 'f' AND n.nspname = current_schema()"
)
_COUNTED: Final = (
    "SELECT c.table_name AS owner, c.column_name AS name FROM information_schema.columns c"
    " WHERE c.table_schema = current_schema() AND c.is_identity = 'YES'"
)


class _PostgresPlace:
    def __init__(self, engine: Engine, connection: Any) -> None:
        self.engine = engine
        self.connection = connection
        self.tx: Tx = engine.tx(connection)

    def any_order(self) -> None:
        self._references("DEFERRABLE INITIALLY DEFERRED")

    def in_order(self) -> None:
        self.tx.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self._references("NOT DEFERRABLE")

    def _references(self, when: str) -> None:
        ours = known_tables()
        for row in self.tx.all(_REFERENCES):
            if row["owner"] in ours:
                self.tx.execute(f'ALTER TABLE {row["owner"]} ALTER CONSTRAINT "{row["name"]}" {when}')

    def count_on(self) -> None:
        ours = known_tables()
        for row in self.tx.all(_COUNTED):
            table, column = row["owner"], row["name"]
            if table in ours:
                self.tx.one(
                    f"SELECT setval(pg_get_serial_sequence(:table, :column), coalesce(max({column}), 0) + 1, false)"  # noqa: S608 - names of ours
                    f" FROM {table}",
                    table=table,
                    column=column,
                )


def known_tables() -> frozenset[str]:
    return frozenset(layout(known_schema()))


@contextmanager
def _postgres(engine: Engine) -> Iterator[Place]:
    connection = engine.connect()
    try:
        engine.begin(connection, write=True)
        tx = engine.tx(connection)
        for table in sorted({*known_tables(), "migration"}):
            row = tx.one("SELECT to_regclass(:table)::text AS found", table=table)
            if row is not None and row["found"] is not None:
                raise BackupRefused(
                    f"database.url: this database has a table {table}, and a backup is restored into an empty place "
                    "only: make a new database (createdb) and name that."
                )
        yield _PostgresPlace(engine, connection)
        engine.commit(connection)
    finally:
        connection.close()  # what was not committed is taken back
