"""The bodies that the API takes. Strict: no unknown field, no text for a number, no float."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

MAX_METADATA = 4 * 1024
"""Bytes of `metadata` as compact JSON."""

MAX_CREDITS = 10**15
"""More cannot be spent at once; keeps sums far from 64 bits."""


def check_name(value: str) -> str:
    """User ids, references and package ids: 1 to 128 printable characters.

    Line breaks and control characters would forge log lines; lone surrogates cannot be stored.
    """
    if not 1 <= len(value) <= 128 or not value.isprintable():
        raise ValueError("must be 1 to 128 printable characters")
    return value


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(metadata_text(value).encode()) > MAX_METADATA:
        raise ValueError("must be at most 4 KiB of JSON")
    return value


def _positive(value: int) -> int:
    if not 1 <= value <= MAX_CREDITS:
        raise ValueError("must be a whole number of credits, at least 1")
    return value


def metadata_text(value: dict[str, Any]) -> str:
    """Metadata as it is stored."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


Name = Annotated[str, AfterValidator(check_name)]
Metadata = Annotated[dict[str, Any], AfterValidator(_small)]
Credits = Annotated[int, AfterValidator(_positive)]


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class CreatePayment(Body):
    """POST /payments."""

    package_id: Name
    user_id: Name | None = None
    metadata: Metadata = {}


class AskStatus(Body):
    """POST /status."""

    payment_id: Name


class SpendCredits(Body):
    """POST /users/{user_id}/credits/spend."""

    amount: Credits
    reference: Name


class Nothing(Body):
    """POST /confirm/{id}: no body, or an object without fields."""
