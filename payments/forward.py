"""What a sweep to the owner may cost, and whether it is worth making. Pure arithmetic in satoshi."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

DUST_SAT = 546
"""No output below this is relayed, whatever its script (Bitcoin Core's largest dust limit)."""


@dataclass(frozen=True, slots=True)
class ForwardRules:
    """`[forwarding]`: what the owner allows.

    `max_feerate` in sat/vB is the cap that nothing exceeds, `target_blocks` for the fee estimate, `min_sat` the
    least value of a sweep. `max_fee_share` is the fee in percent of the value up to which a sweep is worth making;
    coins older than `deadline_ms` go whatever their share. Coins wait `batch_window_ms` for company, up to
    `batch_max_inputs` of them go together, and `hold_sat` always stay.
    """

    max_feerate: Decimal
    target_blocks: int
    min_sat: int
    max_fee_share: Decimal = Decimal(10)
    batch_window_ms: int = 0
    batch_max_inputs: int = 200
    deadline_ms: int = 48 * 3_600_000
    hold_sat: int = 0


def fee_for(vsize: int, feerate: Decimal) -> int:
    """Fee in satoshi for `vsize` virtual bytes at `feerate` sat/vB, rounded up."""
    return int((feerate * vsize).to_integral_value(ROUND_CEILING))


def within_share(fee_sat: int, value_sat: int, rules: ForwardRules) -> bool:
    """Whether a fee is a small enough part of the value (`max_fee_share`)."""
    return fee_sat * 100 <= rules.max_fee_share * value_sat


def refusal(value_sat: int, fee_sat: int, rules: ForwardRules, *, late: bool) -> str | None:
    """Why a sweep of this value at this fee is not made; None when it is. `late` lifts the limit on the share."""
    if value_sat < rules.min_sat:
        return f"{value_sat} sat are below forwarding.min_sat = {rules.min_sat}"
    if value_sat - fee_sat < DUST_SAT:
        return f"a fee of {fee_sat} sat would leave dust of {value_sat} sat"
    if not late and not within_share(fee_sat, value_sat, rules):
        return (
            f"a fee of {fee_sat} sat for {value_sat} sat is more than forwarding.max_fee_share = "
            f"{rules.max_fee_share} %; it waits for a lower feerate, or for forwarding.deadline_hours"
        )
    return None


def feerate_refusal(feerate: Decimal | None, rules: ForwardRules) -> str | None:
    """Why nothing at all goes at this feerate. Without an estimate nothing goes: waiting is safe, guessing is not."""
    if feerate is None:
        return "the node has no fee estimate yet"
    if feerate > rules.max_feerate:
        return f"the feerate of {feerate:f} sat/vB is above forwarding.max_feerate = {rules.max_feerate}"
    return None
