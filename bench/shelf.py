"""Many open payments, put straight into the database of a stopped service."""

from __future__ import annotations

import asyncio
import time

from payments.descriptor import RangedDescriptor
from payments.model import ExcessPolicy, LatePolicy, Terms
from regtest.service import RunningService
from storage import till as stored_till
from storage.database import Database
from storage.payments import NewPayment, create

_AT_ONCE = 500
_A_DAY_MS = 24 * 3600 * 1000


def stock(till: RunningService, count: int) -> None:
    """Open `count` payments of 40,000 sat that nobody will pay."""
    asyncio.run(_stock(till, count))


async def _stock(till: RunningService, count: int) -> None:
    descriptor = RangedDescriptor.parse(till.owner.descriptor, "regtest")
    async with Database(till.database_url) as database:
        now = time.time_ns() // 1_000_000
        keychain = await database.write(
            stored_till.keychain, descriptor.fingerprint, descriptor.text, watch_only=True, now=now
        )
        terms = Terms(40_000, 400, 3, 0, LatePolicy.CREDIT, ExcessPolicy.CREDIT, now, now + _A_DAY_MS)
        for start in range(0, count, _AT_ONCE):
            wanted = [
                NewPayment(f"shelf{number}", "small", "{}", terms, 10)
                for number in range(start, min(count, start + _AT_ONCE))
            ]
            await asyncio.gather(*(database.write(create, one, keychain, descriptor.derive, now) for one in wanted))
