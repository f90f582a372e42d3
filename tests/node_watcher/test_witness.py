"""The second witness on a real node: it finds what the watcher missed, and cries wolf for nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from node_watcher.clock import now_ms
from node_watcher.witness import Witness, WitnessUnusable
from payments.block import parse_header
from payments.model import Status
from regtest.node import RegtestNode
from storage import chain
from tests.node_watcher.rig import FULL, Rig
from tests.waiting import wait_for


@pytest.fixture
async def witness(rig: Rig) -> Witness:
    made = rig.new_witness()
    await made.begin()
    await made.prepare()
    return made


def knows(rig: Rig, witness: Witness, txid: str) -> bool:
    """Whether the node's wallet has the transaction: some milliseconds after its mempool."""
    rows = rig.node.rpc("listtransactions", "*", 1000, wallet=witness._wallet)
    return any(row["txid"] == txid for row in rows)


async def overlook_a_block(rig: Rig) -> None:
    """Connect the next block as if nothing of ours were in it."""
    cursor = await rig.cursor()
    block_hash = rig.node.rpc("getblockhash", cursor.height + 1)
    raw = bytes.fromhex(rig.node.rpc("getblockheader", block_hash, False))
    await rig.database.write(chain.connect, parse_header(raw, cursor.height + 1), (), now_ms())


async def test_the_wallet_has_no_keys_and_covers_more_than_we_need(rig: Rig, witness: Witness) -> None:
    info = rig.node.rpc("getwalletinfo", wallet=witness._wallet)
    assert (info["private_keys_enabled"], info["descriptors"]) == (False, True)
    (listed,) = rig.node.rpc("listdescriptors", wallet=witness._wallet)["descriptors"]
    assert listed["range"][0] == 0
    assert listed["range"][1] >= 1_000


async def test_prepared_again_asks_and_changes_nothing(rig: Rig, witness: Witness) -> None:
    rig.rpc.asked.clear()
    await witness.prepare()
    assert not rig.rpc.asked
    again = rig.new_witness(witness._wallet)
    await again.prepare()
    assert rig.rpc.asked["importdescriptors"] == 0  # after a restart the range is read, not derived anew


async def test_what_the_watcher_saw_is_no_defect(rig: Rig, witness: Witness, caplog: pytest.LogCaptureFixture) -> None:
    await rig.pay(await rig.create())
    await rig.mine(1)
    await rig.pay(await rig.create())
    tip = await rig.settle()
    assert await witness.compare(tip) == 0
    assert await witness.compare(tip) == 0
    assert (witness.defects_total, caplog.records) == (0, [])


async def test_what_was_overlooked_in_a_block_is_made_good(
    rig: Rig, witness: Witness, caplog: pytest.LogCaptureFixture
) -> None:
    payment = await rig.create()
    txid = await rig.pay(payment)
    await rig.mine(rig.depth)
    await overlook_a_block(rig)
    tip = await rig.settle()
    assert await rig.status(payment) is Status.PENDING
    assert await witness.compare(tip) == 1
    assert witness.defects_total == 1
    assert txid in caplog.text
    await rig.settle()
    assert await rig.balance() == 400
    assert await witness.compare(tip) == 0


async def test_seen_in_the_mempool_and_overlooked_in_its_block(rig: Rig, witness: Witness) -> None:
    payment = await rig.create()
    await rig.pay(payment)
    await rig.settle()
    await rig.mine(rig.depth)
    await overlook_a_block(rig)
    tip = await rig.tip()
    assert await witness.compare(tip) == 1
    await rig.settle()
    assert await rig.balance() == 400


async def test_what_comes_this_very_moment_is_no_defect_yet(rig: Rig, witness: Witness) -> None:
    """The wallet may know it before the hint is through."""
    tip = await rig.settle()
    payment = await rig.create()
    txid = await rig.pay(payment)
    wait_for(lambda: knows(rig, witness, txid))
    assert await witness.compare(tip) == 0
    assert await rig.status(payment) is Status.PENDING
    # Still not recorded at the next comparison: now it is one.
    assert await witness.compare(tip) == 1
    assert await rig.status(payment) is Status.CONFIRMING
    assert await witness.compare(tip) == 0


async def test_hint_comes_through_between_two_comparisons(rig: Rig, witness: Witness) -> None:
    tip = await rig.settle()
    txid = await rig.pay(await rig.create())
    wait_for(lambda: knows(rig, witness, txid))
    assert await witness.compare(tip) == 0
    await rig.mempool.hear([await rig.raw(txid)])
    assert await witness.compare(tip) == 0
    assert witness.defects_total == 0


async def test_block_above_our_cursor_is_left_to_the_chain_loop(rig: Rig, witness: Witness) -> None:
    tip = await rig.settle()
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(1)
    assert await witness.compare(tip) == 0
    assert await rig.status(payment) is Status.PENDING
    await rig.settle()
    assert await witness.compare(await rig.cursor()) == 0


async def test_replaced_transactions_are_not_brought_back(rig: Rig, witness: Witness) -> None:
    payment = await rig.create()
    txid = await rig.pay(payment)
    tip = await rig.settle()
    await rig.replace_elsewhere(txid)
    await rig.settle()
    for _ in range(3):
        assert await witness.compare(tip) == 0
    assert (await rig.payment(payment)).state.received_sat == 0


async def test_reorganisation_under_its_last_comparison(rig: Rig, witness: Witness) -> None:
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(1)
    assert await witness.compare(await rig.settle()) == 0
    rig.node.reorg(1, with_mempool=True)
    assert await witness.compare(await rig.settle()) == 0
    assert (await rig.payment(payment)).state.received_sat == FULL


async def test_what_came_while_we_were_away_is_compared_however_long_ago(rig: Rig) -> None:
    """More blocks than a reorganisation may undo have passed since; the comparison begins where we stopped."""
    wallet = rig.new_witness()
    await wallet.prepare()
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(1)
    await rig.mine(150)
    restarted = rig.new_witness(wallet._wallet)
    await restarted.begin()
    await overlook_a_block(rig)
    tip = await rig.settle()
    await restarted.prepare()
    assert await restarted.compare(tip) == 1
    await rig.settle()
    assert await rig.balance() == 400


async def test_range_grows_ahead_of_the_addresses(rig: Rig, witness: Witness) -> None:
    await rig.database.write(lambda tx: tx.execute("UPDATE keychain SET next_index = 900"))
    await witness.prepare()
    payment = await rig.create()
    assert payment.address_index == 900
    tip = await rig.settle()
    txid = await rig.pay(payment)
    wait_for(lambda: knows(rig, witness, txid))
    await witness.compare(tip)
    assert await witness.compare(tip) == 1  # the node's wallet saw it on an address beyond the first range


async def test_a_wallet_that_extended_its_range_by_itself(
    make_node: Callable[..., RegtestNode], make_rig: Callable[..., Rig]
) -> None:
    """-keypool, or a payment to a high address: the node refuses a range smaller than its own."""
    node = make_node(extra_args=["-keypool=3000"])
    node.mine(1)
    rig = await make_rig(node).open()
    witness = rig.new_witness()
    await witness.prepare()
    await rig.database.write(lambda tx: tx.execute("UPDATE keychain SET next_index = 900"))
    await witness.prepare()
    await rig.database.write(lambda tx: tx.execute("UPDATE keychain SET next_index = 5000"))
    await witness.prepare()
    (listed,) = node.rpc("listdescriptors", wallet=witness._wallet)["descriptors"]
    assert listed["range"][1] >= 5_200


async def test_unloaded_wallet_is_loaded_again(rig: Rig, witness: Witness) -> None:
    tip = await rig.settle()
    rig.node.rpc("unloadwallet", witness._wallet)
    with pytest.raises(WitnessUnusable, match=f"node.wallet {witness._wallet}"):
        await witness.compare(tip)
    await witness.prepare()
    assert await witness.compare(tip) == 0


async def test_a_wallet_of_somebody_else_is_refused(rig: Rig) -> None:
    name = f"private-{secrets.token_hex(4)}"
    rig.node.rpc("createwallet", name)
    with pytest.raises(WitnessUnusable, match=f"node.wallet {name}"):
        await rig.new_witness(name).prepare()


async def test_new_wallet_finds_what_was_paid_since_the_shop_opened(rig: Rig) -> None:
    """The wallet was deleted; its import goes back to the birth of the database."""
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(1)
    await overlook_a_block(rig)
    late = rig.new_witness()
    await late.prepare()
    assert await late.compare(await rig.tip()) == 1
    assert (await rig.payment(payment)).state.confirmations == 1
