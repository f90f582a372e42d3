"""The single writer: a thread that commits the transactions of many callers together.

One durable commit costs the same for one body as for a hundred, so whatever waits in the queue
shares it. Each body runs behind its own savepoint: one that fails takes back its own work alone.
A caller hears of success only when its work is on disk.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from storage.errors import DatabaseBusy, DatabaseUnusable, StorageError
from storage.tx import Tx

_BATCH = 256
_TRIES = 6


class Engine(Protocol):
    """What the writer and the readers need of a database."""

    name: str
    reads_in_caller: bool

    def expect_there(self) -> None: ...
    def connect(self) -> Any: ...
    def connect_writer(self) -> Any: ...
    def tx(self, connection: Any) -> Tx: ...
    def begin(self, connection: Any, *, write: bool) -> None: ...
    def commit(self, connection: Any) -> None: ...
    def rollback(self, connection: Any) -> None: ...
    def savepoint(self, connection: Any, command: str) -> None: ...
    def script(self, connection: Any, text: str) -> None: ...
    def alive(self, connection: Any) -> bool: ...
    def stream(self, sql: str, values: Any) -> Any: ...
    def notices(self, channel: str, seconds: float) -> Any: ...
    def take_leadership(self) -> None: ...
    def release_leadership(self) -> None: ...


@dataclass(slots=True)
class _Job:
    body: Callable[[Tx], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the newest write was not possible, and when (`at`, seconds of the monotonic clock)."""

    reason: str
    at: float


class Writer:
    """Queue and thread of one process. Start and use it inside a running event loop."""

    trouble: Trouble | None = None
    """None when the newest batch was committed."""

    def __init__(self, engine: Engine, on_commit: Callable[[], None]) -> None:
        self._engine = engine
        self._on_commit = on_commit
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="nodetill-writer", daemon=True)
        self._thread.start()

    async def run(self, body: Callable[[Tx], Any]) -> Any:
        """Run `body` in a transaction; its result once the commit is durable, or its exception."""
        if self._closed:
            raise RuntimeError("the database is not open")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put(_Job(body, future))
        return await future

    async def close(self) -> None:
        """Finish what is queued, then end the thread."""
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        connection: Any = None
        closing = False
        while not closing:
            batch, closing = self._take()
            for attempt in range(_TRIES):
                try:
                    if connection is None or not self._engine.alive(connection):
                        connection = self._reconnect()
                    self._commit_together(connection, batch)
                    break
                except Exception as error:  # noqa: BLE001 - handed to the callers; the thread must live on
                    connection = self._take_back(connection)
                    if not isinstance(error, DatabaseBusy) or attempt == _TRIES - 1:
                        for job in batch:
                            job.error = error
                        break
                    threading.Event().wait(0.05 * 2**attempt)
            self._remember_trouble(batch)
            self._tell(batch)
        if connection is not None:
            connection.close()

    def _remember_trouble(self, batch: list[_Job]) -> None:
        if batch:
            errors = [job.error for job in batch if isinstance(job.error, DatabaseBusy | DatabaseUnusable)]
            self.trouble = Trouble(str(errors[0]), time.monotonic()) if errors else None

    def _reconnect(self) -> Any:
        try:
            return self._engine.connect_writer()
        except DatabaseUnusable as error:
            # It was usable when we started: a server that restarts, a disk that is not mounted yet.
            raise DatabaseBusy(str(error)) from error

    def _take(self) -> tuple[list[_Job], bool]:
        job = self._jobs.get()
        batch: list[_Job] = []
        while job is not None:
            batch.append(job)
            if len(batch) >= _BATCH or self._jobs.empty():
                return batch, False
            job = self._jobs.get()
        return batch, True

    def _commit_together(self, connection: Any, batch: list[_Job]) -> None:
        if not batch:
            return
        self._engine.begin(connection, write=True)
        tx = self._engine.tx(connection)
        for job in batch:
            job.error = None
            self._engine.savepoint(connection, "SAVEPOINT body")
            try:
                job.result = job.body(tx)
            except DatabaseBusy:
                raise
            except BaseException as error:  # noqa: BLE001 - handed to the caller, who awaits it
                # A future cannot carry StopIteration.
                job.error = RuntimeError(repr(error)) if isinstance(error, StopIteration) else error
                self._undo_body(connection, job.error)
            self._engine.savepoint(connection, "RELEASE SAVEPOINT body")
        self._engine.commit(connection)

    def _undo_body(self, connection: Any, cause: BaseException) -> None:
        try:
            self._engine.savepoint(connection, "ROLLBACK TO SAVEPOINT body")
        except DatabaseBusy:
            raise
        except StorageError:
            # A full disk makes SQLite take the whole transaction back by itself, our savepoint with it.
            if isinstance(cause, StorageError):
                raise cause from None
            raise

    def _take_back(self, connection: Any) -> Any:
        """Undo the open transaction; the connection, or None when it is gone itself."""
        if connection is None:
            return None
        try:
            self._engine.rollback(connection)
        except StorageError:
            connection.close()
            return None
        return connection

    def _tell(self, batch: list[_Job]) -> None:
        if batch and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._resolve, batch)

    def _resolve(self, batch: list[_Job]) -> None:
        for job in batch:
            if job.future.done():
                continue  # the caller went away; its work is committed all the same
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        self._on_commit()
