"""The database as the rest of the house sees it: write a fact, read a view, stream a long answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from storage.errors import DatabaseBusy, DatabaseUnusable
from storage.migrate import expect_newest, migrate
from storage.sqlite import SqliteEngine
from storage.tx import Context, Row, Tx, Value
from storage.writer import Engine, Writer

P = ParamSpec("P")
T = TypeVar("T")
_READERS = 4


def engine_for(url: str, context: Context) -> Engine:
    """`sqlite:///relative.db`, `sqlite:////absolute.db` or `postgresql://…`."""
    if url.startswith("sqlite:///"):
        return SqliteEngine(Path(url.removeprefix("sqlite:///")), context)
    if url.startswith(("postgresql://", "postgres://")):
        from storage.postgres import PostgresEngine  # psycopg takes a quarter of a second to load

        return PostgresEngine(url, context)
    raise DatabaseUnusable(
        f"database.url: {url.split(':', 1)[0]}: is unknown; use sqlite:///file.db or postgresql://user@host/name."
    )


class Database:
    """One database, open. Use as `async with Database(url) as database`.

    `leader=True` also claims the one place of the watcher, and refuses when it is taken.
    Opening migrates to the newest schema; a schema newer than this code is refused. `read_only=True`
    changes nothing at all: it refuses a database that is not there, or not of this schema. `writer` makes
    what runs the write transactions: a thread, unless everything is to happen in the caller's own.
    """

    def __init__(
        self,
        url: str,
        context: Context | None = None,
        *,
        leader: bool = False,
        read_only: bool = False,
        writer: Callable[[Engine, Callable[[], None]], Writer] = Writer,
    ) -> None:
        self._engine = engine_for(url, context or Context())
        self._leader = leader
        self._read_only = read_only
        self._make_writer = writer
        self._listeners: list[Callable[[], None]] = []
        self._writer: Writer | None = None
        self._reader: Any = None
        self._pool: ThreadPoolExecutor | None = None
        self._idle: list[Any] = []

    async def __aenter__(self) -> Self:
        if self._leader:
            await asyncio.to_thread(self._engine.take_leadership)
        try:
            await asyncio.to_thread(expect_newest if self._read_only else migrate, self._engine)
            if self._engine.reads_in_caller:
                self._reader = self._engine.connect()
                self._reader.execute("PRAGMA query_only = ON")
            else:
                self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="nodetill-reader")
        except BaseException:
            self._engine.release_leadership()
            raise
        if not self._read_only:
            self._writer = self._make_writer(self._engine, self._told)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            await self._writer.close()
        if self._reader is not None:
            self._reader.close()
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown)
        for connection in self._idle:
            connection.close()
        self._engine.release_leadership()

    def on_commit(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` in the event loop after each commit of this process; returns how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _told(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    async def write(self, body: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `body(tx, …)` in a write transaction; returns when it is durable."""
        if self._writer is None:
            raise RuntimeError("the database is not open")
        result: T = await self._writer.run(lambda tx: body(tx, *args, **kwargs))
        return result

    def cannot_write(self, within: float) -> str | None:
        """Why the newest write of this process failed, if it was tried in the last `within` seconds; None when it
        went well: a disk that is full, a server that is away."""
        trouble = None if self._writer is None else self._writer.trouble
        return trouble.reason if trouble is not None and time.monotonic() - trouble.at < within else None

    async def read(self, body: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `body(tx, …)` over one snapshot, without writing."""
        if self._pool is None:
            return self._in_snapshot(self._reader, lambda tx: body(tx, *args, **kwargs))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._pooled, lambda tx: body(tx, *args, **kwargs))

    async def read_aside(self, body: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As `read`, on a connection and in a thread of its own: for what takes seconds, and holds up nobody."""
        return await asyncio.to_thread(self._aside, lambda tx: body(tx, *args, **kwargs))

    def _aside(self, body: Callable[[Tx], T]) -> T:
        connection = self._connection()
        try:
            if self._engine.reads_in_caller:
                connection.execute("PRAGMA query_only = ON")
            return self._in_snapshot(connection, body)
        finally:
            connection.close()

    def _connection(self) -> Any:
        try:
            return self._engine.connect()
        except DatabaseUnusable as error:
            raise DatabaseBusy(str(error)) from error  # it was usable when we started: it is away just now

    def _in_snapshot(self, connection: Any, body: Callable[[Tx], T]) -> T:
        self._engine.begin(connection, write=False)
        try:
            return body(self._engine.tx(connection))
        finally:
            self._engine.rollback(connection)

    def _pooled(self, body: Callable[[Tx], T]) -> T:
        if (idle := self._idle_one()) is not None:
            with suppress(DatabaseBusy):  # it broke while it was idle: the server restarted
                return self._lent(idle, body)
        return self._lent(self._connection(), body)

    def _idle_one(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:  # asked for and not looked before: four threads share the list
            return None

    def _lent(self, connection: Any, body: Callable[[Tx], T]) -> T:
        try:
            return self._in_snapshot(connection, body)
        finally:
            if self._engine.alive(connection):
                self._idle.append(connection)
            else:
                connection.close()

    async def stream(self, sql: str, **values: Value) -> AsyncIterator[Row]:
        """Rows of a long read, without holding up the loop."""
        async with aclosing(self._engine.stream(sql, values)) as rows:
            async for row in rows:
                yield row

    async def notices(self, channel: str, seconds: float) -> AsyncGenerator[None, None]:
        """Hints of other processes that the database passes on: look up what they may be about.

        The first comes as soon as we listen, later ones at each ring and at the latest every `seconds`. It
        ends where no other process can be (SQLite), and raises `DatabaseBusy` when the line is cut.
        """
        async with aclosing(self._engine.notices(channel, seconds)) as rings:
            async for _ in rings:
                yield
