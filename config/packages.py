"""[[packages]]: what the shop sells."""

from __future__ import annotations

import re

from pydantic import field_validator

from config.base import MAX_MONEY_SAT, Section, Whole

DUST_SAT = 546
"""Bitcoin's dust limit of a P2PKH output, the highest of the usual kinds (policy/policy.cpp)."""


class PackageSettings(Section):
    """One thing the shop sells: `credits` for `price_sat` satoshi."""

    id: str
    name: str
    credits: Whole
    price_sat: Whole

    @field_validator("id")
    @classmethod
    def _short_id(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
            raise ValueError("must be 1 to 64 letters, digits, dots, dashes or underscores")
        return value

    @field_validator("name")
    @classmethod
    def _shown_name(cls, value: str) -> str:
        if not 1 <= len(value) <= 100 or not value.isprintable() or not value.strip():
            raise ValueError("must be 1 to 100 printable characters")
        return value

    @field_validator("credits")
    @classmethod
    def _some_credits(cls, value: int) -> int:
        if not 1 <= value <= 10**12:
            raise ValueError("must be a whole number of credits, at least 1")
        return value

    @field_validator("price_sat")
    @classmethod
    def _above_dust(cls, value: int) -> int:
        if value <= DUST_SAT:
            raise ValueError(f"must be more than {DUST_SAT} satoshi; nodes do not pass on smaller payments (dust)")
        if value > MAX_MONEY_SAT:
            raise ValueError("is more bitcoin than there will ever be; the unit is satoshi")
        return value


SAMPLE_PACKAGES = (
    PackageSettings(id="small", name="Small", credits=400, price_sat=40_000),
    PackageSettings(id="medium", name="Medium", credits=1_100, price_sat=100_000),
    PackageSettings(id="large", name="Large", credits=3_000, price_sat=250_000),
)
