"""When a sweep that no block takes offers more, and how much (BIP125: the same inputs at a higher fee). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from payments.forward import DUST_SAT, ForwardRules, fee_for, within_share

_STEP = Decimal("1.25")
"""A sweep that waits although it pays what is asked offers a quarter more."""

_SPREAD = 200
"""A sweep is hardly ever smaller than its largest size less so many parts of it: signatures have 71 or 72 bytes of the
272 weight units of an input."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A sweep in the mempool. `blocks`: how many came since it was signed; `late`: its deadline is over.
    `next_vsize`: what its replacement may measure at most, as other signatures are of another length."""

    value_sat: int
    fee_sat: int
    vsize: int
    blocks: int
    late: bool
    next_vsize: int = 0


@dataclass(frozen=True, slots=True)
class Bump:
    """Replace it by one that pays this fee in satoshi."""

    fee_sat: int


@dataclass(frozen=True, slots=True)
class NoBump:
    """It stays as it is; `reason` is None while it has not waited long enough."""

    reason: str | None = None


def bump_of(
    sweep: Waiting,
    feerate: Decimal | None,
    increment: Decimal,
    rules: ForwardRules,
    *,
    asked: bool = False,
) -> Bump | NoBump:
    """Whether a sweep is replaced. `feerate` is the node's estimate, `increment` its `incrementalrelayfee`, in sat/vB.

    One that waited for `target_blocks` blocks is, up to `max_feerate`, and within `max_fee_share` until its deadline
    is over. `asked`: the operator wants it now; then only the cap counts.
    """
    if not asked and sweep.blocks < rules.target_blocks:
        return NoBump()
    if feerate is None:
        return NoBump("the node has no fee estimate yet")
    # BIP125: a replacement pays the increment for its own size.
    least = sweep.fee_sat + fee_for(max(sweep.vsize, sweep.next_vsize), increment)
    smallest = sweep.next_vsize - -(-sweep.next_vsize // _SPREAD) if sweep.next_vsize else sweep.vsize
    most = int((rules.max_feerate * min(sweep.vsize, smallest)).to_integral_value(ROUND_FLOOR))
    wanted = max(least, fee_for(sweep.vsize, feerate), int(sweep.fee_sat * _STEP) + 1)
    fee = min(wanted, most)
    if fee < least:
        return NoBump(f"a fee above {sweep.fee_sat} sat would exceed forwarding.max_feerate = {rules.max_feerate}")
    if not (asked or sweep.late) and not within_share(fee, sweep.value_sat, rules):
        if not within_share(least, sweep.value_sat, rules):
            return NoBump(
                f"a fee above {sweep.fee_sat} sat would exceed forwarding.max_fee_share = {rules.max_fee_share} %"
            )
        fee = int(rules.max_fee_share * sweep.value_sat // 100)
    if sweep.value_sat - fee < DUST_SAT:
        return NoBump(f"a fee of {fee} sat would leave dust of {sweep.value_sat} sat")
    return Bump(fee)
