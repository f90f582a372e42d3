"""[api]: where the service listens and what it believes."""

from __future__ import annotations

import ipaddress
from typing import Self
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator, model_validator

from config.base import Section, Whole


def is_loopback(host: str) -> bool:
    """True when only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class ApiSettings(Section):
    """The HTTP side."""

    host: str = "127.0.0.1"
    port: Whole = 8480
    public_url: str | None = None
    user_token_secret: SecretStr | None = None
    allow_public_bind: bool = False

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        value = value.strip().strip("[]")
        if not value or any(c.isspace() or c in "/@?" for c in value):
            raise ValueError("must be a host or address, such as 127.0.0.1")
        return value

    @field_validator("port")
    @classmethod
    def _port(cls, value: int) -> int:
        if not 1 <= value <= 65_535:
            raise ValueError("must be a port, 1 to 65535")
        return value

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or parts.query or parts.fragment or parts.username is not None:
            raise ValueError("must be the address your customers see, such as https://pay.example.org")
        return value.rstrip("/")

    @field_validator("user_token_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        # RFC 7518, 3.2: a key for HS256 must have at least 256 bits.
        if value is not None and len(value.get_secret_value().encode()) < 32:
            raise ValueError(
                "is too short to be safe; use at least 32 bytes, for example the output of `openssl rand -hex 32`"
            )
        return value

    @model_validator(mode="after")
    def _public_bind_is_asked_for(self) -> Self:
        if not is_loopback(self.host) and not self.allow_public_bind:
            raise ValueError(
                f"api.host: {self.host} can be reached from other machines, and nodetill itself "
                "speaks no TLS; put a TLS proxy in front and set api.allow_public_bind = true, or "
                "use 127.0.0.1"
            )
        return self
