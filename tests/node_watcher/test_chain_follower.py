"""The chain loop against a real node: blocks, reorganisations, a node that went back, a first start late."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import pytest

from node_watcher.clock import now_ms
from node_watcher.rpc import NodeError
from payments.model import BlockHeader, Status
from regtest.node import RegtestNode
from storage import chain
from storage.errors import CursorMoved
from tests.node_watcher.rig import Rig


async def test_a_payment_that_was_only_ever_in_a_block_is_found(rig: Rig) -> None:
    payment = await rig.create()
    txid = await rig.pay(payment)
    await rig.mine(1)
    followed = await rig.follower.follow()
    assert followed.connected == 1
    assert followed.tip.hash == rig.node.tip
    seen = await rig.payment(payment)
    assert seen.state.status is Status.CONFIRMING
    assert (seen.state.tx_hash, seen.state.confirmations) == (txid, 1)


async def test_nothing_new_costs_one_question(rig: Rig) -> None:
    rig.rpc.asked.clear()
    assert (await rig.follower.follow()).connected == 0
    assert rig.rpc.asked == {"getblockheader": 1}


async def test_reorganisation_walks_back_and_up_the_other_branch(rig: Rig) -> None:
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(1)
    await rig.settle()
    await asyncio.to_thread(rig.node.reorg, 1)
    followed = await rig.follower.follow()
    assert (followed.disconnected, followed.connected) == (1, 2)
    assert followed.tip.hash == rig.node.tip
    await rig.settle()
    seen = await rig.payment(payment)
    assert (seen.state.status, seen.state.confirmations) == (Status.CONFIRMING, 0)
    assert "reorged" in seen.state.flags


async def test_reorganisation_below_the_block_at_which_we_began(rig: Rig) -> None:
    began = await rig.cursor()
    payment = await rig.create()
    await asyncio.to_thread(rig.node.disconnect_blocks, 3)
    await rig.pay(payment)
    await rig.mine(1)  # the payment is in a block below the height of our beginning
    await asyncio.to_thread(rig.node.mine_empty, 4)
    followed = await rig.follower.follow()
    assert (followed.disconnected, followed.connected) == (3, 5)
    await rig.settle()
    seen = await rig.payment(payment)
    assert seen.facts.outputs[0].height == began.height - 2
    assert await rig.balance() == 400


async def test_block_found_and_branch_changed_between_two_questions(rig: Rig) -> None:
    """The node says which block comes next, and takes it back before we fetch it."""
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(1)
    rig.rpc.before["getblock"] = lambda: rig.node.reorg(1, with_mempool=True)
    await rig.tip()
    assert (await rig.cursor()).hash == rig.node.tip
    await rig.settle()
    assert (await rig.payment(payment)).facts.outputs[0].height is not None


async def test_node_that_does_not_know_our_block_is_waited_for(rig: Rig) -> None:
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(rig.depth)
    tip = await rig.settle()
    assert await rig.balance() == 400
    # A block that this node lost: it crashed before writing it to its disk.
    lost = BlockHeader(tip.height + 1, secrets.token_hex(32), tip.hash, now_ms())
    await rig.database.write(chain.connect, lost, (), now_ms())
    followed = await rig.follower.follow()
    assert (followed.behind, followed.disconnected, followed.tip) == (True, 0, lost.id)
    assert await rig.cursor() == lost.id
    assert await rig.balance() == 400


async def test_node_that_went_back_and_on_without_our_block(rig: Rig) -> None:
    """It will never learn of the block that only we remember: once it is past it, that was a reorganisation."""
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(rig.depth)
    tip = await rig.settle()
    for number in (1, 2):
        before = await rig.cursor()
        lost = BlockHeader(tip.height + number, secrets.token_hex(32), before.hash, now_ms())
        await rig.database.write(chain.connect, lost, (), now_ms())
    await rig.mine(2)
    assert (await rig.follower.follow()).behind  # as high as we were: it may still come back to our branch
    await rig.mine(1)
    followed = await rig.follower.follow()
    assert (followed.behind, followed.disconnected, followed.connected) == (False, 2, 3)
    assert (await rig.cursor()).hash == rig.node.tip
    await rig.settle()
    assert await rig.balance() == 400


@pytest.mark.parametrize("blocks", [0, 3])
async def test_first_start_after_payments_were_made_and_paid(
    make_rig: Callable[..., Rig], chain_node: RegtestNode, blocks: int
) -> None:
    """The node was away when the shop opened; people had addresses and paid them meanwhile."""
    rig = await make_rig(chain_node).open(begin=False)
    payment = await rig.create()
    await rig.pay(payment)
    if blocks:
        await rig.mine(blocks)
    await rig.settle()
    seen = await rig.payment(payment)
    assert seen.state.received_sat == 40_000
    assert await rig.balance() == (400 if blocks else 0)
    await rig.mine(1)  # leave nothing in the mempool


async def test_first_start_without_payments_reads_no_blocks(
    make_rig: Callable[..., Rig], chain_node: RegtestNode
) -> None:
    rig = await make_rig(chain_node).open(begin=False)
    assert (await rig.follower.follow()).connected == 0
    assert rig.rpc.asked["getblock"] == 0


async def test_a_cut_block_is_the_nodes_trouble_and_not_the_end(rig: Rig) -> None:
    """Its header is right, the rest is not: asked again next time, and nothing is recorded."""
    before = await rig.cursor()
    await rig.mine(1)
    rig.rpc.after["getblock"] = lambda _, answer: answer[:-20]
    with pytest.raises(NodeError, match="block"):
        await rig.follower.follow()
    assert await rig.cursor() == before
    del rig.rpc.after["getblock"]
    assert (await rig.follower.follow()).connected == 1


async def test_a_second_watcher_is_noticed(rig: Rig) -> None:
    await rig.mine(2)

    def somebody_else() -> None:
        other = asyncio.run_coroutine_threadsafe(rig.new_follower().follow(), loop)
        other.result(10)

    loop = asyncio.get_running_loop()
    rig.rpc.before["getblock"] = somebody_else
    with pytest.raises(CursorMoved):
        await rig.follower.follow()
    assert (await rig.tip()).hash == rig.node.tip


async def test_a_long_walk_is_told_in_between(rig: Rig) -> None:
    """So that the watcher can report, be asked and be stopped while it catches up."""
    await rig.mine(5)
    first = await rig.follower.follow(at_most=2)
    assert (first.connected, first.more) == (2, True)
    second = await rig.follower.follow(at_most=5)
    assert (second.connected, second.more, second.tip.hash) == (3, False, rig.node.tip)
