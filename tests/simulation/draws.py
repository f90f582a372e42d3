"""Actions as data: a name and some numbers, so that a history can be printed, cut short and run again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")
LARGEST = 9_999


class Action(NamedTuple):
    """What happens next. What the numbers mean is the action's own affair (`Draws`); 0 is the plainest choice."""

    name: str
    numbers: tuple[int, ...] = ()


class Draws:
    """The choices of one action, one number after another; zeros when there are no more."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._left = list(reversed(numbers))

    def below(self, limit: int) -> int:
        number = self._left.pop() if self._left else 0
        return number % limit

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def chance(self, percent: int) -> bool:
        return self.below(100) >= 100 - percent

    def some(self, choices: Sequence[T]) -> list[T]:
        """All of them, none, or a part, in their order."""
        mask = self.below(LARGEST + 1)
        match mask % 4:
            case 0:
                return list(choices)
            case 1:
                return []
            case _:
                return [choice for place, choice in enumerate(choices) if mask >> (2 + place % 11) & 1]

    def rest(self) -> tuple[int, ...]:
        left, self._left = tuple(reversed(self._left)), []
        return left
