"""Satoshi to text and back, without ever passing through a float."""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact
from typing import Final

SAT_PER_BTC: Final = 100_000_000

MAX_MONEY_SAT: Final = 2_100_000_000_000_000
"""No amount can be larger: 21 million bitcoin (`MAX_MONEY` of Bitcoin's consensus rules)."""

# Plain decimal notation only. [0-9] and not \d: \d would let other scripts' digits in.
_PLAIN_DECIMAL: Final = re.compile(r"(?P<whole>[0-9]{1,8})(?:\.(?P<part>[0-9]{1,8}))?")

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


def parse_btc(text: str) -> int:
    """Decimal bitcoin as people write it, in satoshi: `"0.0004"` gives `40000`.

    Raises `AmountError` for anything but plain digits with at most eight places: signs,
    exponents, thousands marks, NaN and amounts above 21 million bitcoin are refused.
    """
    match = _PLAIN_DECIMAL.fullmatch(text)
    if match is None:
        raise AmountError(
            f"{text[:40]!r} is not an amount of bitcoin: write it like 0.00040000, with a dot and at most 8 decimals"
        )
    return _checked(int(match["whole"]) * SAT_PER_BTC + int((match["part"] or "").ljust(8, "0")))


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


def _checked(sat: int) -> int:
    if sat > MAX_MONEY_SAT:
        raise AmountError("the amount is more than the 21 million bitcoin that can exist")
    return sat
