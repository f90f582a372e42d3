"""Writes down what comes into the till, in an order that can be played again.

While a record is made, one activity of the watcher works at a time: it holds the baton from an answer of the
node to its next question, and who writes through the API takes it for his transaction. So between two lines
everything follows from what was there before, and the time of a line is the time of all that follows from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from node_watcher.clock import now_ms
from node_watcher.record.answers import told
from node_watcher.record.lines import FORMAT, RecordWriter
from node_watcher.rpc import NodeError, RpcError
from storage import recorded
from storage.database import Database
from storage.errors import DatabaseBusy, DatabaseUnusable, LeadershipLost, StorageError
from storage.tx import Tx

T = TypeVar("T")
_REFUSED: Final = (DatabaseBusy, DatabaseUnusable, LeadershipLost)
"""What the world does to a database. Other refusals follow from what is in it."""

_MUCH_ALIKE: Final = ("getrawmempool",)


@dataclass(slots=True)
class Doing:
    """One activity of the watcher: a look, a batch of hints, a comparison."""

    name: str
    holds: bool = False
    writes: int = 0
    """Transactions since it was last given the baton."""


_DOING: ContextVar[Doing | None] = ContextVar("doing", default=None)


class Recorder:
    """One run of the service, written down. Nothing is recorded before `begin` and after `end`."""

    def __init__(self, writer: RecordWriter) -> None:
        self._writer = writer
        self._baton = asyncio.Lock()
        self._database: Database | None = None
        self._known = recorded.Newest()
        self._at = 0
        self._count = 0

    # ------------------------------------------------------------------ the run

    async def begin(self, database: Database, header: dict[str, Any], known: recorded.Newest) -> None:
        """The first line of a run. `known`: up to where the record has the acts of the runs before it."""
        self._known = known
        state = await self._collect_to(database)
        self._writer.write({"run": FORMAT, "at": now_ms(), **header, "state": state})
        self._database = database

    async def end(self) -> None:
        """The last line of a run that was told to stop, with a fingerprint of what is in the database."""
        if (database := self._database) is not None:
            async with self._baton:
                self._database = None
                with suppress(StorageError):  # it is away just now: the record ends as after a kill
                    self._writer.write({"stopped": now_ms(), "state": await self._collect_to(database)})
        self._writer.close()

    def clock(self) -> int:
        """The time of the line from which everything follows that happens now."""
        doing = _DOING.get()
        return self._at if doing is not None and doing.holds else now_ms()

    def hint(self, name: str, size: int = 0) -> None:
        """A message of ZMQ, as a note for people: what is done about it stands in the lines of an activity."""
        if self._database is not None:
            self._writer.write({"hint": name, "at": now_ms()} | ({"bytes": size} if size else {}))

    # ------------------------------------------------------------------ activities

    async def perform(
        self, do: str, given: dict[str, Any], work: Callable[[], Awaitable[T]], tell: Callable[[T], Any]
    ) -> T:
        """Do `work` as an activity of its own, or as a part of the one that asks for it."""
        if self._database is None or _DOING.get() is not None:
            return await work()
        self._count += 1
        doing = Doing(f"{do} {self._count}")
        given = {name: self._given(value) for name, value in given.items()}
        token = _DOING.set(doing)
        try:
            await self._take(doing)
            self._writer.write({"begin": doing.name, "at": self._at, "do": do, "with": given})
            try:
                result = await work()
            except asyncio.CancelledError:
                await self._cut(doing)
                raise
            except Exception as error:
                self._writer.write({"end": doing.name, "raised": type(error).__name__})
                raise
            self._writer.write({"end": doing.name, "came": tell(result)})
            return result
        finally:
            _DOING.reset(token)
            self._give(doing)

    def _given(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._writer.text_of(item.hex() if isinstance(item, bytes) else item) for item in value]
        return value

    async def exchange(self, asked: Sequence[Sequence[object]], ask: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
        """Ask the node, or somebody else outside, and write down the answers or why there are none."""
        doing = _DOING.get()
        if doing is None:
            return await ask()
        self._give(doing)
        said: dict[str, Any]
        try:
            answers = await ask()
        except (NodeError, *_REFUSED) as error:
            await self._take(doing)
            said = {"failed": told(error)}
            self._answered(doing, asked, said)
            raise
        await self._take(doing)
        said = {
            "got": [
                told(answer)
                if isinstance(answer, RpcError)
                else self._writer.text_of(answer, like=str(question[0]) if question[0] in _MUCH_ALIKE else "")
                for question, answer in zip(asked, answers, strict=True)
            ]
        }
        self._answered(doing, asked, said)
        return answers

    def _answered(self, doing: Doing, asked: Sequence[Sequence[object]], said: dict[str, Any]) -> None:
        questions = [[self._writer.text_of(word) for word in question] for question in asked]
        self._writer.write({"to": doing.name, "at": self._at, "asked": questions, **said})

    def signed(self, said: dict[str, Any]) -> None:
        """A signature, or why there is none: the seed is not in the record."""
        if (doing := _DOING.get()) is not None:
            self._writer.write({"signed": doing.name, **said})

    # ------------------------------------------------------------------ the database

    async def write(self, work: Callable[[], Awaitable[T]]) -> T:
        """A write transaction: of an activity, or of somebody else, who takes the baton for it."""
        doing = _DOING.get()
        if doing is not None:
            doing.writes += 1
            number = doing.writes
            try:
                return await work()
            except _REFUSED as error:
                said = {"write": number, "error": type(error).__name__, "message": str(error)}
                self._writer.write({"refused": doing.name, **said})
                raise
        # Who asked may go away; what he asked for is committed all the same, and the baton is kept until then.
        return await asyncio.shield(self._act(work))

    async def _act(self, work: Callable[[], Awaitable[T]]) -> T:
        async with self._baton:
            try:
                return await work()
            finally:
                if self._database is not None:
                    with suppress(StorageError):  # what is committed is committed; next time
                        await self._collect(self._database)

    async def _collect(self, database: Database) -> None:
        """Write down what people did since the last time, through this process or another."""
        self._write_down(await database.read(recorded.acts_after, self._known))

    async def _collect_to(self, database: Database) -> dict[str, str]:
        """The same, with a fingerprint of the state to which these acts belong."""
        acts, state = await database.read(recorded.acts_and_state, self._known)
        self._write_down(acts)
        return state

    def _write_down(self, acts: list[dict[str, Any]]) -> None:
        for act in acts:
            self._writer.write(act)
        self._known = self._known.after(acts)

    async def _take(self, doing: Doing) -> None:
        await self._baton.acquire()
        doing.holds, doing.writes, self._at = True, 0, now_ms()
        if self._database is not None:
            with suppress(StorageError):  # next time
                await self._collect(self._database)

    def _give(self, doing: Doing) -> None:
        if doing.holds:
            doing.holds = False
            self._baton.release()

    async def _cut(self, doing: Doing) -> None:
        """The activity was stopped in its work: how far it came shows in the database."""
        if doing.holds and self._database is not None:
            with suppress(StorageError):
                await Database.write(self._database, _nothing)  # what was queued before is done now
                state = await self._database.read(recorded.fingerprint)
                self._writer.write({"cut": doing.name, "state": state})


def _nothing(tx: Tx) -> None:
    """A transaction that changes nothing."""
