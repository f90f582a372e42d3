"""What a sweep to the owner may cost, and whether it is worth making. Pure arithmetic in satoshi."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

DUST_SAT = 546
"""No output below this is relayed, whatever its script (Bitcoin Core's largest dust limit)."""


@dataclass(frozen=True, slots=True)
class ForwardRules:
    """`max_feerate` in sat/vB, `target_blocks` for the fee estimate, `min_sat` the least value to sweep."""

    max_feerate: Decimal
    target_blocks: int
    min_sat: int


@dataclass(frozen=True, slots=True)
class Held:
    """Coins that stay where they are for now, and why in words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Affordable:
    """A sweep worth making."""

    fee_sat: int


def fee_for(vsize: int, feerate: Decimal) -> int:
    """Fee in satoshi for `vsize` virtual bytes at `feerate` sat/vB, rounded up."""
    return int((feerate * vsize).to_integral_value(ROUND_CEILING))


def judge(value_sat: int, vsize: int, feerate: Decimal | None, rules: ForwardRules) -> Affordable | Held:
    """Whether coins of this value go now. Without a fee estimate nothing goes: waiting is safe, guessing is not."""
    if value_sat < rules.min_sat:
        return Held(f"{value_sat} sat is below forwarding.min_sat = {rules.min_sat}")
    if feerate is None:
        return Held("the node has no fee estimate yet")
    if feerate > rules.max_feerate:
        return Held(f"the feerate of {feerate} sat/vB is above forwarding.max_feerate = {rules.max_feerate}")
    fee = fee_for(vsize, feerate)
    if value_sat - fee < DUST_SAT:
        return Held(f"a fee of {fee} sat would leave dust of {value_sat} sat")
    return Affordable(fee)
