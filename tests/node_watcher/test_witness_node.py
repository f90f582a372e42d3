"""A second node of the operator's that is asked about each tip: it agrees, disagrees, is away or behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from node_watcher.clock import now_ms
from node_watcher.credentials import Credentials
from node_watcher.gate import Gate
from node_watcher.rpc import RpcError
from node_watcher.rpc_http import HttpRpc
from node_watcher.witness_node import WitnessNode
from payments.model import Status
from regtest.node import RegtestNode
from storage import till
from tests.node_watcher.crediting_checks import credited_once, untouched
from tests.node_watcher.rig import MeddlingRpc, Rig
from tests.node_watcher.test_watcher import codes, running


@asynccontextmanager
async def witness(node: RegtestNode) -> AsyncIterator[WitnessNode]:
    rpc = HttpRpc(node.rpc_url, Credentials(cookie_file=node.cookie_file))
    try:
        yield WitnessNode(node.rpc_url, rpc)
    finally:
        await rpc.close()


@pytest.fixture
def two_nodes(make_node: Callable[..., RegtestNode]) -> tuple[RegtestNode, RegtestNode]:
    """Ours, with money, and a witness, level and connected."""
    ours, other = make_node(p2p=True).fund(5), make_node(p2p=True, zmq=False)
    ours.connect(other)
    other.wait_for_tip(ours.tip)
    return ours, other


async def test_a_witness_that_disagrees_and_then_agrees(
    two_nodes: tuple[RegtestNode, RegtestNode], make_rig: Callable[..., Rig]
) -> None:
    ours, other = two_nodes
    rig = await make_rig(ours).open()
    async with witness(other) as seen, running(rig.new_watcher(witness_nodes=[seen])) as watcher:
        assert await codes(rig) == []
        ours.disconnect()
        payment = await rig.create()
        await rig.pay(payment)
        other.mine_empty(5)
        await rig.mine(4)
        await untouched(rig, watcher, payment, "witness-disagrees")
        detail = (await rig.database.read(till.health))["reasons"][0]["detail"]
        assert ours.rpc("getblockhash", ours.height - 2) in detail
        assert other.rpc("getblockhash", ours.height - 2) in detail
        ours.connect(other)
        ours.wait_for_tip(other.tip)  # the witness has more work: it was right
        await watcher.check_now()
        assert (await codes(rig), await rig.balance()) == ([], 0)
        await rig.mine(rig.depth)
        other.wait_for_tip(ours.tip)
        await credited_once(rig, watcher, payment)


async def test_a_witness_is_heard_while_the_node_lags(
    two_nodes: tuple[RegtestNode, RegtestNode], make_rig: Callable[..., Rig]
) -> None:
    """A chain that the witness rejects is not walked onto because some of its blocks are still missing."""
    ours, other = two_nodes
    rig = await make_rig(ours).open()
    async with witness(other) as seen, running(rig.new_watcher(witness_nodes=[seen])) as watcher:
        payment = await rig.create()
        await rig.pay(payment)
        await rig.mine(1)
        other.wait_for_tip(ours.tip)
        assert await watcher.check_now()
        ours.disconnect()
        other.mine_empty(3)
        before = await rig.cursor()
        rig.rpc.after["getblockchaininfo"] = lambda _, info: {**info, "headers": info["blocks"] + 3}
        ours.rpc("invalidateblock", ours.tip)
        ours.mine_empty(5)
        assert not await watcher.check_now()
        assert await codes(rig) == ["syncing", "witness-disagrees"]
        assert (await rig.cursor(), await rig.status(payment)) == (before, Status.CONFIRMING)


async def test_a_witness_that_is_away_or_behind(
    two_nodes: tuple[RegtestNode, RegtestNode], make_rig: Callable[..., Rig]
) -> None:
    ours, other = two_nodes
    rig = await make_rig(ours).open()
    async with witness(other) as seen, running(rig.new_watcher(witness_nodes=[seen])) as watcher:
        payment = await rig.create()
        await rig.pay(payment)
        await asyncio.to_thread(other.stop)
        await watcher.check_now()
        assert await codes(rig) == []  # it has agreed on this tip
        await rig.mine(3)
        for away in (True, False):
            await watcher.check_now()
            assert await codes(rig) == ["witness-silent"]
            assert seen.url in (await rig.database.read(till.health))["reasons"][0]["detail"]
            assert (await rig.payment(payment)).state.confirmations >= rig.depth  # recorded
            assert await rig.balance() == 0
            if away:
                await asyncio.to_thread(other.start)  # it has none of the three blocks
        ours.connect(other)
        other.wait_for_tip(ours.tip)
        await credited_once(rig, watcher, payment)


async def test_all_witnesses_are_asked_at_once_and_about_a_tip_once(rig: Rig) -> None:
    rpcs = [MeddlingRpc(rig.node) for _ in range(3)]
    gate = Gate(rig.rpc, rig.rules, [WitnessNode("http://witness", rpc) for rpc in rpcs])
    for _ in range(2):
        assert (await gate.examine(now_ms())).reasons == ()
    assert [rpc.asked["getblockhash"] for rpc in rpcs] == [1, 1, 1]
    rpcs[1].after["getblockhash"] = lambda _, answer: RpcError("getblockhash", -8, "Block height out of range")
    await rig.mine(1)
    for _ in range(2):
        verdict = await gate.examine(now_ms())
        assert [reason.code for reason in verdict.reasons] == ["witness-silent"]
    assert rpcs[1].asked["getblockhash"] == 3
    for rpc in rpcs:
        await rpc.close()
