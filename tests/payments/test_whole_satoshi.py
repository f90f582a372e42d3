"""No float comes near an amount: read from the source, because a single division would be enough."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("api", "commands", "config", "node_watcher", "payments", "storage")
_MONEY = re.compile(r"sat\b|sats\b|_sat_|btc|amount|fee|value_|balance|credits|price|due\b")
_ROUNDS = ("round", "float", "math.ceil", "math.floor")


def floats_in(tree: ast.AST) -> Iterator[ast.AST]:
    """Everything by which a float can come about: the type, a literal, a true division, a rounding."""
    for node in ast.walk(tree):
        by_hand = isinstance(node, ast.Constant) and isinstance(node.value, float)
        named = isinstance(node, ast.Name) and node.id == "float"
        divided = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
        rounded = isinstance(node, ast.Call) and ast.unparse(node.func) in _ROUNDS
        if by_hand or named or divided or rounded:
            yield node


def floats_near_money(tree: ast.AST) -> Iterator[ast.AST]:
    """Floats in an expression, an argument or a field that by its name holds money."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
            if _MONEY.search(name) and any(floats_in(node.annotation)):
                yield node
        elif isinstance(node, ast.BinOp | ast.AugAssign | ast.Call) and any(floats_in(node)):
            own = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if (not isinstance(node, ast.Call) or own in _ROUNDS) and _MONEY.search(ast.unparse(node)):
                yield node


@pytest.mark.parametrize(
    "line", ["fee = value / 2", "x = 0.5", "x: float = 1", "x = round(y)", "x /= 2", "x = math.ceil(y)"]
)
def test_what_makes_a_float_is_found(line: str) -> None:
    assert any(floats_in(ast.parse(line)))


@pytest.mark.parametrize(
    "line", ["x = fee_sat / 2", "def f(amount: float): ...", "price_sat: float | None = None", "x = float(balance)"]
)
def test_what_makes_a_float_of_money_is_found(line: str) -> None:
    assert any(floats_near_money(ast.parse(line)))


@pytest.mark.parametrize("path", sorted((ROOT / "payments").rglob("*.py")), ids=lambda path: path.name)
def test_the_core_has_no_float_at_all(path: Path) -> None:
    found = [f"{path.name}:{getattr(node, 'lineno', 0)}" for node in floats_in(ast.parse(path.read_text("utf-8")))]
    assert found == []


@pytest.mark.parametrize("package", PACKAGES)
def test_money_is_never_a_float(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in floats_near_money(ast.parse(path.read_text("utf-8")))
    ]
    assert found == []
