"""Named points that the real service passes, and the one at which it is killed.

Each write to the database is three points: "before book", "inside book" (the body is done, nothing is committed) and
"after book" (committed, and the caller has not heard of it). Each exchange with the node is two: "before gettxout" and
"after gettxout". A batch has the name of its first call, a block that is fetched by REST is called "rest", and all that
is asked before the database is opened "preflight". `crash_nursery.py` puts what passes points in the place of what the
service is made of, in a process of its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from node_watcher.rest import Rest
from node_watcher.rpc import Call
from node_watcher.rpc_http import HttpRpc
from storage.database import Database
from storage.tx import Tx

P = ParamSpec("P")
T = TypeVar("T")


class Armed(NamedTuple):
    """Where a life ends: at the `hit`-th time (from 1) that it reaches `point`."""

    point: str
    hit: int


class Points:
    """The points of this process. Before `open` they do nothing."""

    def __init__(self) -> None:
        self._passed = -1
        self._armed: Armed | None = None
        self._hits = 0

    def open(self, passed: Path, armed: Armed | None) -> None:
        """From now on write the name of each point to `passed`, and end this process at the armed one."""
        self._passed = os.open(passed, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._armed = armed

    def reach(self, name: str) -> None:
        """Pass a point, or die there."""
        if self._passed < 0:
            return
        os.write(self._passed, f"{name}\n".encode())
        if self._armed is not None and name == self._armed.point:
            self._hits += 1
            if self._hits == self._armed.hit:
                os.kill(os.getpid(), signal.SIGKILL)


POINTS = Points()
"""A process has one life, and dies once."""


class PointedDatabase(Database):
    """The real database; each write is three points."""

    async def write(self, body: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        name = body.__name__

        def done(tx: Tx) -> T:
            result = body(tx, *args, **kwargs)
            POINTS.reach(f"inside {name}")
            return result

        POINTS.reach(f"before {name}")
        result = await super().write(done)
        POINTS.reach(f"after {name}")
        return result


class PointedRpc(HttpRpc):
    """The real transport; each exchange with the node is two points."""

    async def _exchange(self, calls: Sequence[Call], wallet: str | None, login: str) -> list[Any]:
        # Who does not count his calls is the preflight, which tries whether each method is allowed.
        name = "preflight" if self._observe is None else calls[0][0]
        POINTS.reach(f"before {name}")
        answers = await super()._exchange(calls, wallet, login)
        POINTS.reach(f"after {name}")
        return answers


class PointedRest(Rest):
    """The real way to raw blocks; each is two points."""

    async def _get(self, path: str) -> bytes | None:
        POINTS.reach("before rest")
        answer = await super()._get(path)
        POINTS.reach("after rest")
        return answer
