"""What the API is told when it is made: plain values and narrow interfaces, nothing global."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry

from api.index_floor import IndexFloor
from payments.model import ExcessPolicy, LatePolicy, Package, Terms
from storage.database import Database
from storage.payments import Derive

CHECK_SECONDS = 10
"""Longest time that a request waits for the node."""


class DemoNode(Protocol):
    """The private regtest node of the demo: pays and mines at the press of a button."""

    async def pay(self, address: str, amount_sat: int) -> str:
        """Send `amount_sat` satoshi to `address` from the demo's own wallet; the txid."""

    async def mine(self, blocks: int) -> None:
        """Mine that many blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the shop promises about a payment. `tiers` are (above_sat, confirmations), ascending."""

    confirmations_required: int = 3
    tiers: tuple[tuple[int, int], ...] = ()
    window_ms: int = 3_600_000
    tolerance_sat: int = 0
    late: LatePolicy = LatePolicy.CREDIT
    excess: ExcessPolicy = ExcessPolicy.CREDIT
    max_open_per_user: int = 10

    def terms(self, package: Package, now: int) -> Terms:
        """The promise for one payment made at `now` (ms)."""
        depth = self.confirmations_required
        for above_sat, confirmations in self.tiers:
            if package.price_sat > above_sat:
                depth = confirmations
        return Terms(
            amount_sat=package.price_sat,
            credits=package.credits,
            confirmations_required=depth,
            tolerance_sat=self.tolerance_sat,
            late=self.late,
            excess=self.excess,
            created_at=now,
            expires_at=now + self.window_ms,
            tiers=tuple(tier for tier in self.tiers if tier[0] >= package.price_sat),
        )


def wall_clock_ms() -> int:
    """Now, in milliseconds since the epoch (UTC)."""
    return time.time_ns() // 1_000_000


async def nothing_to_ask() -> bool:
    """`check_now` of a shop without a watcher: what the database knows is all there is."""
    return True


class Asked(Enum):
    """What came of a request to look at the node."""

    LOOKED = "looked"
    NOT_POSSIBLE = "not possible"
    TOO_SLOW = "too slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """Everything that handlers use.

    `keychain_id` and `derive` give new payments their address. `check_now` asks the watcher for a
    pass at once and returns when it is done (False: the node could not be asked), or raises `TimeoutError`.
    `public_url` has no slash at its end.
    `index_floor`: which addresses may be given out, found with the first payment.
    `stale_after_ms`: a watcher that has not reported for so long counts as dead.
    """

    database: Database
    network: str
    packages: tuple[Package, ...]
    keychain_id: int
    derive: Derive
    public_url: str
    offer: Offer = field(default_factory=Offer)
    user_token_secret: str | None = field(default=None, repr=False)
    check_now: Callable[[], Awaitable[bool]] = nothing_to_ask
    now_ms: Callable[[], int] = wall_clock_ms
    stale_after_ms: int = 120_000
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    demo: DemoNode | None = None
    index_floor: IndexFloor = field(default_factory=IndexFloor)

    async def check_soon(self) -> Asked:
        """Ask for a pass and wait for it, but not for ever: a slow node must not hold up an answer.

        Unless it looked, what the database knows already is the answer.
        """
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                return Asked.LOOKED if await self.check_now() else Asked.NOT_POSSIBLE
        except TimeoutError:
            return Asked.TOO_SLOW

    def package(self, package_id: str) -> Package | None:
        return next((package for package in self.packages if package.id == package_id), None)


SHOP: web.AppKey[Shop] = web.AppKey("shop", Shop)
