"""Addresses that this database has not handed out, and that somebody pays all the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from node_watcher.audit import Auditor
from node_watcher.blocks import BlockSource
from node_watcher.chain_scan import ChainScan
from node_watcher.look_ahead import GAP, LookAhead
from regtest.node import RegtestNode
from storage.till import next_index, step_over
from storage.watched import indexes_left_out
from tests.node_watcher.rig import Rig
from tests.node_watcher.test_witness import knows
from tests.waiting import wait_for


async def pay_index(rig: Rig, *indexes: int) -> str:
    """One transaction to the addresses with these indexes, whoever was shown them."""
    amounts = {rig.descriptor.derive(index)[1]: 0.0004 for index in indexes}
    return str(await asyncio.to_thread(rig.node.rpc, "sendmany", "", amounts, wallet="payer"))


async def free(rig: Rig) -> int:
    return await rig.database.read(next_index, rig.keychain)


async def recorded(rig: Rig) -> int:
    rows = await rig.database.read(lambda tx: tx.all("SELECT txid FROM incoming_tx UNION SELECT txid FROM block_tx"))
    return len(rows)


async def test_paid_in_a_block(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    sold = await rig.create()
    txid = await pay_index(rig, 7)
    await rig.mine(1)
    await rig.tip()
    assert (await free(rig), await recorded(rig)) == (8 + GAP, 0)
    (told,) = (record.getMessage() for record in caplog.records if record.levelno == logging.ERROR)
    assert f"Transaction {txid} pays the address with index 7" in told
    assert told.endswith(f"that with index {8 + GAP}")
    # Business goes on, with addresses that nobody was ever shown.
    after = await rig.create(user="u2")
    assert after.address_index == 8 + GAP
    await rig.pay(sold)
    await rig.pay(after)
    await rig.mine(2)
    await rig.settle()
    assert (await rig.balance("u1"), await rig.balance("u2")) == (400, 400)


async def test_seen_in_the_mempool(rig: Rig) -> None:
    await rig.create()
    tip = await rig.tip()
    txid = await pay_index(rig, 0, 3)
    assert await rig.mempool.look(tip)
    assert await free(rig) == 4 + GAP
    assert await rig.mempool.look(tip)
    await rig.mine(3)
    await rig.settle()
    # What it pays to the address that was sold counts; the other output is nobody's.
    found = await rig.database.read(lambda tx: tx.all("SELECT txid, payment_number FROM output"))
    assert [(row["txid"], row["payment_number"]) for row in found] == [(txid, 1)]
    assert await rig.balance() == 400


async def test_a_mempool_that_leads_on_and_on(rig: Rig) -> None:
    """One transaction each; those that are beyond the window at first were read already when it moves."""
    await rig.create()
    tip = await rig.tip()
    for index in (15 + GAP + 10, 15, 15 + 2 * GAP + 20):
        await pay_index(rig, index)
    assert await rig.mempool.look(tip)
    assert await free(rig) == 15 + 2 * GAP + 20 + 1 + GAP
    assert await recorded(rig) == 0


async def test_each_sale_moves_the_window(rig: Rig) -> None:
    for _ in range(3):
        await rig.create()
    await rig.tip()
    await pay_index(rig, 22)
    await rig.mine(1)
    await rig.tip()
    assert await free(rig) == 23 + GAP


async def test_a_forged_one_steps_over_nothing(rig: Rig) -> None:
    await rig.create()
    await rig.tip()
    txid = await pay_index(rig, 2)
    raw = await rig.raw(txid)
    await rig.replace_elsewhere(txid)
    await rig.mempool.hear([raw])
    assert await free(rig) == 1


async def test_one_block_that_leads_on_and_on(rig: Rig) -> None:
    """Each address is beyond the window until the one before it was noticed."""
    await rig.create()
    await pay_index(rig, 15, 15 + GAP + 10, 15 + 2 * GAP + 20, 15 + 3 * GAP + 60)
    await rig.mine(1)
    await rig.tip()
    assert await free(rig) == 15 + 2 * GAP + 20 + 1 + GAP  # the last one is beyond 20 addresses after those


async def test_left_out_and_paid_all_the_same(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A restored till leaves out addresses that may have been shown; the next start watches them again."""
    await rig.create()
    await rig.database.write(step_over, rig.keychain, 10)
    last = await rig.create(user="u2")
    assert last.address_index == 10
    await rig.tip()
    await pay_index(rig, 4)
    await rig.mine(1)
    await rig.tip()
    assert "with index 4," not in caplog.text, "this process does not know that they were left out"
    rig.watchlist.ahead = LookAhead(rig.keychain, rig.descriptor.derive, span=20)
    await rig.watchlist.load()
    txid = await pay_index(rig, 7, 10)
    for _ in range(2):
        await pay_index(rig, 7)
    await rig.mine(3)
    await rig.settle()
    (told,) = (record.getMessage() for record in caplog.records if "with index 7," in record.getMessage())
    assert f"Transaction {txid}" in told
    assert told.endswith("The next address will be that with index 108")  # those after it were shown as well, perhaps
    assert (await rig.balance("u1"), await rig.balance("u2")) == (0, 400)
    assert await rig.database.read(indexes_left_out, rig.keychain, 3) == [1, 2, 3, 11, 12, 13]


async def test_only_the_nodes_wallet_knows(make_rig: Callable[..., Rig], chain_node: RegtestNode) -> None:
    """A fresh database beside an old wallet: what was paid is below the block at which it begins."""
    rig = await make_rig(chain_node).open(begin=False)
    witness = rig.new_witness()
    await witness.prepare()
    txid = await pay_index(rig, 5)
    await rig.mine(1)
    tip = await rig.tip()
    wait_for(lambda: knows(rig, witness, txid))
    assert await free(rig) == 0
    assert await witness.compare(tip) == 0
    assert (await free(rig), witness.defects_total) == (6 + GAP, 0)


async def test_an_audit_has_nothing_to_say(rig: Rig) -> None:
    await pay_index(rig, 30)  # beyond the window of the moment
    await rig.mine(1)
    await rig.settle()
    for _ in range(15):
        await rig.create()
    await rig.watchlist.refresh()
    assert await free(rig) == 15
    scan = ChainScan(rig.rpc, BlockSource(rig.rpc), rig.watchlist)
    found = await Auditor(rig.rpc, scan, rig.database, network="regtest", destination=None).run(full=True)
    assert found.differences == ()


async def test_the_window_moves_up(rig: Rig) -> None:
    derive = rig.descriptor.derive
    ahead = LookAhead(1, derive, span=5)
    assert list(ahead.more()) == [derive(index)[0] for index in range(5)]
    assert ahead.passed(3) == [derive(index)[0] for index in range(3)]
    assert ahead.passed(2) == []
    assert list(ahead.more()) == [derive(index)[0] for index in (5, 6, 7)]
    assert ahead.passed(100) == [derive(index)[0] for index in (3, 4, 5, 6, 7)]
    assert list(ahead.more()) == [derive(index)[0] for index in range(100, 105)]
