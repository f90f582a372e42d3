"""One death after the other of a service that has work to do: each at a named point, and then what must be true."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterable

from regtest.crashing_service import Armed, CrashingService
from storage.database import Database
from tests.storage import invariants

_PATIENCE_SECONDS = 30.0


class Deaths:
    """Counts them. The work of a life begins with its start: nobody has to lead it to the point."""

    def __init__(self, till: CrashingService) -> None:
        self.till = till
        self.service = 0
        """How often the service was killed, and"""
        self.node = 0
        """how often the node was."""

    def die(self, points: Iterable[Armed], afterwards: Callable[[], object] = lambda: None) -> None:
        """Live once for each point, to die there. `afterwards` is done while it is dead."""
        for armed in points:
            self.die_at(armed)
            afterwards()

    def die_at(self, armed: Armed) -> None:
        till = self.till
        till.kill()
        till.arm(armed)
        till.launch()
        end = time.monotonic() + _PATIENCE_SECONDS
        while till.running and time.monotonic() < end:
            time.sleep(0.01)
        passed = till.passed()
        assert not till.running, f"{armed} was not reached in a life that passed {passed}:\n{till.last_words()}"
        assert till.exit_code == -signal.SIGKILL, f"before {armed} it ended by itself:\n{till.last_words()}"
        assert passed[armed.point] == armed.hit
        till.kill()
        till.arm(None)
        self.service += 1
        asyncio.run(_check(till.database_url, armed))


async def _check(url: str, armed: Armed) -> None:
    async with Database(url, read_only=True) as database:
        try:
            await database.read(invariants.check)
        except AssertionError as broken:
            raise AssertionError(f"killed at {armed}: {broken}") from broken
