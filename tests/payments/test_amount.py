"""Satoshi and their text: exact both ways, and nothing guessed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.amount import MAX_MONEY_SAT, AmountError, btc_text, parse_btc, sat_of


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
    text = btc_text(sat)
    assert parse_btc(text) == sat
    assert sat_of(Decimal(text)) == sat


@pytest.mark.parametrize(("text", "sat"), [("0.0004", 40_000), ("1", 100_000_000), ("21000000", MAX_MONEY_SAT)])
def test_people_may_write_fewer_decimals(text: str, sat: int) -> None:
    assert parse_btc(text) == sat


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "-1", "+1", "1.", ".5", "1,5", "1_0", "0.123456789", "1e-8", "1E2", "NaN", "Infinity",
        "0x10", "1 ", " 1", "1\n", "١", "21000000.00000001", "99999999", "0.0.1", "1'000",
    ],
)  # fmt: skip
def test_anything_but_plain_digits_is_refused(text: str) -> None:
    with pytest.raises(AmountError):
        parse_btc(text)


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
