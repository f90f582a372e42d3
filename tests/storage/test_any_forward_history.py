"""The same world in forwarding mode: sweeps spend what was paid, and go and come with it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from payments.model import IncomingTx
from storage import sweep_versions, sweeps
from storage.coins_due import coins_due
from storage.sweep_versions import Sweep
from tests.storage.test_any_history import PICK, World

FEE = 110


class ForwardingWorld(World):
    """`sent` holds every sweep that was ever signed."""

    watch_only = False

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[str, IncomingTx] = {}

    @precondition(lambda self: self.payments)
    @rule()
    def forward(self) -> None:
        self.at_tip()
        shop = self.shop
        for coin in self.run(self.database.read(coins_due, shop.keychain, 100)):
            coins = [coin]
            value = sum(coin.value_sat for coin in coins)
            name = f"x{len(self.sent):03}"  # behind the payments of its block
            sweep = Sweep(name, b"", "stored", value, min(FEE, value - 1), shop.now)
            self.run(self.database.write(sweeps.store_sweep, sweep, coins, "bcrt1qowner", shop.now))
            self.sent[name] = IncomingTx(name, tuple(coin.outpoint for coin in coins), (), False)
        self.at_tip()

    @precondition(lambda self: self.payments)
    @rule(to=PICK, coin=PICK)
    def sell(self, to: int, coin: int) -> None:
        """The usual way, at once: bought, forwarded, and the sweep mined."""
        self.buy(to, coin)
        self.forward()
        self._mine(self._some_of_mempool(set(range(6))))

    @precondition(lambda self: self.payments)
    @rule(
        to=PICK, coin=PICK, deeper=st.integers(-1, 5), branch=st.lists(st.sets(PICK), max_size=9), thief=st.booleans()
    )
    def lose(self, to: int, coin: int, deeper: int, branch: list[set[int]], thief: bool) -> None:
        """The block of a payment that was sold is undone, mostly with that of its sweep."""
        self.sell(to, coin)
        self.at_tip()
        self.reorganise(4 + deeper, branch, thief, restart=False)
        self.at_tip()

    @rule()
    def at_tip(self) -> None:
        self._forget_orphans()
        super().at_tip()
        watched = self.run(self.database.read(sweep_versions.sweeps_to_watch))
        final = {
            row["txid"]
            for row in self.run(self.database.read(lambda tx: tx.all("SELECT * FROM sweep WHERE state = 'confirmed'")))
        }
        possible = {name for name, tx in self.sent.items() if self._there(tx)}
        assert {sweep.txid for sweep in watched} == possible - final
        self.mempool |= {name: self.sent[name] for name in possible if name not in self._in_chain()}
        for sweep in watched:
            self.run(self.database.write(sweeps.record_broadcast, sweep.txid, self.shop.now))
        self.run(self.database.write(sweeps.close_deep_sweeps))
        self.run(self.shop.check())
        for payment in self.payments:
            shown = self.run(self.shop.payment(payment.number))
            assert shown.forwarding_txid is None or shown.forwarding_txid in possible

    def _in_chain(self) -> set[str]:
        return {tx.txid for block in self.chain for tx in block}

    def _there(self, sweep: IncomingTx) -> bool:
        return {coin.txid for coin in sweep.prevouts} <= self._in_chain() | self.mempool.keys()

    def _forget_orphans(self) -> None:
        for name in self.sent.keys() & self.mempool.keys():
            if not self._there(self.sent[name]):
                del self.mempool[name]

    def _some_of_mempool(self, chosen: set[int]) -> list[str]:
        self._forget_orphans()
        names = super()._some_of_mempool(chosen)
        possible = self._in_chain() | set(names)
        return [n for n in names if n not in self.sent or {c.txid for c in self.sent[n].prevouts} <= possible]


TestAnyForwardHistory = ForwardingWorld.TestCase
TestAnyForwardHistory.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyForwardHistory = pytest.mark.timeout(400)(TestAnyForwardHistory)
