"""A forward that does not get through by its deadline is told loudly; credits are not touched."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from node_watcher.forwarding.desk import Desk
from payments.coin import Coin
from payments.sweep_plan import is_late
from storage import late_forwards

log = logging.getLogger("nodetill")


class Lateness:
    """Compares what should have arrived with what was told."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def tell(self, staying: Iterable[Coin]) -> None:
        """`staying` are coins that no sweep claims and that should have gone."""
        desk = self._desk
        now = desk.clock()
        late = {coin.outpoint for coin in staying if is_late(coin, desk.rules, now)}
        late |= await desk.database.read(late_forwards.in_unmined_sweeps, now - desk.rules.deadline_ms)
        told = await desk.database.read(late_forwards.told)
        if fresh := late - told:
            for payment_id in await desk.database.write(late_forwards.record_late, fresh, now):
                desk.meter.forward("failed")
                log.error(
                    "Payment %s is credited, and its coins are not with the owner after forwarding.deadline_hours; "
                    "see `nodetill forward plan`",
                    payment_id,
                )
        if arrived := told - late:
            await desk.database.write(late_forwards.record_arrived, arrived)
