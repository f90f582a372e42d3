"""Everything that can be set, in one frozen value."""

from __future__ import annotations

from typing import Self

from pydantic import field_validator, model_validator

from config.api import ApiSettings
from config.base import Section
from config.database import DatabaseSettings
from config.forwarding import ForwardingSettings
from config.log import LogSettings
from config.node import NodeSettings
from config.packages import SAMPLE_PACKAGES, PackageSettings
from config.payments import PaymentsSettings
from config.wallet import WalletSettings
from config.webhooks import WebhookSettings


class Settings(Section):
    """nodetill.toml and the environment, checked. Made by `config.load.load`."""

    node: NodeSettings
    wallet: WalletSettings
    payments: PaymentsSettings = PaymentsSettings()
    packages: tuple[PackageSettings, ...] = SAMPLE_PACKAGES
    database: DatabaseSettings = DatabaseSettings()
    api: ApiSettings = ApiSettings()
    forwarding: ForwardingSettings = ForwardingSettings()
    webhooks: tuple[WebhookSettings, ...] = ()
    log: LogSettings = LogSettings()

    @field_validator("packages")
    @classmethod
    def _distinct(cls, value: tuple[PackageSettings, ...]) -> tuple[PackageSettings, ...]:
        if not value:
            raise ValueError("is empty; a shop needs at least one [[packages]]")
        seen: set[str] = set()
        for package in value:
            if package.id in seen:
                raise ValueError(f"has two packages with the id {package.id}; rename one")
            seen.add(package.id)
        return value

    @model_validator(mode="after")
    def _tolerance_below_prices(self) -> Self:
        cheapest = min(self.packages, key=lambda package: package.price_sat)
        if self.payments.tolerance_sat >= cheapest.price_sat:
            raise ValueError(
                f"payments.tolerance_sat: {self.payments.tolerance_sat} would give the package "
                f"{cheapest.id} ({cheapest.price_sat} sat) away; make it smaller"
            )
        return self
