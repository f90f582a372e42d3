"""Five hundred payments go to the owner, while service and node are killed on the way: no satoshi is missing.

Who signs is a `Hand` (`hand.py`). The rules bind: at five satoshi for a virtual byte, which the node asks for, some
coins are not worth their input, batches are full, and a sweep that waits reaches the cap with its second bump.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from regtest.bitcoind_source import BitcoindPrograms
from regtest.coin_balance import agrees, balance_on_chain
from regtest.conftest import MakeUrl, SteadyNode
from regtest.crashing_service import Armed, CrashingService, Nursery
from regtest.crowd import PACKAGES, PAYMENTS, SMALL, Crowd
from regtest.deaths import Deaths
from regtest.hand import Hand, ItsOwnHand, plan
from regtest.node import RegtestNode
from regtest.witnessed_blocks import WitnessedBlocks
from storage import sweep_versions
from storage.database import Database
from storage.sweep_versions import Sweep
from storage.sweeps import FINAL_DEPTH

DEPTH = 2
AIM_BLOCKS = 2
PER_BATCH = 50
CAP = Decimal("8.4")
"""From 5 sat/vB two bumps by a quarter come to 7.8, and a third one would need 8.8."""
MIXED = 499
HOT_SAT = 3_000_000

RULES: dict[str, Any] = {
    "max_feerate": float(CAP),
    "target_blocks": AIM_BLOCKS,
    "max_fee_share": 3,
    "batch_max_inputs": PER_BATCH,
    "min_sat": 1_000,
}
SETTINGS: dict[str, Any] = {
    "payments": {"check_interval_seconds": 0.2, "confirmations_required": DEPTH, **PAYMENTS},
    "packages": [
        {"id": one.id, "name": one.id, "price_sat": one.price_sat, "credits": one.credits} for one in PACKAGES
    ],
}


@pytest.fixture
def forgetful_node(bitcoind_binary: BitcoindPrograms) -> Iterator[RegtestNode]:
    """It asks for 5 sat/vB, as everybody pays, and starts with an empty mempool. One for each scenario: what another
    one paid to get through would be in its estimates."""
    arguments = ["-minrelaytxfee=0.00005", "-persistmempool=0"]
    with SteadyNode(bitcoind_binary, extra_args=arguments) as node:
        yield node.fund(60)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as made:
        yield made


@pytest.fixture
def make_crashing(
    forgetful_node: RegtestNode, nursery: Nursery, make_database: MakeUrl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., CrashingService]]:
    made: list[CrashingService] = []

    def make(engine: str, rules: dict[str, Any]) -> CrashingService:
        settings = {**SETTINGS, "forwarding": rules}
        folder, url = tmp_path_factory.mktemp("money-out"), make_database(engine)
        made.append(CrashingService(nursery, forgetful_node, url, mode="forwarding", settings=settings, folder=folder))
        return made[-1]

    yield make
    for till in made:
        till.close()


class MoneyOut:
    """The scenario, whoever signs."""

    def __init__(self, till: CrashingService, hand: Hand) -> None:
        self.till, self.hand, self.node = till, hand, till.node
        self.begin = self.node.height
        self.blocks = WitnessedBlocks(self.node)
        self.crowd = Crowd(till, random.Random(500))
        self.deaths = Deaths(till)

    def kill_the_node(self) -> None:
        self.blocks.kill_the_node()
        self.deaths.node += 1

    def sold(self, many: int) -> None:
        """So many payments are final, and the service is dead: it has heard of them, and not of their last block."""
        self.till.kill()
        self.blocks.wallets_speak()
        self.crowd.come(many)
        self.blocks.mine(DEPTH - 1)
        self.till.wait_level()
        self.till.kill()
        self.blocks.mine(1)
        self.blocks.wallets_are_silent()

    def sent(self) -> None:
        """The service lives until all that should go has gone."""
        self.till.start()
        self.hand.send(self.till)

    def a_sweep_is_stuck(self) -> list[Sweep]:
        """A block takes all sweeps but the one of most coins. It is bumped twice, and then at the cap."""
        under_way = plan(self.till)["sweeps"]
        stuck = max((sweep for sweep in under_way if sweep["mined_at"] is None), key=lambda sweep: sweep["inputs"])
        self.till.kill()
        self.blocks.mine_all_but({stuck["txid"]})
        self.blocks.mine_empty(AIM_BLOCKS - 1)
        self.deaths.die(self.hand.deaths_of_a_replacement)
        self.sent()
        assert len(self._versions(stuck["txid"])) == 2
        self.till.kill()
        self.kill_the_node()  # it knows none of them any more
        self.blocks.mine_empty(AIM_BLOCKS)
        self.deaths.die(self.hand.deaths_of_a_replacement, self.kill_the_node)
        self.sent()
        assert len(self._versions(stuck["txid"])) == 3
        self.blocks.mine_empty(AIM_BLOCKS)
        self.till.wait("word that more is beyond the cap", lambda: self.till.log_says("forwarding.max_feerate"))
        self.sent()
        self.blocks.mine(1)
        self.till.wait_level()
        return self._versions(stuck["txid"])

    def _versions(self, family: str) -> list[Sweep]:
        async def read() -> list[Sweep]:
            async with Database(self.till.database_url, read_only=True) as database:
                return await database.read(sweep_versions.versions, family)

        return asyncio.run(read())

    def all_is_final(self) -> None:
        """Blocks come until every sweep is as deep as sweeps are watched; the service is killed as it sees that."""
        self.blocks.mine(1)
        self.till.kill()
        self.blocks.mine(FINAL_DEPTH)
        self.deaths.die([Armed(f"{moment} close_deep_sweeps", 1) for moment in ("before", "inside", "after")])
        self.till.start()
        self.till.wait_level(timeout=60)
        self.till.wait("the last sweep to be closed", lambda: not plan(self.till)["sweeps"])


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("engine", "hold"), [("sqlite", 0), ("postgres", HOT_SAT)])
def test_not_a_satoshi_is_missing(
    engine: str,
    hold: int,
    make_crashing: Callable[..., CrashingService],
    show_progress: Callable[[str], None],
) -> None:
    till, hand = make_crashing(engine, {**RULES, "hold": hold}), ItsOwnHand()
    assert till.key  # made before its first life
    began = time.monotonic()
    out = MoneyOut(till, hand)

    def so_far(what: str) -> None:
        deaths = out.deaths
        show_progress(
            f"{engine}: {what}; {deaths.service} kills of the service, {deaths.node} of the node,"
            f" {time.monotonic() - began:.0f} s"
        )

    out.sold(180)
    out.deaths.die(hand.deaths_of_a_sweep)
    out.sent()
    out.blocks.mine(1)
    so_far("the service killed at every point")

    out.sold(180)
    out.deaths.die(hand.deaths_of_a_sweep, out.kill_the_node)
    out.sent()
    out.blocks.mine(1)
    so_far("service and node killed at every point")

    out.sold(MIXED - 360)
    out.sent()
    versions = out.a_sweep_is_stuck()
    so_far("stuck, and bumped twice")

    till.kill()
    out.blocks.wallets_speak()
    till.start()
    alone = out.crowd.come_alone(SMALL)
    out.blocks.mine(DEPTH)
    out.sent()
    out.all_is_final()

    balance = balance_on_chain(till, out.crowd.purchases, out.begin)
    agrees(till, out.crowd.purchases, out.begin, balance)
    assert len(out.crowd.purchases) == MIXED + 1
    assert balance.most_inputs == PER_BATCH
    assert [version.txid in balance.sweeps for version in versions] == [False, False, True]
    fees = [version.fee_sat for version in versions]
    assert fees == sorted(set(fees))
    assert all(version.fee_sat <= CAP * version.vsize for version in versions)
    reasons = {coin["payment_id"]: coin["reason"] for coin in plan(till)["held"]}
    if hold:
        assert balance.held_sat >= hold
        assert any("forwarding.hold" in reason for reason in reasons.values())
    else:
        assert "max_fee_share" in reasons[alone.answer["payment_id"]]
    kills = f"{out.deaths.service} + {out.deaths.node} of the node"
    show_progress(f"{hand.name}, {time.monotonic() - began:.0f} s")
    show_progress("| engine | kills | sweeps | in | at destination | fees | held |")
    show_progress(
        f"| {engine} | {kills} | {len(balance.sweeps)} | {balance.in_sat} | {balance.at_destination_sat} |"
        f" {balance.fees_sat} | {balance.held_sat} |"
    )
