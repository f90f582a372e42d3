"""What all sections have in common: frozen, nothing unknown, nothing secret in an error."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

MAX_MONEY_SAT = 21_000_000 * 100_000_000
"""All satoshi there will ever be (consensus/amount.h)."""


class Section(BaseModel):
    """One table of nodetill.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


def _no_bool(value: Any) -> Any:
    # True is an int in Python: `confirmations_required = true` must not become 1.
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


Whole = Annotated[int, BeforeValidator(_no_bool)]
"""A whole number; texts such as "3" are read too, because environment variables are texts."""

Number = Annotated[Decimal, BeforeValidator(_no_bool)]
"""A decimal number, exact: never a float."""


def milliseconds(value: Decimal, unit_ms: int) -> int:
    """`value` units of `unit_ms` each as whole milliseconds, at least 1."""
    return max(1, int(value * unit_ms))
