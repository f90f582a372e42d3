"""How one list became the next, for lists that stay nearly the same: what went, what came and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def change_between(old: Sequence[Any], new: Sequence[Any]) -> dict[str, Any] | None:
    """`{"gone": [value, …], "came": [[index in new, value], …]}`; None where that would say less shortly.

    Values are hashable, and each stands once in a list.
    """
    before, after = set(old), set(new)
    if len(before) != len(old) or len(after) != len(new):
        return None
    gone = [value for value in old if value not in after]
    came = [[index, value] for index, value in enumerate(new) if value not in before]
    if len(gone) + len(came) > len(new) // 2:
        return None
    change = {"gone": gone, "came": came}
    return change if changed(old, change) == list(new) else None  # what stayed also changed its order


def changed(old: Sequence[Any], change: dict[str, Any]) -> list[Any]:
    """The next list."""
    gone = set(change["gone"])
    left = iter([value for value in old if value not in gone])
    came = {index: value for index, value in change["came"]}
    return [came[n] if n in came else next(left) for n in range(len(old) - len(gone) + len(came))]
