"""A failing history cut short: the fewest actions, and the plainest, that still break the same rule."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tests.simulation.draws import Action

_SECONDS = 40.0


def shortest(actions: Sequence[Action], failure_of: Callable[[Sequence[Action]], str | None]) -> list[Action]:
    """`failure_of` plays a history and names its failure, None when there is none. Stops after 40 seconds."""
    wanted = failure_of(actions)
    until, kept = time.monotonic() + _SECONDS, list(actions)

    def fails(tried: list[Action]) -> bool:
        return time.monotonic() < until and failure_of(tried) == wanted

    size = len(kept) // 2
    while size:
        place = 0
        while place < len(kept):
            if fails(shorter := kept[:place] + kept[place + size :]):
                kept = shorter
            else:
                place += size
        size //= 2
    for place, action in enumerate(kept):
        numbers = list(action.numbers)
        while numbers and fails([*kept[:place], Action(action.name, tuple(numbers[:-1])), *kept[place + 1 :]]):
            numbers.pop()
        for number in range(len(numbers)):
            plainer = (*numbers[:number], 0, *numbers[number + 1 :])
            if numbers[number] and fails([*kept[:place], Action(action.name, plainer), *kept[place + 1 :]]):
                numbers[number] = 0
        kept[place] = Action(action.name, tuple(numbers))
    return kept
