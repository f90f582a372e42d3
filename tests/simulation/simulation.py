"""One history: the till in the simulated world, checked after every step, and at the end against the oracle."""

from __future__ import annotations

import asyncio
import atexit
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from node_watcher.audit import Auditor
from node_watcher.blocks import BlockSource
from node_watcher.chain_rules import rules_of
from node_watcher.chain_scan import ChainScan
from node_watcher.look import Looked
from node_watcher.watchlist import Watchlist
from payments.facts import Resolution
from payments.model import ExcessPolicy, LatePolicy, Terms
from payments.resolution import NotPossible
from storage import payments
from storage.credits import balance_of
from storage.migrate import migrate
from storage.records import payment_by_number
from storage.resolutions import resolve
from storage.spends import InsufficientCredits, spend_credits
from storage.sqlite import SqliteEngine
from storage.tx import Context
from tests.simulation import oracle
from tests.simulation.coins import Out, make_tx
from tests.simulation.draws import Action, Draws
from tests.simulation.network import MINUTE, Payable
from tests.simulation.points import Crashed, Points, Trouble
from tests.simulation.rpc import SimulatedRpc
from tests.simulation.steps import StepCheck
from tests.simulation.till import OWNER_ADDRESS, OneThread, Process, derive
from tests.simulation.world import FULL, World

WORLDLY = (
    *("pay", "replace", "evict", "relay", "mine", "reorganise", "rival", "extend_rival", "wait"),
    *("node_stops", "node_starts", "node_lags", "node_regresses", "node_hears"),
)
"""What can happen outside of the till, also between two of its calls."""
_MOSTLY = ("mine", "mine", "mine", "mine", "reorganise", "reorganise", "replace", "pay", "extend_rival", *WORLDLY)
"""Of what happens in the middle of a look, most moves the tip."""
OURS = ("create", "look", "hear", "restart", "spend", "resolve")
_TROUBLES = (Trouble.WORLD, Trouble.FAIL, Trouble.CRASH, Trouble.WORLD, Trouble.PAUSE)
T = TypeVar("T")
_USERS = ("ann", "bob")
_MEMORY = Path("/dev/shm")
_LOOKS_AT_MOST = 12


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The one loop of this process, which has no other threads. It stays open: making one takes longer than a step."""
    loop = asyncio.new_event_loop()
    loop.set_default_executor(OneThread(1))
    atexit.register(loop.close)
    return loop


@cache
def _new_database() -> bytes:
    """The file of a till that was never started: the schema is made once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.db"
        SqliteEngine(path, Context()).connect().close()
        migrate(SqliteEngine(path, Context()))
        return path.read_bytes()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end. What waits for nothing needs no loop."""
    try:
        work.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    raise AssertionError("this waits for something: run it in the loop")


def run_in_loop(work: Coroutine[Any, Any, T]) -> T:
    return _loop().run_until_complete(work)


class Simulation:
    """`do` actions, then `finish`. Raises AssertionError where a rule is broken, and whatever a bug raises."""

    def __init__(self, *, forwarding: bool = False) -> None:
        self.forwarding = forwarding
        self.folder = tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None)
        self.path = Path(self.folder.name) / "till.db"
        self.path.write_bytes(_new_database())
        self.world = World()
        self.rules = replace(rules_of("regtest"), genesis=self.world.genesis.hash)
        self.points = Points(self._surprise)
        self.rpc = SimulatedRpc(self.world.node, self.points, self._address_of)
        self.surprises: list[Action] = []
        self.steps = StepCheck(self.world)
        self.spent = 0
        self.process = run_in_loop(self._started())

    async def _started(self) -> Process:
        self.points.dead = False
        return await Process(
            self.path, self.rpc, self.rules, self.points, lambda: self.world.now, forwarding=self.forwarding
        ).start()

    def close(self) -> None:
        run_in_loop(self.process.stop())
        self.folder.cleanup()

    def _address_of(self, script: bytes) -> str | None:
        return next((p.address for p in self.world.payables if p.script == script), None)

    def _surprise(self) -> None:
        if self.surprises:
            self.happen(self.surprises.pop(0))
            self.steps.absent |= self.world.absent()

    # ------------------------------------------------------------------ what happens

    def do(self, action: Action) -> None:
        """One action, then the rules."""
        if action.name in OURS:
            getattr(self, f"_{action.name}")(Draws(action.numbers))
        else:
            self.happen(action)
        run(self.process.database.read(self.steps.check))

    def happen(self, action: Action) -> None:
        assert action.name in WORLDLY, action
        getattr(self.world, action.name)(Draws(action.numbers))

    def _create(self, draws: Draws) -> None:
        """Somebody wants to buy: price, depth, policies and tolerance as the shop has them just now."""
        if len(self.world.payables) >= 6:
            return
        now, price = self.world.now, draws.pick((FULL, FULL, 7_000, 300_000))
        required = draws.pick((2, 1, 3, 6))
        terms = Terms(
            amount_sat=price,
            credits=draws.pick((400, 1, 33)),
            confirmations_required=required,
            tolerance_sat=draws.pick((0, 0, 1, 500)),
            late=draws.pick((LatePolicy.CREDIT, LatePolicy.HOLD)),
            excess=draws.pick((ExcessPolicy.CREDIT, ExcessPolicy.KEEP)),
            created_at=now,
            expires_at=now + draws.pick((60, 60, 15)) * MINUTE,
            tiers=draws.pick(((), (), ((2 * price, required + 2),), ((price, required + 1), (2 * price, 8)))),
        )
        wanted = payments.NewPayment(draws.pick(_USERS), "small", "{}", terms, 1_000)
        made = run(self.process.database.write(payments.create, wanted, self.process.keychain, derive, now))
        script, address = derive(made.address_index)
        self.world.payables.append(Payable(made.number, script, address, price))
        self.steps.promise(made.number, made.user_id, terms)

    def _spend(self, draws: Draws) -> None:
        user = draws.pick(_USERS)
        database = self.process.database
        if balance := run(database.read(balance_of, user)):
            self.spent += 1
            amount = 1 + draws.below(max(1, balance))
            with suppress(InsufficientCredits):
                run(database.write(spend_credits, user, amount, f"order {self.spent}", self.world.now))

    def _resolve(self, draws: Draws) -> None:
        """The operator decides about a payment, or about one coin of it, or is refused."""
        if not self.world.payables:
            return
        database = self.process.database
        payment = run(database.read(payment_by_number, draws.pick(self.world.payables).number))
        action, known = draws.pick((Resolution.CREDIT, *Resolution)), payment.facts.outputs
        coins = [draws.pick(known).outpoint] if known and draws.chance(30) else None
        refund = f"{draws.below(10_000):064}" if action is Resolution.REFUNDED else None
        with suppress(NotPossible):
            done = run(
                database.write(resolve, payment.id, action, "because", self.world.now, refund_txid=refund, coins=coins)
            )
            if not done.repeated:
                self.steps.decide(action, done.decision.coins)

    def _restart(self, draws: Draws) -> None:
        run_in_loop(self.process.stop())
        self.process = run_in_loop(self._started())

    def _hear(self, draws: Draws) -> None:
        """Hints arrive, in their order or another, once or twice, or never; some are forged."""
        self._step({}, look=False, heard=self._heard(draws))

    def _look(self, draws: Draws) -> None:
        """A look at the node with some trouble on its way, perhaps with hints arriving at the same time."""
        plan = {}
        for _ in range(draws.pick((0, 0, 1, 2, 4))):
            plan[draws.below(draws.pick((14, 30, 60)))] = draws.pick(_TROUBLES)
        heard = self._heard(draws) if draws.chance(30) else []
        self.rpc.feerate = draws.pick((2, 2, 1, 20, 80))
        numbers = draws.rest()
        self.surprises = [
            Action(_MOSTLY[first % len(_MOSTLY)], (*numbers[place + 1 :], *numbers[:place]))
            for place, first in enumerate(numbers)
        ]
        self._step(plan, look=True, heard=heard)

    def _heard(self, draws: Draws) -> list[bytes]:
        waiting, self.world.hints = self.world.hints, []
        heard = draws.some(waiting)
        if draws.chance(30):
            heard = [*reversed(heard), *heard[:2]]
        if self.world.payables and draws.chance(20):
            to = draws.pick(self.world.payables)
            coin = next(iter(self.world.best.unspent))
            forged = make_tx((coin,), (Out(to.amount_sat, to.script),), fee_sat=0, salt=draws.below(1_000_000))
            self.steps.forged.add(forged.txid)
            heard += [forged.raw, forged.raw[:-5]]
        return heard

    def _step(self, plan: dict[int, Trouble], *, look: bool, heard: list[bytes]) -> Looked | None:
        self.steps.begin()
        try:
            looked: Looked | None = run_in_loop(self.process.step(plan, look=look, heard=heard))
        except Crashed:
            self._restart(Draws(()))
            looked = None
        self.steps.looked = looked
        return looked

    # ------------------------------------------------------------------ the end

    def finish(self) -> None:
        """Heal everything, look until nothing is left to do, and hold the till against the chain."""
        self.world.heal()
        self._look_until_quiet()
        self._compare()
        before = run(self.process.database.read(oracle.snapshot))
        for _ in range(2):
            assert self._step({}, look=True, heard=list(self.world.hints)) is not None
        after = run(self.process.database.read(oracle.snapshot))
        changed = {table: set(after[table]) ^ set(before[table]) for table in after if after[table] != before[table]}
        assert not changed, f"I6: a look with nothing new changed {changed}"
        self.world.mine(Draws(()))  # all that waits, and so many on top that nothing is only half deep any more
        for _ in range(oracle.blocks_until_final(self.world, self.steps.promises) - 1):
            self.world.mine(Draws((0, 1)))
        self._look_until_quiet()
        self._compare()
        self._audit()

    def _look_until_quiet(self) -> None:
        for _ in range(_LOOKS_AT_MOST):
            looked = self._step({}, look=True, heard=[])
            run(self.process.database.read(self.steps.check))
            if looked is not None and looked.complete:
                break
            if looked is not None and any(reason.code == "node-behind" for reason in looked.reasons):
                self.world.mine(Draws((0, 1)))  # it went on without our block: until it is higher, it may come back
        else:
            raise AssertionError(f"the till does not come to rest: {looked}")
        if self.forwarding:  # credits of this look are in the books; what they made possible comes with the next
            self._step({}, look=True, heard=[])
            run(self.process.database.read(self.steps.check))

    def _compare(self) -> None:
        expected = oracle.Oracle(self.world, self.steps.promises, self.steps.decided)
        records = [run(self.process.database.read(payment_by_number, p.number)) for p in self.world.payables]
        run(self.process.database.read(oracle.check_quiet))
        expected.compare(records, self.forwarding)
        balances = {user: run(self.process.database.read(balance_of, user)) for user in _USERS}
        run(self.process.database.read(expected.compare_ledger, balances))

    def _audit(self) -> None:
        """The till's own audit reads every block: what spent each coin, sweeps, states, the ledger's hashes."""
        database = self.process.database
        scan = ChainScan(self.rpc, BlockSource(self.rpc), Watchlist(database))
        done = run_in_loop(
            Auditor(self.rpc, scan, database, network="regtest", destination=OWNER_ADDRESS).run(full=True)
        )
        assert not done.differences, done.differences
        assert done.findings.comparable
