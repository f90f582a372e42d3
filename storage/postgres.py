"""PostgreSQL: the same bodies and the same order of writes as SQLite.

Every write transaction first takes one advisory lock, so writers of all processes queue up as they
do on SQLite: no deadlocks, no lost updates, and event numbers in the order of their commits. Group
commit keeps that fast (decision 0003).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import lru_cache

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Identifier

from storage.errors import AlreadyThere, DatabaseBusy, DatabaseUnusable, LeadershipLost, StorageError
from storage.tx import Context, Row, Value

_WRITER_LOCK = 0x6E6F6465  # "node"
_LEADER_LOCK = 0x74696C6C  # "till"
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")

PgConnection = psycopg.Connection[DictRow]


@lru_cache(maxsize=1024)
def _dialect(sql: str) -> str:
    """`:name` as psycopg writes it."""
    return _PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%"))


def _translated(error: psycopg.Error) -> StorageError:
    if isinstance(error, psycopg.errors.UniqueViolation):
        return AlreadyThere(str(error))
    if isinstance(error, (psycopg.IntegrityError, psycopg.errors.RaiseException)):
        return StorageError(f"PostgreSQL refuses the row: {error}")
    if isinstance(error, psycopg.OperationalError):
        return DatabaseBusy(f"PostgreSQL is not to be had just now: {error}")
    return DatabaseUnusable(f"PostgreSQL answers: {error}")


class PostgresTx:
    """`storage.tx.Tx` over one psycopg connection."""

    def __init__(self, connection: PgConnection, context: Context) -> None:
        self._connection = connection
        self.context = context

    def _run(self, sql: str, values: Mapping[str, Value]) -> psycopg.Cursor[DictRow]:
        try:
            return self._connection.execute(_dialect(sql).encode(), values)
        except psycopg.Error as error:
            raise _translated(error) from error

    def execute(self, sql: str, **values: Value) -> int:
        return self._run(sql, values).rowcount

    def one(self, sql: str, **values: Value) -> Row | None:
        return self._run(sql, values).fetchone()

    def all(self, sql: str, **values: Value) -> list[Row]:
        return list(self._run(sql, values).fetchall())

    def many(self, sql: str, rows: Iterable[Mapping[str, Value]]) -> None:
        try:
            with self._connection.cursor() as cursor:
                cursor.executemany(_dialect(sql).encode(), list(rows))
        except psycopg.Error as error:
            raise _translated(error) from error


_DURABLE = b"SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
"""Whatever the server, the role or the URL says: a commit that was told is on the disk (an address that was shown,
credits). What asks for more than that (a standby) stays as it is."""


class PostgresEngine:
    """Opens connections to one PostgreSQL database."""

    name = "postgres"
    reads_in_caller = False

    def __init__(self, url: str, context: Context) -> None:
        self.url = url
        self.context = context
        self._leader: PgConnection | None = None

    def expect_there(self) -> None:
        """Connecting says it: no server makes a database by itself."""

    def connect(self) -> PgConnection:
        try:
            connection = psycopg.connect(
                self.url, autocommit=True, row_factory=dict_row, connect_timeout=10, client_encoding="UTF8"
            )
            connection.execute(_DURABLE)
            return connection
        except psycopg.Error as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise DatabaseUnusable(
                f"database.url: PostgreSQL does not let us in: {reason}. "
                "Check host, port, user, password and database name."
            ) from error

    def tx(self, connection: PgConnection) -> PostgresTx:
        return PostgresTx(connection, self.context)

    def begin(self, connection: PgConnection, *, write: bool) -> None:
        if write:
            # Under a stricter default of the server a writer would read from before its turn.
            self._command(connection, "BEGIN ISOLATION LEVEL READ COMMITTED")
            self._command(connection, f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")
        else:
            self._command(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def commit(self, connection: PgConnection) -> None:
        self._command(connection, "COMMIT")

    def rollback(self, connection: PgConnection) -> None:
        if not connection.closed and not connection.broken:
            self._command(connection, "ROLLBACK")

    def savepoint(self, connection: PgConnection, command: str) -> None:
        self._command(connection, command)

    @staticmethod
    def _command(connection: PgConnection, command: str) -> None:
        try:
            connection.execute(command.encode())
        except psycopg.Error as error:
            raise _translated(error) from error

    def script(self, connection: PgConnection, text: str) -> None:
        """Run many statements inside the transaction that is open."""
        self._command(connection, text)

    def alive(self, connection: PgConnection) -> bool:
        return not connection.closed and not connection.broken

    async def stream(self, sql: str, values: Mapping[str, Value]) -> AsyncIterator[Row]:
        """Rows of a long read through a server-side cursor, on a connection of its own."""
        try:
            async with (
                await psycopg.AsyncConnection.connect(
                    self.url, row_factory=dict_row, client_encoding="UTF8"
                ) as connection,
                connection.cursor(name="stream") as cursor,
            ):
                await cursor.execute(_dialect(sql).encode(), values)
                async for row in cursor:
                    yield row
        except psycopg.Error as error:
            raise _translated(error) from error

    async def notices(self, channel: str, seconds: float) -> AsyncIterator[None]:
        """Once when we listen, at each NOTIFY on `channel`, and at the latest every `seconds`."""
        try:
            # Who only listens does not learn by himself that the server's machine is gone: the kernel asks.
            async with await psycopg.AsyncConnection.connect(
                self.url,
                autocommit=True,
                connect_timeout=10,
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
            ) as connection:
                await connection.execute(SQL("LISTEN {}").format(Identifier(channel)))
                while True:
                    yield
                    async for _ in connection.notifies(timeout=seconds, stop_after=1):
                        pass  # what came together is one hint
        except psycopg.Error as error:
            raise _translated(error) from error

    def take_leadership(self) -> None:
        """One watcher per database: a session's advisory lock, freed by the server however we end.

        All writes of the leader go through that one session. So whoever lost the lock cannot write:
        with the session its connection is gone.
        """
        connection = self.connect()
        if not _took_leadership(connection):
            connection.close()
            raise DatabaseUnusable(
                "database.url: another nodetill already watches for this database; "
                "stop that one, or start this one with --role api."
            )
        self._leader = connection

    def connect_writer(self) -> PgConnection:
        """The leader's session, taken anew when it was cut. Raises `LeadershipLost` when somebody was faster."""
        if self._leader is None:
            return self.connect()
        if not self.alive(self._leader):
            connection = self.connect()
            if not _took_leadership(connection):
                connection.close()
                raise LeadershipLost(
                    "database.url: PostgreSQL was away, and another nodetill watches for this database since; "
                    "this one stops."
                )
            self._leader = connection
        return self._leader

    def release_leadership(self) -> None:
        if self._leader is not None:
            self._leader.close()
            self._leader = None


def _took_leadership(connection: PgConnection) -> bool:
    row = connection.execute(f"SELECT pg_try_advisory_lock({_LEADER_LOCK}) AS taken".encode()).fetchone()
    return row is not None and bool(row["taken"])
