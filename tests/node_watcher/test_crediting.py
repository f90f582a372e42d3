"""The last gate before a credit, on a real node: once, on evidence, and nobody waits for a neighbour."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from node_watcher.rpc import RpcError
from node_watcher.signing.signer import SweepInput
from payments.address import script_pubkey
from payments.model import BlockId, OutPoint, Status
from payments.record import PaymentRecord
from regtest.node import RegtestNode
from regtest.node_rpc import NodeError
from tests.node_watcher.rig import FULL, Rig


async def test_credited_once_with_the_evidence(rig: Rig) -> None:
    payment = await rig.create()
    await rig.pay(payment)
    (block, *_) = await rig.mine(rig.depth)
    tip = await rig.tip()
    assert await rig.status(payment) is Status.CONFIRMING  # until the ledger says so
    assert await rig.crediting.book_due(tip) == 1
    assert await rig.crediting.book_due(tip) == 0
    assert await rig.balance() == 400
    assert await rig.status(payment) is Status.FORWARDED
    evidence = await evidence_of(rig)
    assert evidence["block_hash"] == block
    assert evidence["best_block"] == tip.hash
    assert (evidence["value_sat"], evidence["confirmations"]) == (FULL, rig.depth)


async def test_nothing_due_asks_nothing(rig: Rig) -> None:
    rig.rpc.asked.clear()
    assert await rig.crediting.book_due(await rig.cursor()) == 0
    assert not rig.rpc.asked


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": 41},
        {"scriptPubKey": {"address": "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202", "hex": "00"}},
        {"confirmations": 1},
    ],
    ids=["value", "script", "depth"],
)
async def test_node_that_describes_it_otherwise(
    rig: Rig, wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A lie about one output stops that payment, says so, and stops no other."""
    liar, honest = await rig.create("u1"), await rig.create("u2")
    txid = await rig.pay(liar)
    await rig.pay(honest)
    await rig.mine(rig.depth)

    def lie(params: Sequence[object], answer: Any) -> Any:
        return {**answer, **wrong} if params[0] == txid else answer

    rig.rpc.after["gettxout"] = lie
    with caplog.at_level(logging.ERROR, "nodetill"):
        assert await rig.crediting.book_due(await rig.tip()) == 1
    assert (await rig.balance("u1"), await rig.balance("u2")) == (0, 400)
    assert f"Error processing payment {liar.id}:" in caplog.text
    rig.rpc.after.clear()
    assert await rig.crediting.book_due(await rig.tip()) == 1


async def test_node_that_answers_from_another_block_is_asked_again(rig: Rig) -> None:
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(rig.depth)
    tip = await rig.tip()
    rig.rpc.before["gettxout"] = lambda: rig.node.mine(1)
    assert await rig.crediting.book_due(tip) == 0
    assert await rig.balance() == 0
    assert await rig.crediting.book_due(await rig.tip()) == 1
    assert await rig.balance() == 400
    assert await rig.status(payment) is Status.FORWARDED


async def test_refused_question_waits_for_the_next_pass(rig: Rig) -> None:
    await rig.pay(await rig.create())
    await rig.mine(rig.depth)
    tip = await rig.tip()
    rig.rpc.after["gettxout"] = lambda _, answer: RpcError("gettxout", -1, "not now")
    assert await rig.crediting.book_due(tip) == 0
    rig.rpc.after.clear()
    assert await rig.crediting.book_due(tip) == 1


async def spend_by_the_owner(rig: Rig, payment: PaymentRecord) -> OutPoint:
    """Its one coin leaves the owner's wallet, in the next block."""
    outpoint = (await rig.payment(payment)).facts.outputs[0].outpoint
    target = script_pubkey(rig.node.new_address(), "regtest")
    coin = SweepInput(outpoint, FULL, payment.address_index)
    spent = rig.signer.sign_sweep([coin], target, 1_000, rig.node.height)
    await asyncio.to_thread(rig.node.rpc, "sendrawtransaction", spent.hex)
    await rig.mine(1)
    assert rig.node.rpc("gettxout", *outpoint, False) is None
    return outpoint


async def evidence_of(rig: Rig) -> dict[str, Any]:
    row = await rig.database.read(lambda tx: tx.one("SELECT evidence FROM transfer WHERE kind = 'deposit'"))
    assert row is not None
    evidence: dict[str, Any] = json.loads(row["evidence"])
    return evidence


async def test_spent_by_the_owner_before_it_was_credited(rig: Rig) -> None:
    """Then the block is the evidence."""
    payment = await rig.create()
    await rig.pay(payment)
    (block,) = await rig.mine(1)
    await rig.settle()
    await spend_by_the_owner(rig, payment)
    await rig.settle()
    assert await rig.balance() == 400
    evidence = await evidence_of(rig)
    assert evidence | {"spent": True, "block_hash": block} == evidence


async def test_spent_and_pruned_before_it_was_credited(
    make_node: Callable[..., RegtestNode], make_rig: Callable[..., Rig]
) -> None:
    """Credits were frozen for so long that the node has not even the block any more, which we read in time."""
    node = make_node(extra_args=["-prune=1", "-fastprune"]).fund(5)
    rig = await make_rig(node).open()
    payment = await rig.create()
    await rig.pay(payment)
    (block,) = await rig.mine(1)
    await rig.tip()
    await spend_by_the_owner(rig, payment)
    await asyncio.to_thread(node.mine, 600)
    await rig.tip()
    node.rpc("pruneblockchain", node.height - 300)
    with pytest.raises(NodeError, match="pruned"):
        node.rpc("getblock", block)
    await rig.settle()
    assert await rig.balance() == 400
    evidence = await evidence_of(rig)
    assert evidence | {"spent": True, "block_hash": block, "confirmations": 602} == evidence


async def test_an_output_the_node_never_had_is_not_taken_for_spent(rig: Rig) -> None:
    """`gettxout` answers null for a coin that was spent and for one that never was."""
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(rig.depth)
    tip = await rig.tip()
    rig.rpc.after["gettxout"] = lambda _, answer: None
    rig.rpc.after["getrawtransaction"] = lambda _, answer: RpcError("getrawtransaction", -5, "No such transaction")
    assert await rig.crediting.book_due(tip) == 0
    assert await rig.balance() == 0


async def test_many_due_at_once_and_the_first_of_them_stuck(rig: Rig) -> None:
    """More than one page of payments that cannot be booked must not hold up those behind them."""
    made = [await rig.create(f"u{n % 7}", sat=1_000) for n in range(260)]
    stuck = {p.address for p in made[:230]}
    await asyncio.to_thread(rig.node.pay_many, {p.address: 1_000 for p in made})
    await rig.mine(rig.depth)
    tip = await rig.tip()

    def lie(_: Sequence[object], answer: Any) -> Any:
        return {**answer, "value": 7} if answer["scriptPubKey"]["address"] in stuck else answer

    rig.rpc.after["gettxout"] = lie
    assert await rig.crediting.book_due(tip) == 30
    rig.rpc.after.clear()
    assert await rig.crediting.book_due(tip) == 230
    assert sum([await rig.balance(f"u{n}") for n in range(7)]) == 260 * 400


async def test_deep_reorganisation_takes_back_and_gives_again(rig: Rig) -> None:
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(rig.depth)
    await rig.settle()
    assert await rig.balance() == 400
    await asyncio.to_thread(rig.node.reorg, rig.depth)
    await rig.settle()
    seen = await rig.payment(payment)
    assert (await rig.balance(), seen.state.status, seen.state.failure_reason) == (0, Status.FAILED, "reversed")
    await rig.mine(rig.depth)
    await rig.settle()
    assert await rig.balance() == 400
    assert await rig.status(payment) is Status.FORWARDED
    assert BlockId(rig.node.height, rig.node.tip) == await rig.cursor()


async def test_what_is_gone_does_not_wait_for_what_cannot_be_shown(rig: Rig) -> None:
    """A credited coin is replaced in another branch, and the node contradicts itself about the new one."""
    payment = await rig.create()
    txid = await rig.pay(payment)
    await rig.mine(rig.depth)
    await rig.settle()
    assert await rig.balance() == 400
    rig.node.disconnect_blocks(rig.depth)
    rig.node.bump(txid, 30)
    rig.node.mine(rig.depth + 1)
    rig.rpc.after["gettxout"] = lambda _, answer: answer and {**answer, "confirmations": answer["confirmations"] + 1}
    for _ in range(2):
        await rig.settle()
        assert (await rig.balance(), await rig.status(payment)) == (0, Status.CONFIRMING)
    rig.rpc.after.clear()
    await rig.settle()
    assert (await rig.balance(), await rig.status(payment)) == (400, Status.FORWARDED)
