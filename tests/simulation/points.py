"""Named points that the till passes, and the trouble that waits at some of them.

Each question to the node and each write to the database is two points, before and after. They are counted from
0 in each step, so a plan `{3: Trouble.CRASH}` means the same thing each time the same history runs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import ClassVar


class Trouble(StrEnum):
    FAIL = "fail"
    """The node is away, its answer is lost, the database is busy."""
    CRASH = "crash"
    """The process is killed."""
    WORLD = "world"
    """The world goes on between two calls: a block, a reorganisation, a replacement."""
    PAUSE = "pause"
    """Whatever else the till is doing goes first."""


class Crashed(BaseException):
    """The process was killed here. Nothing catches it but the simulation."""


class Failed(Exception):
    """Trouble.FAIL at this point: whoever reaches it says what that means there."""


class Points:
    """The points of one process at one step. After a crash every point crashes: the process is dead."""

    crashes: ClassVar[Counter[str]] = Counter()
    """At which points processes were killed so far, by name."""

    def __init__(self, move_world: Callable[[], None]) -> None:
        self._move_world = move_world
        self.plan: Mapping[int, Trouble] = {}
        self.passed = 0
        self.dead = False
        self.shared = False
        """Whether two things are going on at once, so that each point lets the other go on."""

    def begin(self, plan: Mapping[int, Trouble]) -> None:
        self.plan, self.passed = plan, 0

    async def reach(self, name: str) -> None:
        """Pass a point. Raises `Failed` or `Crashed` where the plan says so."""
        if self.shared:
            await asyncio.sleep(0)
        if self.dead:
            raise Crashed(name)
        trouble = self.plan.get(self.passed)
        self.passed += 1
        match trouble:
            case Trouble.CRASH:
                self.dead = True
                self.crashes[name] += 1
                raise Crashed(name)
            case Trouble.FAIL:
                raise Failed(name)
            case Trouble.WORLD:
                self._move_world()
            case Trouble.PAUSE:
                for _ in range(20):
                    await asyncio.sleep(0)
                if self.dead:
                    raise Crashed(name)
