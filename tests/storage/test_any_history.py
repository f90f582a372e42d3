"""Whatever order the world chooses: Hypothesis drives the real storage with a small simulated chain.

Blocks, reorganisations, replacements, evictions, hints that come or do not, windows that close,
restarts in the middle. The invariants hold after each step (`SmallShop` checks them), and at the tip
the ledger agrees with the chain.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from payments.difference import Check, Difference
from payments.facts import Resolution
from payments.model import ExcessPolicy, IncomingTx, LatePolicy, OutPoint, OutputState
from payments.record import PaymentRecord
from payments.resolution import NotPossible, coins_to_decide
from payments.status import credits_for
from storage import incoming, recorded
from storage.attention import concerns
from storage.credits import balance_of
from storage.database import Database
from storage.resolutions import resolve
from storage.spends import spend_credits
from tests.storage.conftest import CONTEXT
from tests.storage.small_shop import FULL, MINUTE, SmallShop, paying

COINS = [f"c{n}" for n in range(6)]
MEMORY = Path("/dev/shm")
AMOUNTS = st.sampled_from([1, FULL // 2, FULL - 1, FULL, FULL + 150, 3 * FULL])
PICK = st.integers(0, 5)
PROMISE: dict[str, Any] = {
    "late": st.sampled_from(LatePolicy),
    "excess": st.sampled_from(ExcessPolicy),
    "tolerance": st.sampled_from([0, 1]),
}


class World(RuleBasedStateMachine):
    """A node's mempool and chain as plain lists, and the till that follows them."""

    watch_only = True

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        # In memory where the system has such a folder: no history here cuts the power.
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.mempool: dict[str, IncomingTx] = {}
        self.chain: list[list[IncomingTx]] = []
        self.payments: list[PaymentRecord] = []
        self.decided: dict[OutPoint, Resolution] = {}
        self.made = 0
        self.spent = 0
        self.database = self._opened()
        self.shop = SmallShop(self.database, watch_only=self.watch_only)
        self.run(self.shop.open())

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def _opened(self) -> Database:
        database = Database(f"sqlite:///{Path(self.folder.name) / 'till.db'}", CONTEXT, leader=True)
        return self.run(database.__aenter__())  # type: ignore[no-any-return]

    def teardown(self) -> None:
        self.at_tip()
        self.run(self.database.__aexit__(None, None, None))
        self.runner.close()
        self.folder.cleanup()

    # What people do

    @initialize(**PROMISE)
    def first(self, late: LatePolicy, excess: ExcessPolicy, tolerance: int) -> None:
        self._create(late, excess, tolerance)

    @precondition(lambda self: len(self.payments) < 3)
    @rule(**PROMISE)
    def create(self, late: LatePolicy, excess: ExcessPolicy, tolerance: int) -> None:
        self._create(late, excess, tolerance)

    def _create(self, late: LatePolicy, excess: ExcessPolicy, tolerance: int) -> None:
        user = f"u{len(self.payments) % 2}"
        made = self.shop.create(user, late=late, excess=excess, tolerance_sat=tolerance)
        self.payments.append(self.run(made))

    @precondition(lambda self: self.payments)
    @rule(to=st.lists(st.tuples(PICK, AMOUNTS), min_size=1, max_size=3), coins=st.sets(PICK, min_size=1, max_size=2))
    def pay(self, to: list[tuple[int, int]], coins: set[int]) -> None:
        """A transaction enters the node's mempool; what spends the same coins there is replaced."""
        self._enter([(self.payments[n % len(self.payments)], sat) for n, sat in to], coins, hint=True)

    @precondition(lambda self: self.payments)
    @rule(to=PICK, coin=PICK)
    def buy(self, to: int, coin: int) -> None:
        """The usual way, at once: paid in full, mined, confirmed, booked."""
        tx = self._enter([(self.payments[to % len(self.payments)], FULL)], {coin}, hint=True)
        if tx is not None:
            self._mine([tx.txid])
            self._mine([])
            self._mine([])
            self.at_tip()

    @precondition(lambda self: self.payments)
    @rule(to=PICK, sat=AMOUNTS, coin=PICK)
    def pay_unnoticed(self, to: int, sat: int, coin: int) -> None:
        """The hint was lost: only the pass at the tip, or a block, will tell."""
        self._enter([(self.payments[to % len(self.payments)], sat)], {coin}, hint=False)

    @rule(coin=PICK, hint=st.booleans())
    def take_back(self, coin: int, hint: bool) -> None:
        self._enter([], {coin}, hint=hint)

    @rule(amount=st.sampled_from([1, 100, 400]), user=st.sampled_from(["u0", "u1"]))
    def spend(self, amount: int, user: str) -> None:
        if self.run(self.database.read(balance_of, user)) >= amount:
            self.spent += 1
            self.run(self.database.write(spend_credits, user, amount, f"order-{self.spent}", self.shop.now))

    @precondition(lambda self: self.payments)
    @rule(to=PICK, sat=AMOUNTS, coin=PICK, deep=st.booleans(), words=st.lists(st.sampled_from(Resolution), max_size=3))
    def pay_late(self, to: int, sat: int, coin: int, deep: bool, words: list[Resolution]) -> None:
        """What a decision is mostly about, at once; and the operator changes his mind."""
        self.wait(61, looked=True)
        tx = self._enter([(self.payments[to % len(self.payments)], sat)], {coin}, hint=True)
        for _ in range(3 if tx is not None and deep else 0):
            self._mine([tx.txid] if tx is not None and tx.txid in self.mempool else [])
        self.at_tip()
        for word in words:
            self._resolve(to, word, 0, all_of_them=True)

    @precondition(lambda self: self.payments)
    @rule(of=PICK, action=st.sampled_from(Resolution), which=PICK, all_of_them=st.booleans())
    def resolve(self, of: int, action: Resolution, which: int, all_of_them: bool) -> None:
        """The operator decides, whatever is going on."""
        self._resolve(of, action, which, all_of_them=all_of_them)

    def _resolve(self, of: int, action: Resolution, which: int, *, all_of_them: bool) -> None:
        """What is not possible is refused and changes nothing."""
        payment = self.run(self.shop.payment(self.payments[of % len(self.payments)].number))
        known = payment.facts.outputs
        coins = None if all_of_them or not known else [known[which % len(known)].outpoint]
        refund = "f" * 60 + f"{len(self.decided):04}" if action is Resolution.REFUNDED else None
        before = self.run(self.database.read(recorded.fingerprint))
        try:
            done = self.run(
                self.database.write(
                    resolve, payment.id, action, "because", self.shop.now, refund_txid=refund, coins=coins
                )
            )
        except NotPossible:
            assert self.run(self.database.read(recorded.fingerprint)) == before
            return
        if done.repeated:
            assert self.run(self.database.read(recorded.fingerprint)) == before
            return
        assert done.payment.facts.credits_posted == payment.facts.credits_posted
        for coin in done.decision.coins:
            assert self.decided.get(coin) in (None, Resolution.CREDIT), "a coin that was set aside is decided again"
            self.decided[coin] = action
        self.run(self.shop.check())

    # What the network does

    @precondition(lambda self: self.mempool)
    @rule(which=PICK)
    def evict(self, which: int) -> None:
        txids = sorted(self.mempool)
        del self.mempool[txids[which % len(txids)]]

    @rule(chosen=st.sets(PICK), empty=st.integers(0, 3))
    def mine(self, chosen: set[int], empty: int) -> None:
        self._mine(self._some_of_mempool(chosen))
        for _ in range(empty):
            self._mine([])

    @precondition(lambda self: self.chain)
    @rule(
        depth=st.integers(1, 4),
        branch=st.lists(st.sets(PICK), max_size=6),
        thief=st.booleans(),
        restart=st.booleans(),
    )
    def reorganise(self, depth: int, branch: list[set[int]], thief: bool, restart: bool) -> None:
        stale: list[IncomingTx] = []
        for _ in range(min(depth, len(self.chain))):
            self.run(self.shop.undo())
            stale += self.chain.pop()
        self.mempool |= {tx.txid: tx for tx in stale}
        if restart:
            self.restart()
        robbed = [coin.txid.removeprefix("coin-") for tx in stale for coin in tx.prevouts[:1]]
        if thief and (coins := [COINS.index(coin) for coin in robbed if coin in COINS]):
            self._enter([], {coins[0]}, hint=False)
        for chosen in branch:
            self._mine(self._some_of_mempool(chosen))

    @rule(minutes=st.sampled_from([1, 59, 61]), looked=st.booleans())
    def wait(self, minutes: int, looked: bool) -> None:
        self.shop.now += minutes * MINUTE
        if looked:
            self.run(self.shop.close_windows())

    # What the till does

    @rule()
    def restart(self) -> None:
        self.run(self.database.__aexit__(None, None, None))
        self.database = self.shop.database = self._opened()

    @rule()
    def book_in_between(self) -> None:
        self.run(self.shop.book())

    @rule()
    def at_tip(self) -> None:
        """The pass at the tip, as the watcher makes it; then the oracle."""
        believed = set(self.run(self.database.read(incoming.in_mempool)))
        for txid in sorted(believed - self.mempool.keys()):
            self.run(self.shop.miss(txid, self._spender_of(txid)))
        for txid in sorted(self.mempool.keys() - believed):
            self.run(self.shop.see(self.mempool[txid]))
        self.run(self.shop.at_tip())
        for payment in self.payments:
            self._compare(self.run(self.shop.payment(payment.number)))
        for user in ("u0", "u1"):
            self._compare_balance(user)
        for full in (True, False):
            assert self._told(full=full) == []

    @invariant()
    def an_audit_cries_no_wolf(self) -> None:
        """At any moment, in the middle of a reorganisation too: only what waits to be booked may be told."""
        assert [d for d in self._told() if d.check is not Check.CREDITS_DUE] == []

    def _told(self, *, full: bool = True) -> list[Difference]:
        """What an audit finds, but for that made-up sweeps have no bytes to be read."""
        differences = self.run(self.shop.audit(full=full)).differences
        return [d for d in differences if not (d.check is Check.SWEEP and "cannot be read" in d.detail)]

    def _compare(self, payment: PaymentRecord) -> None:
        """What the till says of a payment against what is in the chain and the mempool."""
        script = paying("x", (payment, 1)).outputs[0].script_pubkey
        tip = len(self.chain)
        depth = {tx.txid: tip - height for height, block in enumerate(self.chain) for tx in block}
        there = {
            (tx.txid, out.vout): out.value_sat
            for tx in [*(tx for block in self.chain for tx in block), *self.mempool.values()]
            for out in tx.outputs
            if out.script_pubkey == script
        }
        live = {o.outpoint: o for o in payment.facts.outputs if o.live}
        assert {p: o.value_sat for p, o in live.items()} == there
        assert payment.state.received_sat == sum(there.values())
        for outpoint, fact in live.items():
            deep = depth.get(outpoint.txid, 0)
            assert fact.state is (OutputState.CONFIRMED if deep else OutputState.MEMPOOL)
            assert fact.depth(payment.tip_height) == deep
            assert fact.booked or deep < 3, "deep enough and not booked: a lost payment"
            assert not fact.booked or deep, "booked and not in the chain"
        assert not any(o.booked for o in payment.facts.outputs if not o.live)
        assert {o.outpoint: o.decision for o in payment.facts.outputs if o.decision} == {
            o.outpoint: self.decided[o.outpoint] for o in payment.facts.outputs if o.outpoint in self.decided
        }
        terms, setting_aside = payment.facts.terms, (Resolution.IGNORE, Resolution.REFUNDED)
        kept = [
            o.value_sat for o in payment.facts.outputs if o.booked and self.decided.get(o.outpoint) not in setting_aside
        ]
        assert payment.facts.credits_posted <= credits_for(terms, sum(kept)), "credits for what was sent back"
        for one in self.run(self.database.read(concerns)):
            found = next(p for p in self.payments if p.id == one.payment_id)
            assert self._may_be_decided(found.number), "on the list, and nothing can be done about it"

    def _may_be_decided(self, number: int) -> bool:
        record = self.run(self.shop.payment(number))
        try:
            coins_to_decide(record.facts, record.state, Resolution.IGNORE)
        except NotPossible:
            return False
        return True

    def _compare_balance(self, user: str) -> None:
        def credited_and_spent(tx: Any) -> int:
            rows = tx.all("SELECT credits FROM transfer WHERE user_id = :user", user=user)
            return sum(row["credits"] for row in rows)

        balance = self.run(self.database.read(balance_of, user))
        assert balance == self.run(self.database.read(credited_and_spent))

    # The simulated node

    def _coins_in_chain(self) -> set[str]:
        return {p.txid for block in self.chain for tx in block for p in tx.prevouts}

    def _enter(self, to: list[tuple[PaymentRecord, int]], coins: set[int], *, hint: bool) -> IncomingTx | None:
        names = {COINS[n] for n in coins} - {c.removeprefix("coin-") for c in self._coins_in_chain()}
        if not names:
            return None
        self.made += 1
        tx = paying(f"t{self.made:03}", *to, spends=sorted(names))
        conflicts = [t for t, other in self.mempool.items() if set(other.prevouts) & set(tx.prevouts)]
        for txid in conflicts:
            del self.mempool[txid]
        self.mempool[tx.txid] = tx
        if hint:
            self.run(self.shop.see(tx))
        return tx

    def _spender_of(self, txid: str) -> str | None:
        lost = set(self.run(self.database.read(incoming.prevouts_of, txid)))
        return next((t for t, other in self.mempool.items() if set(other.prevouts) & lost), None)

    def _some_of_mempool(self, chosen: set[int]) -> list[str]:
        txids = sorted(self.mempool)
        return sorted({txids[n % len(txids)] for n in chosen}) if txids else []

    def _mine(self, txids: list[str]) -> None:
        mined = [self.mempool.pop(txid) for txid in txids]
        self.run(self.shop.mine(*mined))
        self.chain.append(mined)


TestAnyHistory = World.TestCase
TestAnyHistory.settings = settings(
    max_examples=50, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyHistory = pytest.mark.timeout(400)(TestAnyHistory)
