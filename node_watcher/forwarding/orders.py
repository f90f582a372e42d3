"""The operator's orders are carried out and answered."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from node_watcher.forwarding.desk import Desk
from node_watcher.forwarding.feerate import Feerates
from node_watcher.forwarding.replacing import Replacing
from node_watcher.forwarding.sweeping import Sweeping
from payments.model import BlockId
from storage import forward_orders, sweep_versions, waiting_sweeps
from storage.forward_orders import Answer, Order

log = logging.getLogger("nodetill")


class Orders:
    """Each is one of `run` (sweep now, without waiting for company) and `bump` (offer more for a sweep)."""

    def __init__(self, desk: Desk, sweeping: Sweeping, replacing: Replacing) -> None:
        self._desk = desk
        self._sweeping = sweeping
        self._replacing = replacing

    async def carry_out(self, orders: Sequence[Order], rates: Feerates, tip: BlockId) -> int:
        """How many sweeps were broadcast."""
        sent = 0
        for order in orders:
            done, answer = await (self._run(rates, tip) if order.kind == "run" else self._bump(order, rates, tip))
            sent += done
            await self._finish(order, answer)
        return sent

    async def refuse(self, orders: Sequence[Order], sentence: str) -> None:
        for order in orders:
            await self._finish(order, Answer(False, sentence))

    async def _finish(self, order: Order, answer: Answer) -> None:
        await self._desk.database.write(forward_orders.answer_order, order.number, answer, self._desk.clock())
        log.info("The operator's order to %s: %s", order.kind, answer.sentence)

    async def _run(self, rates: Feerates, tip: BlockId) -> tuple[int, Answer]:
        coins = await self._sweeping.coins()
        if not coins:
            return 0, Answer(True, "no coin waits to be forwarded")
        self._sweeping.try_again()
        sent, held = await self._sweeping.sweep(coins, rates.now, tip, at_once=True)
        parts = [f"{sent} sweeps were broadcast"] if sent else []
        if held:
            reasons = sorted({entry.reason for entry in held})
            more = f" (and {len(reasons) - 3} more reasons)" if len(reasons) > 3 else ""
            parts.append(f"{len(held)} coins stay: {'; '.join(reasons[:3])}{more}")
        return sent, Answer(bool(sent) or not held, "; ".join(parts) or "nothing was left to do")

    async def _bump(self, order: Order, rates: Feerates, tip: BlockId) -> tuple[int, Answer]:
        read = self._desk.database.read
        asked = await read(sweep_versions.sweep_by_txid, order.txid or "")
        if asked is None:
            return 0, Answer(False, f"{order.txid} is no sweep of this till")
        if (mined := await read(sweep_versions.mined_version, asked.family)) is not None:
            return 0, Answer(False, f"{mined} is in a block already")
        for head, coins in await read(waiting_sweeps.in_mempool, tip.height):
            if head.family != asked.family:
                continue
            if head.replaces is not None and head.created_at >= order.asked_at:
                return 0, Answer(True, f"{head.txid} replaces it for a fee of {head.fee_sat} sat")
            said, sent = await self._replacing.bump(head, coins, rates.now, rates.increment, tip, asked=True)
            return sent, Answer(bool(sent), said or "nothing was to be done")
        return 0, Answer(False, f"{asked.txid} is not in the mempool with coins that are final; nothing was changed")
