"""Sweeps that do not arrive, against a real node: offered for more, made anew, halved, paused, told of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from decimal import Decimal

import pytest

from node_watcher.clock import now_ms
from node_watcher.forwarding.forwarder import Forwarder
from node_watcher.rpc import RpcError
from node_watcher.signing.signer import SignedTx, Signer, SignerDown, SigningFailed, SweepInput
from payments.model import OutPoint, Status
from payments.record import PaymentRecord
from regtest.node import RegtestNode
from storage import forward_orders, late_forwards, sweep_versions
from storage.forward_orders import Answer
from storage.sweep_versions import Sweep
from tests.node_watcher.rig import FULL, Rig


@pytest.fixture
async def rig(make_rig: Callable[..., Rig], chain_node: RegtestNode) -> Rig:
    """Forwarding mode, one confirmation."""
    chain_node.mine(1)
    made = await make_rig(chain_node, forwarding=True, depth=1).open()
    # A node that has seen enough by now would estimate something; here it is the relay minimum.
    made.rpc.after["estimatesmartfee"] = lambda _, answer: {"errors": ["Insufficient data"], "blocks": 6}
    return made


@pytest.fixture
def owner(chain_node: RegtestNode) -> str:
    return chain_node.new_address()


async def confirmed(rig: Rig, *sat: int) -> list[PaymentRecord]:
    made = [await rig.create(f"u{number}", value) for number, value in enumerate(sat)]
    rig.node.pay_many({payment.address: value for payment, value in zip(made, sat, strict=True)})
    await rig.mine(1)
    await rig.settle()
    return made


async def empty_blocks(rig: Rig, blocks: int) -> None:
    rig.node.mine_empty(blocks)
    await rig.settle()


async def family(rig: Rig) -> list[Sweep]:
    """All versions of the only family."""
    rows = await rig.database.read(lambda tx: tx.all("SELECT DISTINCT family FROM sweep"))
    (row,) = rows
    return await rig.database.read(sweep_versions.versions, row["family"])


async def go(rig: Rig, forwarder: Forwarder) -> int:
    return await forwarder.forward_due(await rig.tip())


async def test_one_sweep_for_all_that_is_due(rig: Rig, owner: str) -> None:
    made = await confirmed(rig, FULL, 50_000, 60_000)
    assert await go(rig, rig.new_forwarder(owner)) == 1
    (sweep,) = await family(rig)
    assert [(await rig.payment(payment)).forwarding_txid for payment in made] == [sweep.txid] * 3
    entry = rig.node.rpc("getmempoolentry", sweep.txid)
    assert entry["vsize"] == sweep.vsize
    assert sweep.fee_sat == int(entry["fees"]["base"] * 10**8)
    floor = rig.node.rpc("getmempoolinfo")["mempoolminfee"] * 10**5
    assert floor * sweep.vsize <= sweep.fee_sat <= floor * sweep.vsize + 1, "by the size that was measured"


async def test_a_stuck_sweep_is_bumped_twice_and_arrives_once(rig: Rig, owner: str) -> None:
    (payment,) = await confirmed(rig, 400_000)
    forwarder = rig.new_forwarder(owner, target_blocks=2)
    assert await go(rig, forwarder) == 1
    await empty_blocks(rig, 1)
    assert await go(rig, forwarder) == 0
    for versions in (2, 3):
        await empty_blocks(rig, 2)
        assert await go(rig, forwarder) == 1
        assert len(await family(rig)) == versions
        assert await go(rig, forwarder) == 0, "once, and it has a new chance"
    first, second, third = await family(rig)
    assert first.fee_sat < second.fee_sat < third.fee_sat
    assert (second.replaces, third.replaces) == (first.txid, second.txid)
    assert rig.node.mempool() == {third.txid}
    assert (await rig.payment(payment)).forwarding_txid == third.txid
    await rig.mine(6)
    await rig.settle()
    await go(rig, forwarder)
    assert [s.state for s in await family(rig)] == ["broadcast", "broadcast", "confirmed"]
    assert (await rig.events(payment)).count("forwarded") == 1
    assert await rig.balance("u0") == 400


async def test_signatures_of_another_length_hold_no_bump_up(rig: Rig, owner: str) -> None:
    """Thirty signatures are seldom as long as the thirty before them. From 1 sat/vB a replacement pays just the least
    that a node asks for, which is counted by the size of the new one."""
    await confirmed(rig, *[50_000 + number for number in range(30)])
    forwarder = rig.new_forwarder(owner, target_blocks=1)
    assert await go(rig, forwarder) == 1
    for bumped in range(1, 5):
        await empty_blocks(rig, 1)
        await go(rig, forwarder)
        assert len(await family(rig)) == 1 + bumped, f"bump {bumped} was refused"


async def test_no_bump_exceeds_the_cap(rig: Rig, owner: str, caplog: pytest.LogCaptureFixture) -> None:
    await confirmed(rig, 400_000)
    forwarder = rig.new_forwarder(owner, target_blocks=1, max_feerate=Decimal("2.5"))
    for _ in range(6):
        await empty_blocks(rig, 1)
        await go(rig, forwarder)
    versions = await family(rig)
    assert all(s.fee_sat <= Decimal("2.5") * s.vsize for s in versions)
    assert 2 <= len(versions) < 6
    assert caplog.text.count("would exceed forwarding.max_feerate") == 1


async def test_the_owner_has_another_address_by_now(rig: Rig, owner: str) -> None:
    """The next version goes there, and what is stored says so."""
    await confirmed(rig, 400_000)
    await go(rig, rig.new_forwarder(owner, target_blocks=1))
    await empty_blocks(rig, 1)
    moved = rig.node.new_address()
    assert await go(rig, rig.new_forwarder(moved, target_blocks=1)) == 1
    first, second = await family(rig)
    assert (first.destination, second.destination) == (owner, moved)
    (out,) = rig.node.rpc("getrawtransaction", second.txid, True)["vout"]
    assert out["scriptPubKey"]["address"] == moved


async def test_one_that_the_node_refuses_is_bumped_as_well(rig: Rig, owner: str) -> None:
    """It was stored when it paid enough, and what is enough has risen since."""
    await confirmed(rig, 400_000)
    forwarder = rig.new_forwarder(owner, target_blocks=1)

    def refuse() -> None:
        raise RpcError("sendrawtransaction", -26, "mempool min fee not met")

    rig.rpc.before["sendrawtransaction"] = refuse  # once
    assert await go(rig, forwarder) == 0
    await empty_blocks(rig, 1)
    rig.rpc.before["sendrawtransaction"] = refuse
    assert await go(rig, forwarder) == 1
    stored, dearer = await family(rig)
    assert (stored.state, dearer.replaces) == ("stored", stored.txid)
    assert rig.node.mempool() == {dearer.txid}


async def test_the_answer_to_a_replacement_was_lost(rig: Rig, owner: str) -> None:
    """It is stored before it is sent; the same bytes again, and they count once."""
    (payment,) = await confirmed(rig, 400_000)
    forwarder = rig.new_forwarder(owner, target_blocks=1)
    await go(rig, forwarder)
    await empty_blocks(rig, 1)

    def die() -> None:
        raise KeyboardInterrupt

    rig.rpc.before["sendrawtransaction"] = die
    with pytest.raises(KeyboardInterrupt):
        await go(rig, forwarder)
    rig.rpc.before.clear()
    first, second = await family(rig)
    assert (second.state, rig.node.mempool()) == ("stored", {first.txid})
    assert (await rig.payment(payment)).forwarding_txid == first.txid
    assert await go(rig, rig.new_forwarder(owner, target_blocks=1)) == 1
    assert rig.node.mempool() == {second.txid}
    assert (await rig.payment(payment)).forwarding_txid == second.txid


async def test_a_lost_coin_is_left_out_and_the_others_go(rig: Rig, owner: str) -> None:
    """Reorganised away and replaced by its payer, after it was swept with others."""
    lost, *others = [await rig.create(f"u{n}", FULL) for n in range(3)]
    coin = await rig.pay(lost)
    for other in others:
        await rig.pay(other)
    await rig.mine(1)
    await rig.settle()
    forwarder = rig.new_forwarder(owner)
    assert await go(rig, forwarder) == 1
    rig.node.disconnect_blocks(1)
    thief = await rig.replace_elsewhere(coin)
    await rig.mine(2)
    await rig.settle()
    assert thief not in rig.node.mempool()
    assert await rig.status(lost) is Status.FAILED
    assert [await rig.status(other) for other in others] == [Status.CONFIRMED] * 2
    assert await go(rig, forwarder) == 1
    first, second = await family(rig)
    assert (first.value_sat, second.value_sat) == (3 * FULL, 2 * FULL)
    assert [(await rig.payment(other)).forwarding_txid for other in others] == [second.txid] * 2
    assert await go(rig, forwarder) == 0
    await rig.mine(1)
    assert rig.node.rpc("gettransaction", second.txid, wallet="payer")["confirmations"] == 1


class Refusing:
    """A signer with a coin that it does not sign, or that is not there."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self.refused: OutPoint | None = None
        self.down = False
        self.asked = 0

    def sign_sweep(
        self, inputs: Sequence[SweepInput], destination_script: bytes, fee_sat: int, locktime: int
    ) -> SignedTx:
        self.asked += 1
        if self.down:
            raise SignerDown("the signer is not there")
        if self.refused in [given.outpoint for given in inputs]:
            raise SigningFailed("key does not fit")
        return self._signer.sign_sweep(inputs, destination_script, fee_sat, locktime)


@pytest.fixture
def refusing(rig: Rig) -> Refusing:
    made = Refusing(rig.signer)
    rig.signer = made
    return made


async def test_one_refused_coin_does_not_hold_up_the_others(rig: Rig, owner: str, refusing: Refusing) -> None:
    made = await confirmed(rig, *(FULL + n for n in range(9)))
    refusing.refused = (await rig.payment(made[4])).facts.outputs[0].outpoint
    forwarder = rig.new_forwarder(owner)
    assert await go(rig, forwarder) > 1
    found = [await rig.status(payment) for payment in made]
    assert found == [Status.FORWARDED] * 4 + [Status.CONFIRMED] + [Status.FORWARDED] * 4
    asked = refusing.asked
    assert await go(rig, forwarder) == 0
    assert refusing.asked == asked, "not asked again at this tip"
    refusing.refused = None
    rig.node.mine(1)
    await rig.settle()
    assert await go(rig, forwarder) == 1
    assert await rig.balance("u4") == 400


async def test_a_signer_that_is_away_is_waited_for(
    rig: Rig, owner: str, refusing: Refusing, caplog: pytest.LogCaptureFixture
) -> None:
    made = await confirmed(rig, FULL, FULL)
    refusing.down = True
    forwarder = rig.new_forwarder(owner)
    for _ in range(3):
        assert await go(rig, forwarder) == 0
    assert refusing.asked == 3, "once a round, however many coins"
    assert caplog.text.count("the signer is not there") == 2
    refusing.down = False
    assert await go(rig, forwarder) == 1
    assert [await rig.status(payment) for payment in made] == [Status.FORWARDED] * 2


async def test_a_coin_that_the_node_has_not_is_left_out(rig: Rig, owner: str) -> None:
    """Spent by somebody who has the words, too, and in the mempool as yet."""
    stolen, other = await confirmed(rig, FULL, FULL)
    outpoint = (await rig.payment(stolen)).facts.outputs[0].outpoint
    rig.rpc.after["gettxout"] = lambda params, answer: None if tuple(params[:2]) == outpoint else answer
    assert await go(rig, rig.new_forwarder(owner)) == 1
    assert (await rig.status(stolen), await rig.status(other)) == (Status.CONFIRMED, Status.FORWARDED)


async def test_paused_signs_nothing_and_keeps_alive_what_has_left(rig: Rig, owner: str) -> None:
    await confirmed(rig, FULL)
    forwarder = rig.new_forwarder(owner, target_blocks=1)
    await go(rig, forwarder)
    (held,) = await confirmed(rig, FULL)
    assert await rig.database.write(lambda tx: forward_orders.pause(tx, paused=True))
    number = await rig.database.write(forward_orders.ask, "run", None, now_ms())
    assert await go(rig, forwarder) == 0
    assert await rig.status(held) is Status.CONFIRMED
    answer = await rig.database.read(forward_orders.answer_of, number)
    assert answer is not None
    assert (answer.done, "forward resume" in answer.sentence) == (False, True)
    assert await rig.database.write(lambda tx: forward_orders.pause(tx, paused=False))
    assert await go(rig, forwarder) == 1
    assert await rig.status(held) is Status.FORWARDED


async def order(rig: Rig, forwarder: Forwarder, kind: str, txid: str | None = None) -> Answer:
    number = await rig.database.write(forward_orders.ask, kind, txid, now_ms())
    await go(rig, forwarder)
    answer = await rig.database.read(forward_orders.answer_of, number)
    assert answer is not None
    return answer


async def test_orders_are_carried_out_and_answered(rig: Rig, owner: str) -> None:
    forwarder = rig.new_forwarder(owner, batch_window_ms=3_600_000)
    assert await order(rig, forwarder, "run") == Answer(True, "no coin waits to be forwarded")
    await confirmed(rig, 400_000)
    assert await go(rig, forwarder) == 0, "it waits for company"
    assert await order(rig, forwarder, "run") == Answer(True, "1 sweeps were broadcast")
    (sweep,) = await family(rig)
    unknown = await order(rig, forwarder, "bump", "ab" * 32)
    assert (unknown.done, "no sweep of this till" in unknown.sentence) == (False, True)
    bumped = await order(rig, forwarder, "bump", sweep.txid)
    _, second = await family(rig)
    assert bumped == Answer(True, f"{second.txid} replaces it for a fee of {second.fee_sat} sat")
    assert rig.node.mempool() == {second.txid}
    await rig.mine(1)
    await rig.settle()
    mined = await order(rig, forwarder, "bump", sweep.txid)
    assert (mined.done, "in a block already" in mined.sentence) == (False, True)


async def test_an_order_is_not_carried_out_twice_after_a_crash(rig: Rig, owner: str) -> None:
    """The replacement was stored and the answer was not: it is the same order."""
    await confirmed(rig, 400_000)
    forwarder = rig.new_forwarder(owner)
    await go(rig, forwarder)
    (sweep,) = await family(rig)
    number = await rig.database.write(forward_orders.ask, "bump", sweep.txid, now_ms())

    def die() -> None:
        raise KeyboardInterrupt

    rig.rpc.before["sendrawtransaction"] = die
    with pytest.raises(KeyboardInterrupt):
        await go(rig, forwarder)
    rig.rpc.before.clear()
    await go(rig, rig.new_forwarder(owner))
    versions = await family(rig)
    assert len(versions) == 2
    answer = await rig.database.read(forward_orders.answer_of, number)
    assert answer == Answer(True, f"{versions[1].txid} replaces it for a fee of {versions[1].fee_sat} sat")


async def test_past_its_deadline_it_is_loud_and_still_tried(
    rig: Rig, owner: str, caplog: pytest.LogCaptureFixture
) -> None:
    (payment,) = await confirmed(rig, FULL)
    forwarder = rig.new_forwarder(owner, deadline_ms=0, max_feerate=Decimal("0.001"))
    with caplog.at_level(logging.ERROR, "nodetill"):
        for _ in range(3):
            assert await go(rig, forwarder) == 0
    assert (await rig.events(payment)).count("forwarding_failed") == 1
    assert caplog.text.count("not with the owner") == 1
    assert (await rig.status(payment), await rig.balance("u0")) == (Status.CONFIRMED, 400)
    cheap = rig.new_forwarder(owner, deadline_ms=0)
    assert await go(rig, cheap) == 1
    assert len(await rig.database.read(late_forwards.told)) == 1, "no block has it yet"
    await rig.mine(1)
    await rig.settle()
    await go(rig, cheap)
    assert await rig.database.read(late_forwards.told) == set()
