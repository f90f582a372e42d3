"""[forwarding]: how the coins travel on in forwarding mode."""

from __future__ import annotations

from decimal import Decimal

from pydantic import field_validator

from config.base import MAX_MONEY_SAT, Number, Section, Whole


class ForwardingSettings(Section):
    """`max_feerate` in sat/vB, `target_blocks` for the node's estimate, `min_sat` worth sending."""

    max_feerate: Number = Decimal(50)
    target_blocks: Whole = 6
    min_sat: Whole = 1_000

    @field_validator("max_feerate")
    @classmethod
    def _feerate(cls, value: Decimal) -> Decimal:
        if not 0 < value <= 10_000:
            raise ValueError("must be more than 0 and at most 10000 sat/vB")
        return value

    @field_validator("target_blocks")
    @classmethod
    def _target(cls, value: int) -> int:
        # estimatesmartfee: conf_target between 1 and 1008.
        if not 1 <= value <= 1_008:
            raise ValueError("must be a number of blocks from 1 to 1008")
        return value

    @field_validator("min_sat")
    @classmethod
    def _worth_sending(cls, value: int) -> int:
        if not 546 <= value <= MAX_MONEY_SAT:
            raise ValueError("must be satoshi, at least 546; nodes do not pass on less (dust)")
        return value
