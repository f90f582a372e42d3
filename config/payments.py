"""[payments]: what the shop promises about a payment."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Literal, Self

from pydantic import field_validator, model_validator

from config.base import MAX_MONEY_SAT, Number, Section, Whole, milliseconds


def _depth(value: int) -> int:
    if value == 0:
        raise ValueError(
            "must be at least 1; a transaction without a confirmation can still be "
            "replaced, so credits are never given for it"
        )
    if not 1 <= value <= 144:
        raise ValueError("must be a whole number from 1 to 144")
    return value


class Tier(Section):
    """Payments of more than `above_sat` satoshi wait for `confirmations` blocks."""

    above_sat: Whole
    confirmations: Whole

    @field_validator("above_sat")
    @classmethod
    def _amount(cls, value: int) -> int:
        if not 0 <= value <= MAX_MONEY_SAT:
            raise ValueError("must be satoshi, from 0 to 2100000000000000")
        return value

    @field_validator("confirmations")
    @classmethod
    def _confirmations(cls, value: int) -> int:
        return _depth(value)


class PaymentsSettings(Section):
    """Depth, window, tolerance and policies."""

    confirmations_required: Whole = 3
    tiers: tuple[Tier, ...] = ()
    timeout_minutes: Number = Decimal(60)
    check_interval_seconds: Number = Decimal(30)
    tolerance_sat: Whole = 0
    late: Literal["credit", "hold"] = "credit"
    excess: Literal["credit", "keep"] = "credit"
    max_open_per_user: Whole = 10

    @property
    def timeout_ms(self) -> int:
        return milliseconds(self.timeout_minutes, 60_000)

    @property
    def check_interval_ms(self) -> int:
        return milliseconds(self.check_interval_seconds, 1_000)

    @field_validator("confirmations_required")
    @classmethod
    def _confirmations(cls, value: int) -> int:
        return _depth(value)

    @field_validator("tiers")
    @classmethod
    def _sorted_once_each(cls, value: tuple[Tier, ...]) -> tuple[Tier, ...]:
        if len({tier.above_sat for tier in value}) != len(value):
            raise ValueError("names the same above_sat twice; keep one line for each")
        return tuple(sorted(value, key=lambda tier: tier.above_sat))

    @model_validator(mode="after")
    def _tiers_ask_for_more(self) -> Self:
        for tier in self.tiers:
            if tier.confirmations < self.confirmations_required:
                raise ValueError(
                    f"payments.tiers: more than {tier.above_sat} sat would need {tier.confirmations} confirmations, "
                    f"fewer than payments.confirmations_required = {self.confirmations_required}; ask for more, or none"
                )
        for lower, higher in pairwise(self.tiers):
            if higher.confirmations < lower.confirmations:
                raise ValueError(
                    f"payments.tiers: more than {higher.above_sat} sat would need {higher.confirmations} "
                    f"confirmations, fewer than the {lower.confirmations} of a smaller sum; ask for more, or none"
                )
        return self

    @field_validator("timeout_minutes")
    @classmethod
    def _window(cls, value: Decimal) -> Decimal:
        if not 0 < value <= 525_600:
            raise ValueError("must be more than 0 and at most 525600 minutes (a year)")
        return value

    @field_validator("check_interval_seconds")
    @classmethod
    def _interval(cls, value: Decimal) -> Decimal:
        if not 0 < value <= 3_600:
            raise ValueError("must be more than 0 and at most 3600 seconds")
        return value

    @field_validator("tolerance_sat")
    @classmethod
    def _tolerance(cls, value: int) -> int:
        if not 0 <= value <= MAX_MONEY_SAT:
            raise ValueError("must be satoshi, 0 or more")
        return value

    @field_validator("max_open_per_user")
    @classmethod
    def _open(cls, value: int) -> int:
        if not 1 <= value <= 1_000_000:
            raise ValueError("must be a whole number from 1 to 1000000")
        return value
