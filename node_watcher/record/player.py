"""Plays a record: the real parts of the watcher, led line by line.

A line lets one activity go on, with the answer that the node gave and the clock at that time, until it asks its
next question or is done. Where it asks or ends otherwise than in the record, the two have parted (`Parted`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, TypeAlias

from node_watcher.record.answers import error_of
from node_watcher.record.reading import Line, Reading
from node_watcher.record.turn import TURN, Turn, ended, places, plain, result, short
from storage import recorded
from storage.database import Database

_WITHIN: Final = ("signed", "refused")


State: TypeAlias = dict[str, str]
"""A fingerprint of the database, by kind of facts."""


class Parted(Exception):
    """What happens is not what the record says. The message names the line."""


class Till(Protocol):
    """What is played on; see `replayed_till.ReplayedTill`."""

    @property
    def database(self) -> Database:
        """Where its facts are."""

    async def start(self, player: Player, header: dict[str, Any]) -> None:
        """The service starts, as this header describes it."""

    def activity(self, do: str, given: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        """What a `begin` line names. Its result is what the `end` line says."""

    async def act(self, said: dict[str, Any]) -> str:
        """Something that people did; what differs from the record, or nothing."""


class Player:
    """Plays all lines of `reading` on a till."""

    def __init__(
        self,
        reading: Reading,
        till: Till,
        step: Callable[[int], None] = lambda done: None,
        *,
        mended: bool = False,
    ) -> None:
        """`step` hears how many bytes of the file are done. `mended`: the code has learned since, and is to come
        to something else from the same answers; then only its questions are held against the record."""
        self._reading, self._till, self._step, self._mended = reading, till, step, mended
        self._turns: dict[str, Turn] = {}
        self._line: Line = Line(0, {})
        self._at = 0
        self._until: State | None = None
        self._decided: int | None = None
        """Line of the last decision of the operator: it was made by another process, amid what this one did."""
        self.runs = self.lines = 0
        self.kept = True
        """Whether the last run was told to stop, and so says what it had in the end."""

    def clock(self) -> int:
        return self._at

    async def play(self) -> None:
        """To the end of the record. Raises `Parted`, or `BadRecord` where a line cannot be read."""
        try:
            while (line := self._reading.take()) is not None:
                self._line = line
                self.lines += 1
                self._step(self._reading.good_bytes)
                await self._play(self._line.said)
        finally:
            await self._kill()

    async def _play(self, said: dict[str, Any]) -> None:
        self._at = said.get("at", self._at)
        match said:
            case {"run": _}:
                await self._run(said)
            case {"begin": name}:
                given = self._reading.whole(said["with"])
                turn = self._turns[name] = Turn(name)
                turn.task = asyncio.create_task(self._play_activity(turn, self._till.activity(said["do"], given)))
                turn.task.add_done_callback(lambda _: turn.parked.set())
                await self._go_on(turn)
            case {"to": name}:
                await self._answer(self._turn(name), said)
            case {"end": name}:
                await self._end(self._turns.pop(name, None), said)
            case {"created": _} | {"spent": _} | {"resolved": _}:
                self._decided = self._line.number if "resolved" in said else self._decided
                if differs := await self._till.act(said):
                    raise self.parted(differs)
            case {"cut": name}:
                await self._compare(said["state"], f"where {name} was cut off")
                await self._turn(name).kill()
                del self._turns[name]
            case {"signed": name} if name not in self._turns:
                pass  # its thread came to an end after the work had been cut off
            case {"stopped": _}:
                self.kept = True
                await self._compare(said["state"], "at the end of the run")
            case _:
                raise self.parted(f"the record says {short(said)}, which was not asked for")

    # ------------------------------------------------------------------ runs

    async def _run(self, header: dict[str, Any]) -> None:
        await self._kill()
        self.runs += 1
        self.kept = False
        await self._till.start(self, header)
        await self._compare(header["state"], "at the start of a run")

    async def _kill(self) -> None:
        for turn in self._turns.values():
            await turn.kill()
        self._turns.clear()

    async def _compare(self, state: State, where: str) -> None:
        found = await self._till.database.read(recorded.fingerprint)
        if not self._mended and found != state:
            others = ", ".join(name for name in state if found.get(name) != state[name])
            raise self.parted(
                f"the database has other {others} than the service had {where}; if the till once ran without "
                "--record in between, that is the reason"
            )

    # ------------------------------------------------------------------ activities

    async def _play_activity(self, turn: Turn, work: Coroutine[Any, Any, Any]) -> Any:
        TURN.set(turn)
        return await work

    def _turn(self, name: str) -> Turn:
        if (turn := self._turns.get(name)) is None:
            raise self.parted(f"{name} never began")
        return turn

    async def _go_on(self, turn: Turn) -> None:
        """Until it asks or is done. What cannot be finished because the process was stopped ends where that was."""
        assert turn.task is not None  # noqa: S101 - it was just made
        turn.writes, self._until = 0, self._stopped_at(turn.name)
        await turn.parked.wait()
        turn.parked.clear()
        if turn.task.done() and not turn.task.cancelled() and isinstance(error := turn.task.exception(), Parted):
            raise error

    def _stopped_at(self, name: str) -> State | None:
        """Fingerprint of the state in which the service was stopped during what comes now, if it was."""
        place = 0
        while (line := self._reading.peek(place)) is not None:
            if "run" in line.said or line.said.get("cut") == name:
                state: State = line.said["state"]
                return state
            if not any(word in line.said for word in (*_WITHIN, "created", "spent", "resolved")):
                return None
            place += 1
        return None

    async def ask(self, asked: Sequence[Sequence[object]]) -> list[Any]:
        """Called by the parts: wait for the line with the answers."""
        turn = TURN.get()
        turn.asked = [plain(question) for question in asked]
        turn.answer = asyncio.get_running_loop().create_future()
        turn.parked.set()
        return await turn.answer

    async def _answer(self, turn: Turn, said: dict[str, Any]) -> None:
        asked = self._reading.whole(said["asked"])
        if turn.asked is None or turn.answer is None:
            cause = turn.task.exception() if turn.task is not None and turn.task.done() else None
            sentence = f"{turn.name} asked {short(asked)} in the record, now it is done: {ended(turn)}"
            raise self.parted(sentence) from cause
        order = places(turn.asked, asked)
        if order is None:
            raise self.parted(
                f"{turn.name} asks {short(turn.asked)}, which the record does not have; it has {short(asked)}"
            )
        future, turn.asked, turn.answer = turn.answer, None, None
        if "failed" in said:
            future.set_exception(error_of(said["failed"]))
        else:
            got = [self._reading.whole(answer) for answer in said["got"]]
            future.set_result([got[place] for place in order])
        await self._go_on(turn)

    async def _end(self, turn: Turn | None, said: dict[str, Any]) -> None:
        if turn is None or turn.task is None:
            raise self.parted(f"{said['end']} never began")
        if not turn.task.done():
            raise self.parted(f"{turn.name} ended in the record, now it asks {short(turn.asked)}")
        came = result(turn.task)
        if not self._mended and came != {key: said[key] for key in said if key != "end"}:
            raise self.parted(f"{turn.name} came to {short(said)} in the record, now to {short(came)}")

    # ------------------------------------------------------------------ what the parts ask for while they go on

    def within(self, word: str) -> dict[str, Any] | None:
        """The next line, where it says this word of the activity that goes on."""
        line = self._reading.peek()
        if line is None or line.said.get(word) != TURN.get().name:
            return None
        self._reading.take()
        said: dict[str, Any] = self._reading.whole(line.said)
        return said

    def refused(self, number: int) -> dict[str, Any] | None:
        """How the database refused this write, where it did."""
        line = self._reading.peek()
        return self.within("refused") if line is not None and line.said.get("write") == number else None

    @property
    def ends_in_this_work(self) -> bool:
        """Whether the process was stopped before the activity that goes on asked its next question."""
        return self._until is not None

    async def is_stopped(self) -> bool:
        """Whether the process was stopped when it had come as far as it is now."""
        if self._until is None or self._said_more():
            return False
        found = await self._till.database.read(recorded.fingerprint)
        if self._mended:
            return all(found[name] == self._until.get(name) for name in recorded.CHAIN_FACTS)
        return found == self._until

    def _said_more(self) -> bool:
        """Whether the record still has something that was done in this work: then it came further."""
        line, name = self._reading.peek(), TURN.get().name
        return line is not None and any(line.said.get(word) == name for word in _WITHIN)

    def whole(self, said: Any) -> Any:
        """See `Reading.whole`."""
        return self._reading.whole(said)

    def parted(self, sentence: str) -> Parted:
        if self._decided is not None:
            sentence += (
                f"; the operator's decision of line {self._decided} was made by another process, and the record knows "
                "its moment to the step only: it may have come some lines before"
            )
        return Parted(f"{self._reading.path}, line {self._line.number}: {sentence}.")
