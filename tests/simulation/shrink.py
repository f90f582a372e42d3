"""A failing history cut short: the fewest actions, and the plainest, that still break the same rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.simulation.draws import Action

_TRIES = 600


def shortest(actions: Sequence[Action], failure_of: Callable[[Sequence[Action]], str | None]) -> list[Action]:
    """`failure_of` plays a history and names its failure, None when there is none. Some 600 plays at most."""
    wanted = failure_of(actions)
    left, kept = _TRIES, list(actions)

    def fails(tried: list[Action]) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and failure_of(tried) == wanted

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
