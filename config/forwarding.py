"""[forwarding]: how the coins travel on in forwarding mode."""

from __future__ import annotations

from decimal import Decimal

from pydantic import field_validator

from config.base import MAX_MONEY_SAT, Number, Section, Whole


class ForwardingSettings(Section):
    """`max_feerate` in sat/vB, `max_fee_share` in percent, `min_sat` and `hold` in satoshi."""

    max_feerate: Number = Decimal(50)
    target_blocks: Whole = 6
    max_fee_share: Number = Decimal(10)
    batch_window_minutes: Number = Decimal(0)
    batch_max_inputs: Whole = 200
    deadline_hours: Number = Decimal(48)
    min_sat: Whole = 1_000
    hold: Whole = 0

    @property
    def batch_window_ms(self) -> int:
        return int(self.batch_window_minutes * 60_000)

    @property
    def deadline_ms(self) -> int:
        return int(self.deadline_hours * 3_600_000)

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

    @field_validator("max_fee_share")
    @classmethod
    def _share(cls, value: Decimal) -> Decimal:
        if not 0 < value <= 100:
            raise ValueError("must be percent of the value, more than 0 and at most 100")
        return value

    @field_validator("batch_window_minutes")
    @classmethod
    def _window(cls, value: Decimal) -> Decimal:
        if not 0 <= value <= 10_080:
            raise ValueError("must be minutes from 0 (nothing waits for company) to 10080 (a week)")
        return value

    @field_validator("batch_max_inputs")
    @classmethod
    def _inputs(cls, value: int) -> int:
        # 500 inputs of P2WPKH make 34,000 vB; nodes relay up to 100,000.
        if not 1 <= value <= 500:
            raise ValueError("must be a number of inputs from 1 to 500")
        return value

    @field_validator("deadline_hours")
    @classmethod
    def _deadline(cls, value: Decimal) -> Decimal:
        if not 0 <= value <= 8_760:
            raise ValueError("must be hours from 0 (the share of the fee never counts) to 8760 (a year)")
        return value

    @field_validator("min_sat")
    @classmethod
    def _worth_sending(cls, value: int) -> int:
        if not 546 <= value <= MAX_MONEY_SAT:
            raise ValueError("must be satoshi, at least 546; nodes do not pass on less (dust)")
        return value

    @field_validator("hold")
    @classmethod
    def _hold(cls, value: int) -> int:
        if not 0 <= value <= MAX_MONEY_SAT:
            raise ValueError("must be satoshi, 0 or more")
        return value
