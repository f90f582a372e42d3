"""[[webhooks]]: who is told about events (Standard Webhooks)."""

from __future__ import annotations

import base64
import binascii
from typing import Self
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator, model_validator

from config.base import Section

EVENT_NAMES = (
    "payment.created",
    "payment.detected",
    "payment.confirming",
    "payment.confirmed",
    "payment.forwarded",
    "payment.expired",
    "payment.failed",
    "payment.underpaid",
    "payment.overpaid",
    "payment.late",
    "payment.replaced",
    "payment.reorged",
    "payment.dropped",
    "payment.forwarding_failed",
    "credits.added",
    "credits.reversed",
    "credits.spent",
    "till.restored",
)


class WebhookSettings(Section):
    """One receiver. `events` is a choice of `EVENT_NAMES`; all of them when left out."""

    url: str
    secret: SecretStr
    events: tuple[str, ...] = EVENT_NAMES
    allow_private: bool = False

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise ValueError("must be an https address, such as https://shop.example.org/hooks")
        if parts.username is not None:
            raise ValueError("must not hold a user or password; the signature proves the sender")
        return value

    @field_validator("secret")
    @classmethod
    def _secret(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        try:
            size = len(base64.b64decode(text.removeprefix("whsec_"), validate=True))
        except (binascii.Error, ValueError):
            size = 0
        if not text.startswith("whsec_") or not 24 <= size <= 64:
            raise ValueError(
                "must be whsec_ and then the base64 of 24 to 64 bytes; make one with "
                "`echo whsec_$(openssl rand -base64 32)`"
            )
        return value

    @field_validator("events")
    @classmethod
    def _known_events(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in EVENT_NAMES:
                raise ValueError(f"names {name}, which is not one of {', '.join(EVENT_NAMES)}")
        if not value:
            raise ValueError("is empty, so nothing would be sent; remove the line to get all")
        return tuple(dict.fromkeys(value))

    @model_validator(mode="after")
    def _public_means_https(self) -> Self:
        if not self.allow_private and urlsplit(self.url).scheme != "https":
            raise ValueError(
                "must have an https url; for a receiver in your own network set allow_private = true beside it"
            )
        return self
