"""Satoshi and their text: exact both ways, and nothing guessed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.amount import MAX_MONEY_SAT, AmountError, btc_text, sat_of


@pytest.mark.parametrize(
    ("sat", "text"),
    [
        (0, "0.00000000"),
        (1, "0.00000001"),
        (40_000, "0.00040000"),
        (100_000_000, "1.00000000"),
        (-40_000, "-0.00040000"),
        (MAX_MONEY_SAT, "21000000.00000000"),
    ],
)
def test_satoshi_have_exactly_eight_decimals(sat: int, text: str) -> None:
    assert btc_text(sat) == text


@given(st.integers(min_value=0, max_value=MAX_MONEY_SAT))
def test_text_and_back_is_the_same_amount(sat: int) -> None:
    assert sat_of(Decimal(btc_text(sat))) == sat


@pytest.mark.parametrize(
    "value",
    [
        Decimal("-1"), Decimal("NaN"), Decimal("Infinity"), Decimal("0.000000001"), Decimal(21_000_001), -1,
        Decimal("1E+30"), Decimal("1." + "0" * 30 + "1"),
    ],
)  # fmt: skip
def test_an_impossible_amount_of_the_node_is_refused(value: Decimal | int) -> None:
    with pytest.raises(AmountError):
        sat_of(value)


def test_more_than_can_exist_has_no_text() -> None:
    with pytest.raises(AmountError):
        btc_text(MAX_MONEY_SAT + 1)
