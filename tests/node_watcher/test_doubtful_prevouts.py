"""What is worth watching is never out of date for long: after a reorganisation, and after a commit nobody heard of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from node_watcher.rpc import NodeUnavailable
from regtest.node import RegtestNode
from storage.errors import DatabaseBusy
from storage.tx import Tx
from tests.node_watcher.rig import Rig


async def swept(rig: Rig) -> Any:
    """A payment whose sweep waits for its block."""
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(rig.depth)
    await rig.settle()
    forwarder = rig.new_forwarder(rig.node.new_address())
    assert await forwarder.forward_due(await rig.tip()) == 1
    return forwarder


async def what_became_of_it(rig: Rig) -> tuple[str, bool]:
    """The state of the one sweep, and whether its coin is known to be spent."""

    def read(tx: Tx) -> tuple[str, bool]:
        sweep, output = tx.one("SELECT state FROM sweep"), tx.one("SELECT spent_by FROM output")
        assert sweep is not None
        assert output is not None
        return sweep["state"], output["spent_by"] is not None

    return await rig.database.read(read)


@pytest.mark.parametrize("hiccup", [False, True], ids=["in one go", "with a hiccup"])
async def test_a_sweep_that_was_final_is_seen_mined_again(
    make_rig: Callable[..., Rig], chain_node: RegtestNode, hiccup: bool
) -> None:
    chain_node.mine(1)
    rig = await make_rig(chain_node, forwarding=True).open()
    forwarder = await swept(rig)
    fork = rig.node.tip
    await rig.mine(7)
    await rig.settle()
    await forwarder.forward_due(await rig.tip())
    assert await what_became_of_it(rig) == ("confirmed", True)
    await rig.watchlist.renew_prevouts()  # its coin is final, so that nobody watches it any more
    await asyncio.to_thread(rig.node.reorg, 7, longer_by=2, with_mempool=True)
    if hiccup:

        def cut(params: Sequence[object], answer: Any) -> Any:
            if params[0] == fork:
                rig.rpc.after.clear()
                raise NodeUnavailable("cut")
            return answer

        rig.rpc.after["getblockheader"] = cut
        with pytest.raises(NodeUnavailable):
            await rig.follower.follow()
    await rig.settle()
    await rig.mine(7)
    await rig.settle()
    await forwarder.forward_due(await rig.tip())
    assert await what_became_of_it(rig) == ("confirmed", True)


async def test_a_commit_whose_answer_is_lost(
    make_rig: Callable[..., Rig], chain_node: RegtestNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block is in the database, and whoever wrote it hears of trouble."""
    chain_node.mine(1)
    rig = await make_rig(chain_node, forwarding=True).open()
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(1)
    engine = rig.database._engine
    commit, lost = engine.commit, [True]

    def commit_and_cut(connection: Any) -> None:
        commit(connection)
        if lost.pop() if lost else False:
            raise DatabaseBusy("the connection was cut")

    monkeypatch.setattr(engine, "commit", commit_and_cut)
    with pytest.raises(Exception, match="the cursor is at"):
        await rig.follower.follow()
    assert not lost
    await rig.mine(rig.depth)
    await rig.settle()
    forwarder = rig.new_forwarder(rig.node.new_address())
    assert await forwarder.forward_due(await rig.tip()) == 1
    await rig.mine(7)
    await rig.settle()
    await forwarder.forward_due(await rig.tip())
    assert await what_became_of_it(rig) == ("confirmed", True)
