"""Wait for what must become true, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

STEP = 0.01


def wait_for(predicate: Callable[[], T], timeout: float = 20.0, what: str = "") -> T:
    """Call `predicate` until it returns something true, and return that. Fails after `timeout` seconds.

    What the predicate raises goes through, so an assertion about an impossible state fails at once.
    """
    end = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g} s for {what or _name(predicate)}; last value: {value!r}")
        time.sleep(STEP)
    return value


@overload
async def wait_for_async(predicate: Callable[[], Awaitable[T]], timeout: float = 20.0, what: str = "") -> T: ...


@overload
async def wait_for_async(predicate: Callable[[], T], timeout: float = 20.0, what: str = "") -> T: ...


async def wait_for_async(predicate: Callable[[], Any], timeout: float = 20.0, what: str = "") -> Any:
    """The same inside a running loop; `predicate` may be a plain or an async function."""
    end = time.monotonic() + timeout
    while True:
        answer = predicate()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g} s for {what or _name(predicate)}; last value: {value!r}")
        await asyncio.sleep(STEP)


def _name(predicate: Callable[[], object]) -> str:
    return getattr(predicate, "__qualname__", repr(predicate))
