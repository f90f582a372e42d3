"""Forwarding against a real node: signed, stored, broadcast; once, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from node_watcher.clock import now_ms
from node_watcher.forwarding.feerate import feerates
from node_watcher.rpc import NodeUnavailable, RpcError
from payments.model import Status
from payments.record import PaymentRecord
from regtest.node import RegtestNode
from storage import evaluation
from storage.sweeps import FINAL_DEPTH
from tests.node_watcher.rig import FULL, MeddlingRpc, Rig


@pytest.fixture
async def rig(make_rig: Callable[..., Rig], chain_node: RegtestNode) -> Rig:
    """Forwarding mode, one confirmation."""
    chain_node.mine(1)
    return await make_rig(chain_node, forwarding=True, depth=1).open()


@pytest.fixture
def owner(chain_node: RegtestNode) -> str:
    return chain_node.new_address()


async def confirmed(rig: Rig, user: str = "u1", sat: int = FULL) -> PaymentRecord:
    payment = await rig.create(user, sat)
    await rig.pay(payment, sat)
    await rig.mine(1)
    await rig.settle()
    return payment


async def sweeps_in(rig: Rig) -> list[Any]:
    return await rig.database.read(lambda tx: tx.all("SELECT * FROM sweep ORDER BY created_at"))


async def test_swept_to_the_owner_less_the_fee(rig: Rig, owner: str) -> None:
    payment = await confirmed(rig)
    assert await rig.status(payment) is Status.CONFIRMED
    forwarder = rig.new_forwarder(owner)
    assert await forwarder.forward_due(await rig.tip()) == 1
    seen = await rig.payment(payment)
    assert seen.state.status is Status.FORWARDED
    assert seen.forwarding_txid in rig.node.mempool()
    sent = rig.node.rpc("getrawtransaction", seen.forwarding_txid, True)
    (sweep,) = await sweeps_in(rig)
    assert [(o["scriptPubKey"]["address"], o["value"]) for o in sent["vout"]] == [
        (owner, Decimal(FULL - sweep["fee_sat"]).scaleb(-8))
    ]
    assert await rig.balance() == 400


async def test_what_the_node_has_is_not_offered_again(rig: Rig, owner: str) -> None:
    """Neither while it waits in the mempool nor while it is not deep yet: no call, no commit."""
    await confirmed(rig)
    forwarder = rig.new_forwarder(owner)
    await forwarder.forward_due(await rig.tip())
    for _ in range(2):
        rig.rpc.asked.clear()
        assert await forwarder.forward_due(await rig.tip()) == 0
        assert rig.rpc.asked["sendrawtransaction"] == 0
        await rig.mine(1)
    await rig.mine(FINAL_DEPTH)
    await forwarder.forward_due(await rig.tip())
    (sweep,) = await sweeps_in(rig)
    assert sweep["state"] == "confirmed"


async def test_what_the_node_lost_is_offered_again_with_the_same_bytes(rig: Rig, owner: str) -> None:
    payment = await confirmed(rig)
    forwarder = rig.new_forwarder(owner)
    await forwarder.forward_due(await rig.tip())
    (sweep,) = await sweeps_in(rig)
    rig.rpc.after["getmempoolentry"] = lambda _, answer: RpcError("getmempoolentry", -5, "not in mempool")
    rig.rpc.asked.clear()
    assert await forwarder.forward_due(await rig.tip()) == 0  # told once
    assert rig.rpc.asked["sendrawtransaction"] == 1
    assert await sweeps_in(rig) == [sweep]
    assert await rig.status(payment) is Status.FORWARDED


async def test_answer_that_was_lost_after_the_node_had_taken_it(rig: Rig, owner: str) -> None:
    payment = await confirmed(rig)

    def lost(_: Sequence[object], answer: Any) -> Any:
        raise NodeUnavailable("the connection was cut")

    rig.rpc.after["sendrawtransaction"] = lost
    with pytest.raises(NodeUnavailable):
        await rig.new_forwarder(owner).forward_due(await rig.tip())
    assert await rig.status(payment) is Status.CONFIRMED
    (stored,) = await sweeps_in(rig)
    rig.rpc.after.clear()
    # Another process, later: the same bytes.
    assert await rig.new_forwarder(owner).forward_due(await rig.tip()) == 1
    assert [s["txid"] for s in await sweeps_in(rig)] == [stored["txid"]]
    assert (await rig.payment(payment)).forwarding_txid == stored["txid"]


async def test_mined_before_we_could_write_down_that_it_was_sent(
    rig: Rig, owner: str, caplog: pytest.LogCaptureFixture
) -> None:
    payment = await confirmed(rig)

    def lost(_: Sequence[object], answer: Any) -> Any:
        raise NodeUnavailable("the connection was cut")

    rig.rpc.after["sendrawtransaction"] = lost
    with pytest.raises(NodeUnavailable):
        await rig.new_forwarder(owner).forward_due(await rig.tip())
    await rig.mine(1)
    with caplog.at_level(logging.INFO, "nodetill"):
        await rig.new_forwarder(owner).forward_due(await rig.tip())
    assert await rig.status(payment) is Status.FORWARDED
    assert caplog.text.count("Successfully forwarded") == 1


async def test_refusal_changes_nothing_and_is_said_once(rig: Rig, owner: str, caplog: pytest.LogCaptureFixture) -> None:
    payment = await confirmed(rig)
    forwarder = rig.new_forwarder(owner)
    rig.rpc.after["sendrawtransaction"] = lambda _, answer: RpcError("sendrawtransaction", -26, "no")
    for _ in range(3):
        assert await forwarder.forward_due(await rig.tip()) == 0
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1
    assert (await rig.status(payment), await rig.balance()) == (Status.CONFIRMED, 400)
    rig.rpc.after.clear()
    assert await forwarder.forward_due(await rig.tip()) == 1


async def test_reorganised_deposit_keeps_its_one_sweep(rig: Rig, owner: str) -> None:
    payment = await confirmed(rig)
    forwarder = rig.new_forwarder(owner)
    await forwarder.forward_due(await rig.tip())
    rig.node.reorg(1)
    await rig.settle()
    assert await rig.status(payment) is Status.FAILED
    await forwarder.forward_due(await rig.tip())
    await rig.mine(1)
    await rig.settle()
    await forwarder.forward_due(await rig.tip())
    assert await rig.status(payment) is Status.FORWARDED
    assert len(await sweeps_in(rig)) == 1


async def test_a_sweep_that_never_left_waits_while_its_coin_is_undone(rig: Rig, owner: str) -> None:
    """The node refused it once; then a reorganisation takes the coin back into the mempool."""
    payment = await confirmed(rig)
    forwarder = rig.new_forwarder(owner)

    def refuse() -> None:
        raise RpcError("sendrawtransaction", -26, "mempool min fee not met")

    rig.rpc.before["sendrawtransaction"] = refuse
    assert await forwarder.forward_due(await rig.tip()) == 0
    rig.node.reorg(1)
    await rig.settle()
    assert await rig.status(payment) is Status.FAILED
    asked = rig.rpc.asked["sendrawtransaction"]
    assert await forwarder.forward_due(await rig.tip()) == 0
    assert rig.rpc.asked["sendrawtransaction"] == asked
    assert (await rig.payment(payment)).forwarding_txid is None
    await rig.mine(1)
    await rig.settle()
    assert await forwarder.forward_due(await rig.tip()) == 1
    assert await rig.status(payment) is Status.FORWARDED
    assert len(await sweeps_in(rig)) == 1


async def test_coins_that_are_held_do_not_stand_in_the_way(
    rig: Rig, owner: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Six hundred leftovers of expired payments, older than a payment that is worth sending."""
    made = [await rig.create("dust", expires_at=now_ms()) for _ in range(600)]
    rig.node.pay_many({p.address: 600 for p in made})
    payment = await confirmed(rig)
    await rig.database.write(evaluation.close_windows, now_ms(), now_ms())
    await rig.database.write(evaluation.close_windows, now_ms(), now_ms())
    assert await rig.status(made[0]) is Status.EXPIRED
    forwarder = rig.new_forwarder(owner)
    assert await forwarder.forward_due(await rig.tip()) == 1
    assert await rig.status(payment) is Status.FORWARDED
    said = len(caplog.records)
    await forwarder.forward_due(await rig.tip())
    assert len(caplog.records) == said


async def test_feerate_above_the_cap_waits_and_is_said_once(
    rig: Rig, owner: str, caplog: pytest.LogCaptureFixture
) -> None:
    payment = await confirmed(rig)
    forwarder = rig.new_forwarder(owner)
    estimate: dict[str, Any] = {"blocks": 6}
    rig.rpc.after["estimatesmartfee"] = lambda _, answer: estimate
    for rate in ("0.00090", "0.00091", "0.00092"):
        estimate["feerate"] = Decimal(rate)
        assert await forwarder.forward_due(await rig.tip()) == 0
    assert caplog.text.count("forwarding.max_feerate") == 1
    rig.rpc.after["estimatesmartfee"] = lambda _, answer: {"feerate": Decimal("0.00010"), "blocks": 6}
    assert await forwarder.forward_due(await rig.tip()) == 1
    (sweep,) = await sweeps_in(rig)
    assert sweep["fee_sat"] // rig.node.rpc("getmempoolentry", sweep["txid"])["vsize"] in (10, 11)
    assert await rig.status(payment) is Status.FORWARDED


async def test_two_forwarders_one_sweep(rig: Rig, owner: str) -> None:
    """What one has signed and stored while the other was signing is what counts."""
    await confirmed(rig)
    tip = await rig.tip()
    sent = await asyncio.gather(*(rig.new_forwarder(owner).forward_due(tip) for _ in range(2)))
    assert sorted(sent) == [0, 1]
    assert len(await sweeps_in(rig)) == 1


async def rate(rpc: MeddlingRpc, network: str) -> Decimal | None:
    return (await feerates(rpc, 6, network)).now


async def test_estimate(chain_node: RegtestNode) -> None:
    rpc = MeddlingRpc(chain_node)
    try:
        rpc.after["estimatesmartfee"] = lambda _, answer: {"errors": ["Insufficient data"], "blocks": 6}
        assert await rate(rpc, "regtest") == Decimal(
            max(chain_node.rpc("getmempoolinfo")[k] for k in ("mempoolminfee", "minrelaytxfee"))
        ).scaleb(5)
        assert await rate(rpc, "main") is None  # waiting is safe, guessing is not
        rpc.after["estimatesmartfee"] = lambda _, answer: RpcError("estimatesmartfee", -32603, "disabled")
        assert await rate(rpc, "main") is None
        rpc.after["estimatesmartfee"] = lambda _, answer: {"feerate": Decimal("0.00000100"), "blocks": 6}
        assert await rate(rpc, "main") == await rate(rpc, "regtest")  # the relay floor
    finally:
        await rpc.close()
