"""Satoshi to text and back, without ever passing through a float."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact
from typing import Final

SAT_PER_BTC: Final = 100_000_000

MAX_MONEY_SAT: Final = 2_100_000_000_000_000
"""No amount can be larger: 21 million bitcoin (`MAX_MONEY` of Bitcoin's consensus rules)."""

_ONE_SAT: Final = Decimal("0.00000001")
_EXACT: Final = Context(prec=28, traps=[Inexact])  # rounding raises instead of happening


class AmountError(ValueError):
    """The text is not an amount of bitcoin."""


def btc_text(sat: int) -> str:
    """Satoshi as decimal bitcoin with exactly eight places: `40000` gives `"0.00040000"`.

    Negative amounts (a reversal in the ledger) keep their sign. Raises `AmountError` above
    21 million bitcoin.
    """
    if not -MAX_MONEY_SAT <= sat <= MAX_MONEY_SAT:
        raise AmountError(f"{sat} satoshi is more than the 21 million bitcoin that can exist")
    whole, part = divmod(abs(sat), SAT_PER_BTC)
    return f"{'-' if sat < 0 else ''}{whole}.{part:08d}"


def sat_of(value: Decimal | int) -> int:
    """A bitcoin amount of the node's JSON (read with `parse_float=Decimal`) in satoshi.

    Raises `AmountError` where the value is negative, not finite, or finer than one satoshi.
    """
    amount = Decimal(value)
    if not amount.is_finite() or amount < 0:
        raise AmountError(f"{value} is not an amount of bitcoin")
    if amount > Decimal(MAX_MONEY_SAT).scaleb(-8):
        raise AmountError(f"{value} is more than the 21 million bitcoin that can exist")
    try:
        return int(amount.quantize(_ONE_SAT, context=_EXACT).scaleb(8))
    except Inexact:
        raise AmountError(f"{value} has more than 8 decimals: one satoshi is the smallest amount") from None
