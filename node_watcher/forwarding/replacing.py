"""Sweeps that do not arrive: offered again for more (BIP125), or made anew of the coins that are left."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from decimal import Decimal

from node_watcher.forwarding.desk import Desk
from node_watcher.forwarding.drafts import draft
from node_watcher.forwarding.offers import Offers
from node_watcher.signing.signer import SignerError
from payments.coin import Coin
from payments.fee_bump import Bump, Waiting, bump_of
from payments.forward import fee_for, feerate_refusal, refusal
from payments.model import BlockId
from payments.sweep_plan import is_late
from storage import sweeps, waiting_sweeps
from storage.errors import AlreadyThere
from storage.sweep_versions import Sweep

log = logging.getLogger("nodetill")


class Replacing:
    """Makes the next version of a sweep."""

    def __init__(self, desk: Desk, offers: Offers) -> None:
        self._desk = desk
        self._offers = offers
        self._refused: set[str] = set()
        self._refused_at: BlockId | None = None

    async def replace_due(self, feerate: Decimal | None, increment: Decimal, tip: BlockId) -> int:
        """Bump what has waited long enough, rebuild what is dead; how many were broadcast."""
        if self._refused_at != tip:
            self._refused, self._refused_at = set(), tip
        sent = 0
        read = self._desk.database.read
        for dead, coins in await read(waiting_sweeps.to_rebuild):
            if dead.txid not in self._refused:
                sent += await self._rebuild(dead, coins, feerate, tip)
        for head, coins in await read(waiting_sweeps.in_mempool, tip.height - self._desk.rules.target_blocks):
            if head.txid not in self._refused:
                said, done = await self.bump(head, coins, feerate, increment, tip)
                sent += done
                if said and not done:
                    self._warn(head, said)
        return sent

    async def bump(
        self,
        head: Sweep,
        coins: Sequence[Coin],
        feerate: Decimal | None,
        increment: Decimal,
        tip: BlockId,
        *,
        asked: bool = False,
    ) -> tuple[str | None, int]:
        """Replace the newest version of a sweep; what is to be said of it, and 1 when the node took it."""
        desk = self._desk
        late = any(is_late(coin, desk.rules, desk.clock()) for coin in coins)
        blocks, largest = tip.height - head.stored_height, desk.vsize_of(len(coins))
        facts = Waiting(head.value_sat, head.fee_sat, head.vsize, blocks, late, largest)
        verdict = bump_of(facts, feerate, increment, desk.rules, asked=asked)
        if not isinstance(verdict, Bump):
            return verdict.reason, 0
        try:
            sweep = await self._store(coins, verdict.fee_sat, None, tip, head)
        except (SignerError, AlreadyThere) as error:
            self._refused.add(head.txid)
            return str(error), 0
        done = await self._offers.offer(sweep)
        return f"{sweep.txid} replaces it for a fee of {sweep.fee_sat} sat", done

    async def _rebuild(self, dead: Sweep, coins: Sequence[Coin], feerate: Decimal | None, tip: BlockId) -> int:
        desk = self._desk
        if (reason := feerate_refusal(feerate, desk.rules)) is None:
            assert feerate is not None  # noqa: S101 - refused above
            fee = fee_for(desk.vsize_of(len(coins)), feerate)
            late = any(is_late(coin, desk.rules, desk.clock()) for coin in coins)
            reason = refusal(sum(coin.value_sat for coin in coins), fee, desk.rules, late=late)
        if reason is not None:
            self._warn(dead, f"a coin of it is gone, and the others wait: {reason}")
            return 0
        try:
            sweep = await self._store(coins, fee, feerate, tip, dead)
        except (SignerError, AlreadyThere) as error:
            self._refused.add(dead.txid)
            self._warn(dead, f"a coin of it is gone, and the others wait: {error}")
            return 0
        return await self._offers.offer(sweep)

    async def _store(
        self, coins: Sequence[Coin], fee: int, feerate: Decimal | None, tip: BlockId, replaces: Sweep
    ) -> Sweep:
        desk = self._desk
        sweep = await draft(desk, coins, fee, feerate, tip, replaces=replaces)
        await desk.database.write(sweeps.store_replacement, sweep, list(coins), desk.clock())
        return sweep

    def _warn(self, sweep: Sweep, reason: str) -> None:
        if self._desk.is_news(f"stuck {sweep.txid}", reason):
            self._desk.meter.forward("held")
            log.warning("Sweep %s does not arrive: %s", sweep.txid, reason)
