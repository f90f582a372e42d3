"""[wallet]: where the coins go. Exactly one of two modes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import SecretStr, field_validator, model_validator

from config.base import Section


class WalletSettings(Section):
    """Either `descriptor` (watch-only) or `seed_file` and `forward_to` (forwarding).

    Whether the descriptor and the address are good for the network is asked of `payments` by
    whoever composes the service; here only their presence counts. In forwarding mode the passphrase
    may be missing: a terminal can ask for it.
    """

    descriptor: str | None = None
    seed_file: Path | None = None
    seed_passphrase: SecretStr | None = None
    forward_to: str | None = None

    @property
    def mode(self) -> Literal["watch-only", "forwarding"]:
        return "watch-only" if self.descriptor is not None else "forwarding"

    @field_validator("descriptor", "forward_to")
    @classmethod
    def _stripped(cls, value: str | None) -> str | None:
        if value is None:
            return None
        value = value.strip()
        if not value:
            raise ValueError("is empty; write it or remove the line")
        return value

    @model_validator(mode="after")
    def _exactly_one_mode(self) -> Self:
        forwarding = [
            name for name in ("seed_file", "seed_passphrase", "forward_to") if getattr(self, name) is not None
        ]
        if self.descriptor is not None and forwarding:
            raise ValueError(
                f"wallet.descriptor and wallet.{forwarding[0]} are both set, and only one mode is "
                "possible: keep the descriptor (watch-only), or seed_file and forward_to "
                "(forwarding)"
            )
        if self.descriptor is None:
            if not forwarding:
                raise ValueError(
                    "wallet.descriptor is missing; set it to a ranged descriptor of your "
                    "wallet, wpkh([…]xpub…/0/*), or set wallet.seed_file and wallet.forward_to"
                )
            if self.seed_file is None:
                raise ValueError(
                    "wallet.seed_file is missing for forwarding mode; make one with `./nodetill seed create --out FILE`"
                )
            if self.forward_to is None:
                raise ValueError(
                    "wallet.forward_to is missing for forwarding mode; set it to an address of your own wallet"
                )
        return self
