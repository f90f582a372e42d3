"""docs/reliability.md names a test for each fault, and each of them is there."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.docs.pages import ROOT, rows, text

PAGE = "docs/reliability.md"
FAULTS = [
    *(f"C{number}" for number in range(1, 24)),
    *(f"N{number}" for number in range(1, 21)),
    *(f"Z{number}" for number in range(1, 12)),
    *(f"D{number}" for number in range(1, 16)),
    *(f"A{number}" for number in range(1, 13)),
    *(f"W{number}" for number in range(1, 10)),
    *(f"F{number}" for number in range(1, 5)),
    "M1",
    "M2",
]
BUGS = [f"P{number}" for number in range(1, 23)]
INVARIANTS = [f"I{number}" for number in range(1, 18)]


@cache
def names_in(file: str) -> frozenset[str]:
    """Names that pytest collects from a file, found without running it."""
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    names: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):  # a state machine of Hypothesis
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(name for name in names if name.lower().startswith("test"))


def shown() -> list[list[str]]:
    return [row for first in ("fault", "bug", "invariant") for row in rows(PAGE, first)]


def test_each_fault_bug_and_invariant_has_one_row() -> None:
    assert len(FAULTS) == 96
    for first, wanted in (("fault", FAULTS), ("bug", BUGS), ("invariant", INVARIANTS)):
        assert [row[0] for row in rows(PAGE, first)] == wanted


@pytest.mark.parametrize("row", shown(), ids=lambda row: row[0])
def test_each_row_names_tests_that_are_there(row: list[str]) -> None:
    _, what, by = row
    assert what
    named = re.findall(r"`([^`]+)`", by)
    for test in named:
        file, _, name = test.partition("::")
        assert name in names_in(file), f"{PAGE} names {test}, which does not exist"
    assert named or re.fullmatch(r"later: [a-z ]+", by)


def test_what_is_later_is_told() -> None:
    coming = text(PAGE).split("## What is still to come")[1]
    told = set(re.findall(r"\*\*([a-z ]+)\*\*", coming))
    later = {by.removeprefix("later: ") for _, _, by in shown() if by.startswith("later: ")}
    assert later == told
