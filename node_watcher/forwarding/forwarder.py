"""Forwarding mode: sweeps what was credited to the owner's address.

Sign, store, broadcast, in that order and never otherwise. Forwarding never touches a credit.
"""

from __future__ import annotations

from node_watcher.clock import Clock, now_ms
from node_watcher.forwarding.adoption import Adoption
from node_watcher.forwarding.desk import Desk, Destination
from node_watcher.forwarding.feerate import feerates
from node_watcher.forwarding.lateness import Lateness
from node_watcher.forwarding.offers import Offers
from node_watcher.forwarding.orders import Orders
from node_watcher.forwarding.replacing import Replacing
from node_watcher.forwarding.sweeping import Sweeping
from node_watcher.meter import Meter
from node_watcher.rpc import Rpc
from node_watcher.signing.signer import Signer
from payments.coin import Coin
from payments.forward import ForwardRules
from payments.model import BlockId
from payments.sweep_plan import VsizeOf
from storage import forward_orders
from storage.database import Database

__all__ = ["Destination", "Forwarder"]

NOBODY_SIGNS = "nobody signs here: `forward psbt` hands out what is to be signed, and takes it back"


class Forwarder:
    """Moves booked coins of one keychain to the owner."""

    def __init__(
        self,
        rpc: Rpc,
        database: Database,
        signer: Signer | None,
        destination: Destination,
        rules: ForwardRules,
        *,
        keychain_id: int,
        network: str,
        meter: Meter | None = None,
        clock: Clock = now_ms,
        size: VsizeOf | None = None,
    ) -> None:
        """Without a `signer` nothing is signed here: what was signed elsewhere and stored is kept alive, and what does
        not arrive in time is told."""
        self._desk = Desk(
            rpc, database, signer, destination, rules, keychain_id, network, meter or Meter(), clock, size
        )
        self._offers = Offers(self._desk)
        self._adoption = Adoption(self._desk)
        self._sweeping = Sweeping(self._desk, self._offers, self._adoption)
        self._replacing = Replacing(self._desk, self._offers)
        self._orders = Orders(self._desk, self._sweeping, self._replacing)
        self._lateness = Lateness(self._desk)

    async def forward_due(self, tip: BlockId) -> int:
        """One round at the tip: offer again what is stored, replace what is stuck, sign what is due. How many
        sweeps were broadcast."""
        desk = self._desk
        await self._adoption.of_blocks(tip)
        sent = await self._offers.keep_alive()
        work = await desk.database.read(forward_orders.work_for, tip.height - desk.rules.target_blocks)
        if desk.signer is None:
            await self._orders.refuse(work.orders, NOBODY_SIGNS)
            await self._lateness.tell(await self._waiting_elsewhere())
            return sent
        coins = [] if work.paused else await self._sweeping.coins()
        if not work.paused and (coins or work.waiting or work.orders):
            rates = await feerates(desk.rpc, desk.rules.target_blocks, desk.network)
            sent += await self._orders.carry_out(work.orders, rates, tip)
            if work.waiting:
                sent += await self._replacing.replace_due(rates.now, rates.increment, tip)
            if coins := await self._sweeping.coins() if work.orders else coins:
                done, held = await self._sweeping.sweep(coins, rates.now, tip)
                sent += done
                coins = [entry.coin for entry in held if not entry.kept]
        elif work.orders:
            await self._orders.refuse(work.orders, "forwarding is paused: `forward resume` lets it go on")
        await self._lateness.tell(coins)
        return sent

    async def _waiting_elsewhere(self) -> list[Coin]:
        """Coins that somebody should have signed for; not the hot balance."""
        desk, coins = self._desk, await self._sweeping.coins()
        if not coins or not desk.rules.hold_sat:
            return coins
        rates = await feerates(desk.rpc, desk.rules.target_blocks, desk.network)
        kept = {entry.coin.outpoint for entry in self._sweeping.plan(coins, rates.now).held if entry.kept}
        return [coin for coin in coins if coin.outpoint not in kept]
