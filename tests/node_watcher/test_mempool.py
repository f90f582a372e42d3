"""The mempool against a real node: hints, full passes, replacements, and what happens between two questions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from node_watcher.clock import now_ms
from node_watcher.rpc import RpcError
from payments.model import Status
from storage import incoming
from tests.node_watcher.rig import FULL, Rig, outputs_of


async def test_a_hint_is_recorded_once_the_node_confirms_it(rig: Rig) -> None:
    payment = await rig.create()
    raw = await rig.raw(await rig.pay(payment))
    assert await rig.mempool.hear([raw]) == 1
    assert await rig.mempool.hear([raw, raw]) == 2  # again and again changes nothing
    seen = await rig.payment(payment)
    assert (seen.state.status, seen.state.received_sat, len(seen.facts.outputs)) == (Status.CONFIRMING, FULL, 1)
    assert await rig.events(payment) == ["created", "detected", "confirming"]


async def test_hints_that_take_long_to_read_hold_up_nobody(rig: Rig) -> None:
    """A witness of 100,000 empty items, twenty times: others have their turn after each."""
    empty = b"\xfe" + (100_000).to_bytes(4, "little") + bytes(100_000)
    spends = b"\x01" + b"\x11" * 32 + bytes(4) + b"\x00" + b"\xff" * 4
    pays = b"\x01" + (1_000).to_bytes(8, "little") + b"\x01\x51"
    slow = (2).to_bytes(4, "little") + b"\x00\x01" + spends + pays + empty + bytes(4)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(others())
    await rig.watchlist.refresh()
    before = turns
    assert await rig.mempool.hear([slow] * 20) == 0
    waiting.cancel()
    assert turns - before >= 20


async def test_a_forged_hint_is_not_believed(rig: Rig) -> None:
    """ZMQ authenticates nobody: a transaction that the node does not have is nothing."""
    payment = await rig.create()
    raw = await rig.raw(await rig.pay(payment))
    forged = raw[:-4] + b"\x01\x00\x00\x00"  # another locktime, another txid
    assert await rig.mempool.hear([forged, b"noise", raw[:-7], b""]) == 0
    assert await rig.status(payment) is Status.PENDING
    assert rig.meter.snapshot()["unreadable"] == 3


async def test_hints_are_followed_up_in_one_go(rig: Rig) -> None:
    """A hundred payments at once: one question to the node, and commits shared."""
    made = [await rig.create(f"u{n}") for n in range(100)]
    txid = await asyncio.to_thread(rig.node.pay_many, {p.address: FULL for p in made[:50]})
    other = await asyncio.to_thread(rig.node.pay_many, {p.address: FULL for p in made[50:]})
    rig.rpc.asked.clear()
    assert await rig.mempool.hear([await rig.raw(txid), await rig.raw(other)]) == 2
    assert rig.rpc.asked == {"getmempoolentry": 2}
    assert {await rig.status(p) for p in made} == {Status.CONFIRMING}


async def test_a_pass_finds_what_no_hint_told_and_fetches_nothing_twice(rig: Rig) -> None:
    payment = await rig.create()
    await rig.pay(payment)
    tip = await rig.tip()
    assert await rig.mempool.look(tip)
    assert await rig.status(payment) is Status.CONFIRMING
    rig.rpc.asked.clear()
    assert await rig.mempool.look(tip)
    assert rig.rpc.asked == {"getrawmempool": 1, "getbestblockhash": 1}


async def test_memory_of_the_mempool_is_no_larger_than_the_mempool(rig: Rig) -> None:
    for _ in range(3):
        await rig.pay(await rig.create())
        await rig.mempool.look(await rig.tip())
    assert len(rig.mempool._looked_at) == len(rig.node.mempool()) >= 3
    await rig.mine(1)
    await rig.mempool.look(await rig.tip())
    assert rig.mempool._looked_at == set()


async def test_replaced_by_one_that_does_not_pay_us(rig: Rig) -> None:
    payment = await rig.create()
    txid = await rig.pay(payment)
    await rig.mempool.look(await rig.tip())
    other = await rig.replace_elsewhere(txid)
    await rig.mempool.look(await rig.tip())
    seen = await rig.payment(payment)
    assert (seen.state.status, seen.state.received_sat) == (Status.PENDING, 0)
    assert seen.facts.outputs[0].replaced_by == other
    assert "replaced" in await rig.events(payment)


async def test_replaced_within_one_interval_and_told_by_hint_only(rig: Rig) -> None:
    payment = await rig.create()
    txid = await rig.pay(payment)
    await rig.mempool.hear([await rig.raw(txid)])
    other = await rig.replace_elsewhere(txid)
    assert await rig.mempool.hear([await rig.raw(other)]) == 1
    assert (await rig.payment(payment)).facts.outputs[0].replaced_by == other


async def test_fee_bump_counts_once(rig: Rig) -> None:
    payment = await rig.create()
    txid = await rig.pay(payment)
    await rig.mempool.look(await rig.tip())
    bumped = await asyncio.to_thread(rig.node.bump, txid)
    await rig.mempool.look(await rig.tip())
    seen = await rig.payment(payment)
    assert (seen.state.received_sat, seen.state.tx_hash) == (FULL, bumped)
    assert sorted(outputs_of(seen).values()) == ["mempool", "replaced"]


async def test_block_between_the_last_two_questions(rig: Rig) -> None:
    """Whatever is in the new block is not missing, only further on."""
    payment = await rig.create()
    await rig.pay(payment)
    other = await rig.create()
    second = await rig.pay(other)
    tip = await rig.tip()
    await rig.mempool.look(tip)
    await rig.replace_elsewhere(second)  # something is missing, so that the node is asked about it
    rig.rpc.before["getmempoolentry"] = lambda: rig.node.mine(1)
    rig.rpc.after["getrawmempool"] = lambda _, answer: []
    assert not await rig.mempool.look(tip)
    assert await rig.status(payment) is Status.CONFIRMING
    assert "dropped" not in await rig.events(payment)


async def test_block_during_the_pass(rig: Rig) -> None:
    payment = await rig.create()
    await rig.pay(payment)
    tip = await rig.tip()
    await rig.mempool.look(tip)
    rig.rpc.before["getrawmempool"] = lambda: rig.node.mine(1)
    assert not await rig.mempool.look(tip)
    assert await rig.status(payment) is Status.CONFIRMING


async def test_node_that_is_still_loading_its_mempool_misses_nothing(rig: Rig) -> None:
    """After a restart RPC answers before mempool.dat is read: an empty list says nothing then."""
    payment = await rig.create()
    await rig.pay(payment)
    tip = await rig.tip()
    await rig.mempool.look(tip)
    rig.rpc.after["getrawmempool"] = lambda _, answer: []
    rig.rpc.after["getmempoolentry"] = lambda _, answer: RpcError("getmempoolentry", -5, "not in mempool")
    rig.rpc.after["getmempoolinfo"] = lambda _, answer: {**answer, "loaded": False}
    assert not await rig.mempool.look(tip)
    assert await rig.status(payment) is Status.CONFIRMING
    del rig.rpc.after["getmempoolinfo"]
    assert await rig.mempool.look(tip)
    assert await rig.events(payment) == ["created", "detected", "confirming", "dropped"]


async def test_what_comes_back_counts_again(rig: Rig) -> None:
    payment = await rig.create()
    txid = await rig.pay(payment)
    tip = await rig.tip()
    await rig.mempool.look(tip)
    await rig.database.write(incoming.record_missing, [(txid, None)], now_ms())
    assert await rig.status(payment) is Status.PENDING
    await rig.mempool.look(tip)
    assert await rig.status(payment) is Status.CONFIRMING


async def test_node_without_gettxspendingprevout(rig: Rig) -> None:
    """Bitcoin Core before 24: then nobody can say who replaced it, and that it is gone is known all the same."""
    payment = await rig.create()
    txid = await rig.pay(payment)
    tip = await rig.tip()
    await rig.mempool.look(tip)

    def unknown(params: Sequence[object], answer: Any) -> Any:
        return RpcError("gettxspendingprevout", -32601, "Method not found")

    rig.rpc.after["gettxspendingprevout"] = unknown
    rig.rpc.after["getrawmempool"] = lambda _, answer: [t for t in answer if t != txid]
    rig.rpc.after["getmempoolentry"] = lambda _, answer: RpcError("getmempoolentry", -5, "not in mempool")
    assert await rig.mempool.look(tip)
    assert await rig.status(payment) is Status.PENDING


async def test_transaction_that_was_away_for_a_moment_is_looked_at_again(rig: Rig) -> None:
    """Fetched, gone when the node was asked about it, and back: nobody tells us of it twice."""
    payment = await rig.create()
    await rig.pay(payment)
    tip = await rig.tip()
    rig.rpc.after["getmempoolentry"] = lambda _, answer: RpcError("getmempoolentry", -5, "not in mempool")
    await rig.mempool.look(tip)
    assert await rig.status(payment) is Status.PENDING
    rig.rpc.after.clear()
    await rig.mempool.look(tip)
    assert await rig.status(payment) is Status.CONFIRMING
