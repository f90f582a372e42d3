"""Where a node's RPC answers, and with which login: of the node itself and of its witnesses."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator, model_validator

from config.base import Section


class RpcAddress(Section):
    """An http address with a cookie, or with a user and a password."""

    section: ClassVar[str] = ""
    """How a person names the place of these keys in messages: `node.` or nothing."""

    rpc_url: str
    rpc_cookie_file: Path | None = None
    rpc_user: str | None = None
    rpc_password: SecretStr | None = None

    @field_validator("rpc_url")
    @classmethod
    def _http(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and bool(parts.hostname)
            port = parts.port
        except ValueError:
            good, port = False, None
        if not good:
            raise ValueError("must be the http address of your node's RPC, such as http://127.0.0.1:8332")
        if parts.username is not None or parts.password is not None:
            at = cls.section
            raise ValueError(
                f"must not hold a user or password; write them as {at}rpc_user and "
                f"{at}rpc_password, or use {at}rpc_cookie_file"
            )
        if parts.query or parts.fragment or parts.path not in ("", "/"):
            raise ValueError("must end after the port; the name of the wallet is its own setting, node.wallet")
        if port is None:
            raise ValueError("needs a port, such as http://127.0.0.1:8332")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> Self:
        at = self.section
        if self.rpc_user and self.rpc_cookie_file:
            raise ValueError(f"{at}rpc_user and {at}rpc_cookie_file are both set; keep one of the two")
        if self.rpc_password is not None and not self.rpc_user:
            raise ValueError(f"{at}rpc_password is set without {at}rpc_user; add the user that your rpcauth line names")
        if self.rpc_user and self.rpc_password is None:
            raise ValueError(f"{at}rpc_user is set without a password; add {at}rpc_password_file or {at}rpc_password")
        if self.rpc_user and ":" in self.rpc_user:
            raise ValueError(f"{at}rpc_user must not hold a colon; HTTP ends the name there")
        return self


class WitnessNodeSettings(RpcAddress):
    """Another node, which must agree on the chain near the tip."""

    @model_validator(mode="after")
    def _some_login(self) -> Self:
        if not self.rpc_user and not self.rpc_cookie_file:
            raise ValueError("needs a login: rpc_cookie_file, or rpc_user and rpc_password_file")
        return self
