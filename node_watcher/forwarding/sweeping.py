"""New sweeps: what the plan says goes now is signed, stored and offered.

A coin that the signer or the node refuses does not hold up the others: a batch is halved until it is found.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from decimal import Decimal

from node_watcher.forwarding.adoption import Adoption
from node_watcher.forwarding.desk import Desk
from node_watcher.forwarding.drafts import draft, unspent
from node_watcher.forwarding.offers import Offers
from node_watcher.signing.signer import SignerDown, SignerError
from payments.coin import Coin
from payments.forward import fee_for, refusal
from payments.model import BlockId, OutPoint
from payments.sweep_plan import HeldCoin, Plan, is_late, plan
from storage import sweeps
from storage.coins_due import coins_due
from storage.errors import AlreadyThere

log = logging.getLogger("nodetill")
_EVERYTHING = 1_000_000
_SIGNED_AT_ONCE = 200
_REFUSALS_AT_ONCE = 24
_SPENT = "the node says that it is spent already, by whom nodetill does not know"


class Sweeping:
    """Moves booked coins that no sweep claims yet."""

    def __init__(self, desk: Desk, offers: Offers, adoption: Adoption) -> None:
        self._desk = desk
        self._offers = offers
        self._adoption = adoption
        self._refused: dict[OutPoint, str] = {}
        self._refused_at: BlockId | None = None

    async def coins(self) -> list[Coin]:
        """All of them, because what is held (dust of long ago) must not stand before what can go."""
        return await self._desk.database.read(coins_due, self._desk.keychain_id, _EVERYTHING)

    def try_again(self) -> None:
        """What was refused may be asked for once more at this tip."""
        self._refused = {}

    async def sweep(
        self, coins: Sequence[Coin], feerate: Decimal | None, tip: BlockId, *, at_once: bool = False
    ) -> tuple[int, list[HeldCoin]]:
        """How many sweeps were broadcast, and which coins stay, with the reason."""
        if self._refused_at != tip:
            self._refused, self._refused_at = {}, tip
        desk = self._desk
        planned = self.plan(coins, feerate, at_once=at_once)
        held = list(planned.held)
        todo: deque[Sequence[Coin]] = deque()
        for batch in planned.batches[:_SIGNED_AT_ONCE]:  # blocks and credits come first; the rest goes with the next
            there, gone = await unspent(desk, batch.coins)
            if not await self._adoption.of_mempool(gone):
                held += [HeldCoin(coin, _SPENT) for coin in gone]
            if there:
                todo.append(there)
        sent, refusals = 0, 0
        while todo:
            batch_coins = todo.popleft()
            try:
                sent += await self._one(batch_coins, feerate, tip)
            except SignerDown as error:
                held += [HeldCoin(coin, str(error)) for group in (batch_coins, *todo) for coin in group]
                break
            except (SignerError, AlreadyThere) as error:
                refusals += 1
                if len(batch_coins) > 1 and refusals < _REFUSALS_AT_ONCE:
                    half = len(batch_coins) // 2
                    todo.extendleft((batch_coins[half:], batch_coins[:half]))
                    continue
                held += [HeldCoin(coin, str(error)) for coin in batch_coins]
                self._refused |= {coin.outpoint: str(error) for coin in batch_coins}
        self._say(held)
        return sent, held

    def plan(self, coins: Sequence[Coin], feerate: Decimal | None, *, at_once: bool = False) -> Plan:
        """What goes now by the rules; coins that were refused at this tip wait for the next."""
        desk = self._desk
        waiting = [HeldCoin(coin, self._refused[coin.outpoint]) for coin in coins if coin.outpoint in self._refused]
        open_ = [coin for coin in coins if coin.outpoint not in self._refused]
        made = plan(open_, feerate, desk.rules, desk.vsize_of, desk.clock(), at_once=at_once)
        return Plan(made.batches, (*made.held, *waiting))

    async def _one(self, coins: Sequence[Coin], feerate: Decimal | None, tip: BlockId) -> int:
        desk = self._desk
        assert feerate is not None  # noqa: S101 - without one nothing is planned
        fee = fee_for(desk.vsize_of(len(coins)), feerate)
        late = any(is_late(coin, desk.rules, desk.clock()) for coin in coins)
        if (reason := refusal(sum(c.value_sat for c in coins), fee, desk.rules, late=late)) is not None:
            raise SignerError(reason)  # what is left of a batch is not worth it by itself
        sweep = await draft(desk, coins, fee, feerate, tip)
        # Another worker may have been faster: then its bytes are the ones that count.
        await desk.database.write(sweeps.store_sweep, sweep, list(coins), desk.destination.address, desk.clock())
        for coin in coins:
            desk.forget(f"held {coin.payment_id}")
        return await self._offers.offer(sweep)

    def _say(self, held: Iterable[HeldCoin]) -> None:
        desk, still = self._desk, set()
        for entry in held:
            about = f"held {entry.coin.payment_id}"
            still.add(about)
            if desk.is_news(about, entry.reason):
                desk.meter.forward("held")
                log.warning("Payment %s is not forwarded yet: %s", entry.coin.payment_id, entry.reason)
        desk.forget_others("held ", still)
