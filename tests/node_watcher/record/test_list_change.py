"""A list told as its difference from the one before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node_watcher.record.list_change import change_between, changed

LISTS = st.lists(st.integers(0, 30), unique=True)


@given(LISTS, LISTS)
def test_what_is_told_makes_the_new_list(old: list[int], new: list[int]) -> None:
    change = change_between(old, new)
    assert change is None or changed(old, change) == new


def test_little_is_told_of_a_long_list() -> None:
    old = list(range(1000))
    new = [2000, *old[1:500], 3000, *old[500:], 4000]
    assert change_between(old, new) == {"gone": [0], "came": [[0, 2000], [500, 3000], [1001, 4000]]}


def test_another_order_is_told_whole() -> None:
    assert change_between([1, 2, 3, 4], [1, 3, 2, 4]) is None


def test_a_value_that_stands_twice_is_told_whole() -> None:
    assert change_between([1, 2, 3], [1, 1, 2, 3]) is None
