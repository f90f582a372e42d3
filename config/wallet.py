"""[wallet]: where the coins go, and who signs. Exactly one of four ways."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import SecretStr, field_validator, model_validator

from config.base import MAX_MONEY_SAT, Section, Whole

Mode = Literal["watch-only", "forwarding", "offline"]


class WalletSettings(Section):
    """`descriptor` alone: watch-only. `seed_file` and `forward_to`: forwarding, with a signer that the service starts.
    `descriptor`, `forward_to` and `signer_socket`: forwarding, with a signer that somebody else runs. `descriptor` and
    `forward_to`: offline, coins wait for somebody who signs elsewhere.

    Whether the descriptor and the address are good for the network is asked of `payments` by
    whoever composes the service; here only their presence counts. The passphrase
    may be missing: a terminal can ask for it.
    """

    descriptor: str | None = None
    seed_file: Path | None = None
    seed_passphrase: SecretStr | None = None
    forward_to: str | None = None
    signer_socket: Path | None = None
    signer_journal: Path | None = None
    daily_cap_sat: Whole | None = None

    @property
    def mode(self) -> Mode:
        if self.forward_to is None:
            return "watch-only"
        return "offline" if self.seed_file is None and self.signer_socket is None else "forwarding"

    @field_validator("descriptor", "forward_to")
    @classmethod
    def _stripped(cls, value: str | None) -> str | None:
        if value is None:
            return None
        value = value.strip()
        if not value:
            raise ValueError("is empty; write it or remove the line")
        return value

    @field_validator("daily_cap_sat")
    @classmethod
    def _satoshi(cls, value: int | None) -> int | None:
        if value is not None and not 0 < value <= MAX_MONEY_SAT:
            raise ValueError(f"must be satoshi, 1 to {MAX_MONEY_SAT}")
        return value

    @model_validator(mode="after")
    def _exactly_one_way(self) -> Self:
        of_a_seed = [
            name
            for name in ("seed_file", "seed_passphrase", "signer_journal", "daily_cap_sat")
            if getattr(self, name) is not None
        ]
        if self.descriptor is not None and of_a_seed:
            raise ValueError(
                f"wallet.descriptor and wallet.{of_a_seed[0]} are both set, and only one way is possible: keep the "
                "descriptor (watch-only; with forward_to the coins are signed for elsewhere, with signer_socket by a "
                "signer that has its own settings), or seed_file and forward_to (forwarding)"
            )
        if self.signer_socket is not None and (self.descriptor is None or self.forward_to is None):
            other = "wallet.descriptor" if self.descriptor is None else "wallet.forward_to"
            raise ValueError(
                f"wallet.signer_socket is set and {other} is missing: with a signer of its own nodetill needs "
                "wallet.descriptor (what `nodetill seed show-xpub` prints) and wallet.forward_to"
                + (", and no wallet.seed_file" if self.seed_file is not None else "")
            )
        if self.descriptor is None:
            self._whole_seed(bool(of_a_seed))
        return self

    def _whole_seed(self, has_some: bool) -> None:
        if not has_some and self.forward_to is None:
            raise ValueError(
                "wallet.descriptor is missing; set it to a ranged descriptor of your "
                "wallet, wpkh([…]xpub…/0/*), or set wallet.seed_file and wallet.forward_to"
            )
        if self.seed_file is None:
            raise ValueError(
                "wallet.seed_file is missing for forwarding mode; make one with `./nodetill seed create --out FILE` "
                "(or set wallet.descriptor, where the coins are signed for elsewhere)"
            )
        if self.forward_to is None:
            raise ValueError(
                "wallet.forward_to is missing for forwarding mode; set it to an address of your own wallet"
            )
