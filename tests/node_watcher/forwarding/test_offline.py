"""Nobody signs here, against a real node: what is handed out and in, and what the service does without a signer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from node_watcher.clock import now_ms
from node_watcher.forwarding.desk import Desk, Destination, inputs_of
from node_watcher.forwarding.feerate import feerates
from node_watcher.forwarding.handing_in import HandedIn, hand_in
from node_watcher.forwarding.handing_out import HandedOut, HandingOut
from node_watcher.rpc import RpcError
from node_watcher.signing.signed_psbt import PsbtRefused
from node_watcher.signing.signer import SweepRefused
from payments.address import script_pubkey
from payments.forward import ForwardRules
from payments.model import Status
from payments.record import PaymentRecord
from payments.sweep_plan import plan
from regtest.node import RegtestNode
from storage import forward_orders, late_forwards, signed_elsewhere, sweep_versions
from storage.coins_due import coins_due
from storage.errors import NotToBeSpent
from storage.sweep_versions import Sweep
from storage.sweeps import FINAL_DEPTH
from tests.node_watcher.rig import FULL, Rig


@pytest.fixture
async def rig(make_rig: Callable[..., Rig], chain_node: RegtestNode) -> Rig:
    """Coins are to be sent on, one confirmation."""
    chain_node.mine(1)
    made = await make_rig(chain_node, forwarding=True, depth=1).open()
    made.rpc.after["estimatesmartfee"] = lambda _, answer: {"errors": ["Insufficient data"], "blocks": 6}
    return made


@pytest.fixture
def owner(chain_node: RegtestNode) -> str:
    return chain_node.new_address()


@pytest.fixture
def desk(rig: Rig, owner: str) -> Desk:
    rules = ForwardRules(max_feerate=Decimal(50), target_blocks=6, min_sat=1_000)
    to = Destination(owner, script_pubkey(owner, "regtest"))
    return Desk(rig.rpc, rig.database, None, to, rules, rig.keychain, "regtest")


async def sold(rig: Rig, count: int) -> list[PaymentRecord]:
    made = [await rig.create(f"u{number}", FULL) for number in range(count)]
    for payment in made:
        await rig.pay(payment)
    await rig.mine(1)
    await rig.settle()
    return made


async def handed_out(rig: Rig, desk: Desk, replacing: str | None = None) -> HandedOut:
    rates, tip = await feerates(rig.rpc, 6, "regtest"), await rig.tip()
    making = HandingOut(desk, rig.descriptor)
    if replacing is not None:
        return await making.replacement(await rig.database.read(signed_elsewhere.replaceable, replacing), rates, tip)
    coins = await rig.database.read(coins_due, desk.keychain_id, 1_000)
    made = plan(coins, rates.now, desk.rules, desk.vsize_of, now_ms(), at_once=True)
    return await making.batch(made, 1, rates, tip)


async def handed_in(rig: Rig, desk: Desk, handed: HandedOut) -> HandedIn:
    """Signed as it was handed out, and found good."""
    tip = await rig.tip()
    signed = rig.signer.sign_sweep(
        inputs_of(handed.coins), desk.destination.script_pubkey, handed.fee_sat, locktime=tip.height
    )
    return await hand_in(desk, signed.raw, tip)


async def stored(rig: Rig, desk: Desk, handed: HandedOut) -> Sweep:
    found = await handed_in(rig, desk, handed)
    await rig.database.write(
        signed_elsewhere.store_signed, found.sweep, desk.keychain_id, found.outpoints, found.sweep.created_at
    )
    return found.sweep


async def test_without_a_signer_what_is_stored_is_kept_alive_to_its_end(rig: Rig, desk: Desk, owner: str) -> None:
    (payment,) = await sold(rig, 1)
    forwarder = rig.new_forwarder(owner, signs=False)
    assert await forwarder.forward_due(await rig.tip()) == 0
    assert await rig.status(payment) is Status.CONFIRMED
    sweep = await stored(rig, desk, await handed_out(rig, desk))
    assert await forwarder.forward_due(await rig.tip()) == 1
    assert (await rig.payment(payment)).forwarding_txid == sweep.txid
    await rig.mine(FINAL_DEPTH)
    await forwarder.forward_due(await rig.tip())
    assert (await rig.database.read(signed_elsewhere.came_of, sweep.txid)).state == "confirmed"


async def test_without_a_signer_orders_are_answered(rig: Rig, owner: str) -> None:
    await sold(rig, 1)
    number = await rig.database.write(forward_orders.ask, "run", None, now_ms())
    await rig.new_forwarder(owner, signs=False).forward_due(await rig.tip())
    answer = await rig.database.read(forward_orders.answer_of, number)
    assert answer is not None
    assert (answer.done, "forward psbt" in answer.sentence) == (False, True)


async def test_coins_for_which_nobody_signs_are_late_but_not_the_hot_balance(
    rig: Rig, owner: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = await sold(rig, 2)
    forwarder = rig.new_forwarder(owner, signs=False, deadline_ms=0, hold_sat=FULL)
    with caplog.at_level(logging.ERROR, "nodetill"):
        for _ in range(2):
            await forwarder.forward_due(await rig.tip())
    assert caplog.text.count("not with the owner") == 1
    assert len(await rig.database.read(late_forwards.told)) == 1
    assert [await rig.status(payment) for payment in made] == [Status.CONFIRMED] * 2


async def test_a_coin_that_the_node_has_not_is_left_out(rig: Rig, desk: Desk) -> None:
    await sold(rig, 2)
    (one, other) = await rig.database.read(coins_due, desk.keychain_id, 10)
    rig.rpc.after["gettxout"] = lambda given, answer: None if given[0] == one.outpoint.txid else answer
    handed = await handed_out(rig, desk)
    assert (handed.gone, handed.coins) == ((one,), (other,))
    rig.rpc.after["gettxout"] = lambda given, answer: None
    with pytest.raises(SweepRefused, match="spent already"):
        await handed_out(rig, desk)


async def test_a_node_that_forgot_the_payments_is_told_of(rig: Rig, desk: Desk) -> None:
    await sold(rig, 1)
    whole = await handed_out(rig, desk)
    rig.rpc.after["getrawtransaction"] = lambda _, answer: RpcError("getrawtransaction", -1, "pruned")
    bare = await handed_out(rig, desk)
    assert (whole.bare, bare.bare) == ((), (whole.coins[0].outpoint.txid,))
    assert len(bare.psbt) < len(whole.psbt)


async def test_without_its_lost_coin_a_sweep_is_signed_again(rig: Rig, desk: Desk, owner: str) -> None:
    """Reorganised away and paid elsewhere; the service stops before it has sent the new version."""
    lost, *others = [await rig.create(f"u{n}", FULL) for n in range(3)]
    coin = await rig.pay(lost)
    for other in others:
        await rig.pay(other)
    await rig.mine(1)
    await rig.settle()
    forwarder = rig.new_forwarder(owner, signs=False)
    first = await stored(rig, desk, await handed_out(rig, desk))
    assert await forwarder.forward_due(await rig.tip()) == 1
    rig.node.disconnect_blocks(1)
    await rig.replace_elsewhere(coin)
    await rig.mine(2)
    await rig.settle()
    assert await forwarder.forward_due(await rig.tip()) == 0
    with pytest.raises(SweepRefused, match="none waits"):
        await handed_out(rig, desk)
    second = await stored(rig, desk, await handed_out(rig, desk, first.txid))
    assert (first.value_sat, second.value_sat) == (3 * FULL, 2 * FULL)
    assert await forwarder.forward_due(await rig.tip()) == 1
    assert [(await rig.payment(other)).forwarding_txid for other in others] == [second.txid] * 2
    await rig.mine(1)
    assert rig.node.rpc("gettransaction", second.txid, wallet="payer")["confirmations"] == 1


async def test_coins_that_are_not_final_any_more_are_not_taken(rig: Rig, desk: Desk) -> None:
    (payment,) = await sold(rig, 1)
    handed = await handed_out(rig, desk)
    rig.node.reorg(1)
    await rig.settle()
    assert await rig.status(payment) is Status.FAILED
    with pytest.raises(NotToBeSpent, match="not final"):
        await handed_in(rig, desk, handed)
    await rig.mine(1)
    await rig.settle()
    assert not (await handed_in(rig, desk, handed)).known


async def test_what_changed_between_the_check_and_the_store_is_seen(rig: Rig, desk: Desk) -> None:
    """Two people hand in two sweeps of the same coins at one moment."""
    await sold(rig, 2)
    handed = await handed_out(rig, desk)
    both, alone = (
        await handed_in(rig, desk, handed),
        await handed_in(rig, desk, replace(handed, coins=handed.coins[:1])),
    )
    write = signed_elsewhere.store_signed
    await rig.database.write(write, alone.sweep, desk.keychain_id, alone.outpoints, now_ms())
    with pytest.raises(NotToBeSpent, match="already"):
        await rig.database.write(write, both.sweep, desk.keychain_id, both.outpoints, now_ms())
    assert await rig.database.read(sweep_versions.sweep_by_txid, both.sweep.txid) is None


async def test_another_destination_since_is_told(rig: Rig, desk: Desk, owner: str) -> None:
    await sold(rig, 1)
    sweep = await stored(rig, desk, await handed_out(rig, desk))
    await rig.new_forwarder(owner, signs=False).forward_due(await rig.tip())
    handed = await handed_out(rig, desk, sweep.txid)
    new = rig.node.new_address()
    desk.destination = Destination(new, script_pubkey(new, "regtest"))
    with pytest.raises(SweepRefused, match="its other versions must go there too"):
        await handed_out(rig, desk, sweep.txid)
    with pytest.raises(PsbtRefused, match="which it replaces, goes to"):
        await handed_in(rig, desk, handed)
