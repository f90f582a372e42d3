"""SQLite: WAL, synchronous=FULL, one writer connection, reads of a few microseconds in the caller's thread."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import aiosqlite

from storage.errors import AlreadyThere, DatabaseBusy, DatabaseUnusable, StorageError
from storage.lock_file import HeldByAnother, LockFile
from storage.tx import Context, Row, Value

# journal_mode comes after busy_timeout: the change to WAL may have to wait for another process.
_PRAGMAS = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)
_OPEN_WAIT_S, _OPEN_PAUSE_S = 5.0, 0.02
_BUSY_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_UNIQUE_CODES = {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY}


def _translated(error: sqlite3.Error) -> StorageError:
    code = getattr(error, "sqlite_errorcode", 0)
    if code in _UNIQUE_CODES:
        return AlreadyThere(str(error))
    if code & 0xFF == sqlite3.SQLITE_CONSTRAINT:
        return StorageError(f"SQLite refuses the row: {error}")
    if code & 0xFF in _BUSY_CODES:
        return DatabaseBusy(f"SQLite is held by another process: {error}")
    return DatabaseUnusable(f"SQLite answers: {error}. See to database.url: its disk and its permissions.")


def _prepare(connection: sqlite3.Connection) -> None:
    """Set the pragmas, again if need be.

    Two that change a new file to WAL at once would wait for each other; SQLite then tells one of them
    "locked" at once, without its busy timeout (sqlite3_busy_handler: "to avoid a deadlock").
    """
    until = time.monotonic() + _OPEN_WAIT_S
    while True:
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _BUSY_CODES or time.monotonic() > until:
                raise
            time.sleep(_OPEN_PAUSE_S)


class SqliteTx:
    """`storage.tx.Tx` over one sqlite3 connection."""

    def __init__(self, connection: sqlite3.Connection, context: Context) -> None:
        self._connection = connection
        self.context = context

    def _run(self, sql: str, values: Mapping[str, Value]) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise _translated(error) from error

    def execute(self, sql: str, **values: Value) -> int:
        return self._run(sql, values).rowcount

    def one(self, sql: str, **values: Value) -> Row | None:
        row: Row | None = self._run(sql, values).fetchone()
        return row

    def all(self, sql: str, **values: Value) -> list[Row]:
        return self._run(sql, values).fetchall()

    def many(self, sql: str, rows: Iterable[Mapping[str, Value]]) -> None:
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.Error as error:
            raise _translated(error) from error


class SqliteEngine:
    """Opens connections to one database file."""

    name = "sqlite"
    reads_in_caller = True

    def __init__(self, path: Path, context: Context) -> None:
        self.path = path
        self.context = context
        file = path.resolve()  # a link to the same file is the same database
        self._place = LockFile(file.with_name(f"{file.name}.lock"))

    def connect(self) -> sqlite3.Connection:
        self._expect_folder()
        connection: sqlite3.Connection | None = None
        try:
            # SQLite would make it readable for everybody, and it holds who paid what. Only a new file is
            # opened here: to close one that a connection of this process has open would drop SQLite's
            # locks on it (POSIX), and the next program to leave would delete our WAL with all that is in it.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            pass
        except OSError as error:
            raise self._cannot_be_opened(error) from error
        try:
            connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, cached_statements=512
            )
            connection.row_factory = sqlite3.Row
            _prepare(connection)
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise self._cannot_be_opened(error) from error
        return connection

    def expect_there(self) -> None:
        """Refuse a file that does not exist; `connect` would make it."""
        if not self.path.exists():
            raise DatabaseUnusable(
                f"database.url: {self.path} does not exist; name the service's database, or start the service once."
            )

    def _expect_folder(self) -> None:
        if not self.path.parent.is_dir():
            raise DatabaseUnusable(
                f"database.url: the folder {self.path.parent} does not exist; create it or name another."
            )

    def _cannot_be_opened(self, error: Exception) -> DatabaseUnusable:
        return DatabaseUnusable(
            f"database.url: {self.path} cannot be opened: {error}. "
            "It must be a SQLite database in a folder that this user can write."
        )

    def connect_writer(self) -> sqlite3.Connection:
        return self.connect()

    def tx(self, connection: sqlite3.Connection) -> SqliteTx:
        return SqliteTx(connection, self.context)

    def begin(self, connection: sqlite3.Connection, *, write: bool) -> None:
        self._command(connection, "BEGIN IMMEDIATE" if write else "BEGIN")

    def commit(self, connection: sqlite3.Connection) -> None:
        self._command(connection, "COMMIT")

    def rollback(self, connection: sqlite3.Connection) -> None:
        # SQLite has already rolled back by itself after some errors (a full disk is one).
        if connection.in_transaction:
            self._command(connection, "ROLLBACK")

    def savepoint(self, connection: sqlite3.Connection, command: str) -> None:
        self._command(connection, command)

    @staticmethod
    def _command(connection: sqlite3.Connection, command: str) -> None:
        try:
            connection.execute(command)
        except sqlite3.Error as error:
            raise _translated(error) from error

    def script(self, connection: sqlite3.Connection, text: str) -> None:
        """Run many statements inside the transaction that is open."""
        statement = ""
        for line in text.splitlines():
            statement += line + "\n"
            if sqlite3.complete_statement(statement):
                self._command(connection, statement)
                statement = ""

    def whole_in_one_file(self, connection: sqlite3.Connection) -> None:
        """Take in what stands in the WAL, so that the file may get another name."""
        self._command(connection, "PRAGMA journal_mode = DELETE")

    def alive(self, connection: sqlite3.Connection) -> bool:
        return True

    async def stream(self, sql: str, values: Mapping[str, Value]) -> AsyncIterator[Row]:
        """Rows of a long read, off the event loop, on a connection of its own."""
        try:
            async with aiosqlite.connect(self.path, isolation_level=None) as connection:
                connection.row_factory = sqlite3.Row
                for pragma in (*_PRAGMAS, "PRAGMA query_only = ON"):
                    await connection.execute(pragma)
                async with connection.execute(sql, dict(values)) as cursor:
                    async for row in cursor:
                        yield row  # type: ignore[misc]
        except sqlite3.Error as error:
            raise _translated(error) from error

    async def notices(self, channel: str, seconds: float) -> AsyncIterator[None]:
        """None: SQLite serves one process, so there is nobody to ring."""
        for _ in ():
            yield

    def take_leadership(self) -> None:
        """One service per database: a lock on a file beside it, freed by the kernel however we end."""
        self._expect_folder()
        try:
            self._place.take()
        except HeldByAnother as error:
            raise DatabaseUnusable(
                f"database.url: {self.path} is in use by another nodetill"
                f"{f' (process {error})' if str(error) else ''}; stop that one or name another database."
            ) from error
        except OSError as error:
            raise self._cannot_be_opened(error) from error
        try:
            self._expect_whole()
        except BaseException:
            self._place.release()
            raise

    def _expect_whole(self) -> None:
        """A damaged page shows only when somebody's payment is on it: look at all of them before the first write
        (`PRAGMA quick_check`: a second for some hundred megabytes)."""
        if not self.path.exists():
            return
        connection = self.connect()
        try:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.Error as error:
            found = str(error)
        finally:
            connection.close()
        if found != "ok":
            raise DatabaseUnusable(
                f"database.url: {self.path} is damaged ({' '.join(found.split())}); nothing is written to it. "
                "Keep it aside, look to its disk, and restore the newest backup (docs/operations.md)."
            )

    def release_leadership(self) -> None:
        self._place.release()
