"""The simulation itself: a seed is a history, the world is as strict as a node, and a failing history becomes short."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from payments.block import match_block
from payments.tx import decode
from storage.tx import Tx
from tests.simulation.coins import Out, make_block, make_tx, read_tx
from tests.simulation.draws import Action, Draws
from tests.simulation.histories import history
from tests.simulation.network import PAYER
from tests.simulation.runs import failure_of
from tests.simulation.shrink import shortest
from tests.simulation.simulation import Simulation, run
from tests.simulation.world import World

_CHANCE = "SELECT kind, payment_number, txid, vout, epoch, credits, evidence FROM transfer ORDER BY id"
_TOLD = "SELECT type, payment_number, sequence, created_at FROM event ORDER BY id"


def told_by(seed: int) -> list[tuple[object, ...]]:
    """The ledger and the events of a history, without the ids that are drawn by chance."""
    forwarding, actions = history(seed)
    simulation = Simulation(forwarding=forwarding)
    try:
        for action in actions:
            simulation.do(action)
        simulation.finish()

        def read(tx: Tx) -> list[tuple[object, ...]]:
            return [tuple(row) for sql in (_CHANCE, _TOLD) for row in tx.all(sql)]

        return run(simulation.process.database.read(read))
    finally:
        simulation.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_seed_is_the_same_history_each_time(seed: int) -> None:
    first = told_by(seed)
    assert first
    assert told_by(seed) == first


def test_the_real_parsers_read_what_the_world_writes() -> None:
    world = World()
    script = b"\x00\x14" + bytes(20)
    coin = next(iter(world.best.unspent))
    for segwit in (True, False):
        tx = make_tx((coin,), (Out(5, script), Out(7, PAYER)), fee_sat=0, salt=1, segwit=segwit)
        read = decode(tx.raw)
        assert (read.txid, read.prevouts) == (tx.txid, tx.ins)
        assert [(out.value_sat, out.script_pubkey) for out in read.outputs] == list(tx.outs)
        block = make_block(world.best, (tx,), 1, 1, (Out(1, PAYER),))
        header, found = match_block(block.raw, block.height, {script: 1}, frozenset())
        assert (header.hash, header.prev_hash) == (block.hash, world.best.hash)
        assert [mine.txid for mine in found] == [tx.txid]
    assert read_tx(make_tx((coin,), (Out(5, script),), fee_sat=0, salt=2).raw).ins == (coin,)


def test_a_rival_of_one_height_changes_nothing_until_it_grows() -> None:
    world = World()
    before = world.node.tip
    world.rival(Draws(()))
    assert world.node.tip is before
    world.extend_rival(Draws((0, 1)))
    assert not world.node.tip.descends_from(before)


def test_a_failing_history_is_cut_short() -> None:
    _, actions = history(7)

    def failure(tried: Sequence[Action]) -> str | None:
        names = [action.name for action in tried]
        return "a look after a payment" if "pay" in names and "look" in names[names.index("pay") :] else None

    assert shortest(actions, failure) == [Action("pay"), Action("look")]


def test_a_bug_is_seen() -> None:
    """What was recorded is lost: the end of the history says so."""
    assert failure_of([Action("create"), Action("pay"), Action("mine")], False) is None
    simulation = Simulation()
    try:
        for action in (Action("create"), Action("pay"), Action("look")):
            simulation.do(action)
        run(simulation.process.database.write(_forget, ()))
        with pytest.raises(AssertionError):
            simulation.finish()
    finally:
        simulation.close()


def _forget(tx: Tx, _: object) -> None:
    tx.execute("DELETE FROM output")
