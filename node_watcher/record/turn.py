"""One activity that is played: what it asks, what came of it, and how that is held against the record."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

_SHOWN: Final = 200


class Stopped(BaseException):
    """The process was stopped just here; no part may take it for an error of its own."""


@dataclass(slots=True)
class Turn:
    """One activity that is played."""

    name: str
    task: asyncio.Task[Any] | None = None
    asked: list[Any] | None = None
    answer: asyncio.Future[list[Any]] | None = None
    parked: asyncio.Event = field(default_factory=asyncio.Event)
    writes: int = 0
    """Transactions since its last answer."""

    async def kill(self) -> None:
        """End it where it is, as `kill -9` does."""
        if self.task is not None:
            self.task.cancel()
            with suppress(asyncio.CancelledError, Exception, Stopped):
                await self.task


TURN: ContextVar[Turn] = ContextVar("turn")


def plain(value: Any) -> Any:
    """As it comes back from JSON."""
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return {key: plain(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def places(asked: list[Any], recorded_questions: list[Any]) -> list[int] | None:
    """For each question, where its answer is. Another database may ask the same in another order."""
    if asked == recorded_questions:
        return list(range(len(asked)))
    left = list(enumerate(recorded_questions))
    found_at = []
    for question in asked:
        found = next((pair for pair in left if pair[1] == question), None)
        if found is None:
            return None
        left.remove(found)
        found_at.append(found[0])
    return None if left else found_at


def result(task: asyncio.Task[Any]) -> dict[str, Any]:
    error = task.exception()
    return {"came": plain(task.result())} if error is None else {"raised": type(error).__name__}


def ended(turn: Turn) -> str:
    return short(result(turn.task)) if turn.task is not None and turn.task.done() else "it asks nothing"


def short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
