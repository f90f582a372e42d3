"""A node on another chain: nothing of it is recorded or credited, it is said why, and all goes on when it is back.

What a node of the right kind cannot be made to show (a version, a header without work) is laid over its
answers; chains that part, nodes that are cut off and clocks that are wrong are real.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from node_watcher.chain_rules import ChainRules, rules_of
from node_watcher.clock import now_ms
from node_watcher.credentials import Credentials
from node_watcher.gate import Gate
from node_watcher.rpc import NodeError
from payments.model import BlockId, Status
from regtest.node import RegtestNode
from storage import till
from tests.node_watcher.crediting_checks import credited_once, paid, untouched
from tests.node_watcher.rig import Rig
from tests.node_watcher.test_watcher import codes, running

HOUR = 3_600_000


# ------------------------------------------------------------------ what it costs


async def test_a_tip_is_asked_about_once(rig: Rig) -> None:
    async with running(rig.new_watcher()) as watcher:
        await rig.mine(1)
        rig.rpc.asked.clear()
        await watcher.check_now()
        assert (rig.rpc.asked["getnetworkinfo"], rig.rpc.asked["getblockhash"]) == (1, 2)
        rig.rpc.asked.clear()
        await watcher.check_now()
        assert rig.rpc.asked["getnetworkinfo"] == rig.rpc.asked["getblockhash"] == 0


async def test_after_an_error_everything_is_asked_again(rig: Rig) -> None:
    """Another node may answer next, also one with the same tip."""
    gate = Gate(rig.rpc, rig.rules)
    await gate.examine(now_ms())
    rig.rpc.after["getblockchaininfo"] = lambda _, answer: None
    with pytest.raises(NodeError):
        await gate.examine(now_ms())
    rig.rpc.after.clear()
    rig.rpc.asked.clear()
    await gate.examine(now_ms())
    assert rig.rpc.asked["getnetworkinfo"] == 1


# ------------------------------------------------------------------ first block, pinned blocks, version


def pinned(rig: Rig, height: int, block_hash: str) -> ChainRules:
    return replace(rig.rules, checkpoints=(BlockId(height, block_hash),))


async def test_pins_that_hold(rig: Rig) -> None:
    height = rig.node.height - 3
    rules = pinned(rig, height, rig.node.rpc("getblockhash", height))
    async with running(rig.new_watcher(rules=rules)) as watcher:
        await credited_once(rig, watcher, await paid(rig))


async def test_pins_above_the_tip_are_waited_for(rig: Rig) -> None:
    height = rig.node.height + 1
    async with running(rig.new_watcher(rules=pinned(rig, height, "ab" * 32))) as watcher:
        assert await codes(rig) == []
        await untouched(rig, watcher, await paid(rig), "chain-mismatch")


@pytest.mark.parametrize("height", [0, 7])
async def test_another_first_block_or_another_pinned_one(rig: Rig, height: int) -> None:
    wrong = replace(rig.rules, genesis="ab" * 32) if height == 0 else pinned(rig, height, "ab" * 32)
    payment = await paid(rig)
    async with running(rig.new_watcher(rules=wrong), level=False) as watcher:
        await untouched(rig, watcher, payment, "chain-mismatch")
        (reason,) = (await rig.database.read(till.health))["reasons"]
        assert rig.node.rpc("getblockhash", height) in reason["detail"]
        assert "node.checkpoints" in reason["detail"]
    async with running(rig.new_watcher()) as watcher:  # the operator corrected it
        await credited_once(rig, watcher, payment)


async def test_a_node_of_another_chain_takes_the_place_of_ours(
    rig: Rig, make_node: Callable[..., RegtestNode], caplog: pytest.LogCaptureFixture
) -> None:
    """Same software, same network, same rules, more work: only the pinned block tells."""
    other = make_node().fund(1)
    other.mine_empty(max(1, rig.node.height + 5 - other.height))
    height = rig.node.height
    rules = pinned(rig, height, rig.node.tip)
    ours = rig.rpc._url, rig.rpc._credentials
    async with running(rig.new_watcher(rules=rules)) as watcher:
        payment = await rig.create()
        rig.rpc._url, rig.rpc._credentials = other.rpc_url, Credentials(cookie_file=other.cookie_file)
        with caplog.at_level(logging.WARNING, "nodetill"):
            for _ in range(3):
                txid = await asyncio.to_thread(other.pay, payment.address, 40_000)
                watcher.hear_rawtx(bytes.fromhex(other.rpc("getrawtransaction", txid)))
                await asyncio.to_thread(other.mine, 1)
                await untouched(rig, watcher, payment, "chain-mismatch")
        assert caplog.text.count("Not ready") == 1
        rig.rpc._url, rig.rpc._credentials = ours
        await watcher.check_now()
        assert await rig.status(payment) is Status.PENDING
        await rig.pay(payment)
        await rig.mine(rig.depth)
        await credited_once(rig, watcher, payment)


async def test_a_refused_version(rig: Rig) -> None:
    version = "/Satoshi:29.5.0/Knots:20260508/"
    rules = replace(rig.rules, refused=rules_of("main").refused)
    rig.rpc.after["getnetworkinfo"] = lambda _, answer: {**answer, "subversion": version}
    payment = await paid(rig)
    async with running(rig.new_watcher(rules=rules), level=False) as watcher:
        await untouched(rig, watcher, payment, "refused-version")
        (reason,) = (await rig.database.read(till.health))["reasons"]
        assert f'node.accept_version = "{version}"' in reason["detail"]
        rig.rpc.after["getnetworkinfo"] = lambda _, answer: {**answer, "subversion": "/Satoshi:30.0.0/"}
        await credited_once(rig, watcher, payment)  # the same tip: what was not well is asked again


async def test_a_version_that_the_operator_takes_on_his_word(rig: Rig) -> None:
    version = "/Satoshi:29.5.0/Knots:20260508/"
    rules = replace(rig.rules, refused=rules_of("main").refused, accept_version=version)
    rig.rpc.after["getnetworkinfo"] = lambda _, answer: {**answer, "subversion": version}
    async with running(rig.new_watcher(rules=rules)) as watcher:
        await credited_once(rig, watcher, await paid(rig))


async def test_a_tip_that_moves_while_we_look_is_asked_about_before_anything_is_credited(rig: Rig) -> None:
    height = rig.node.height + rig.depth
    rules = pinned(rig, height + 1, "ab" * 32)
    async with running(rig.new_watcher(rules=rules)) as watcher:
        await paid(rig)
        rig.rpc.before["getblock"] = lambda: rig.node.mine(1)
        await watcher.check_now()
        await watcher.check_now()
        assert await codes(rig) == ["chain-mismatch"]
        assert await rig.balance() == 0


# ------------------------------------------------------------------ age


async def test_a_tip_of_long_ago(make_node: Callable[..., RegtestNode], make_rig: Callable[..., Rig]) -> None:
    """The node's clock is two hours behind, so its blocks are what those of a node that is cut off would be."""
    node = make_node()
    node.rpc("setmocktime", now_ms() // 1000 - 2 * 3600)
    node.fund(5)
    rig = await make_rig(node).open()
    payment = await paid(rig)
    rules = replace(rig.rules, stale_after_ms=rules_of("main").stale_after_ms)
    async with running(rig.new_watcher(rules=rules), level=False) as watcher:
        await watcher.check_now()
        assert await codes(rig) == ["stale"]
        assert (await rig.payment(payment)).state.confirmations == rig.depth  # recorded
        assert await rig.balance() == 0  # not credited
        waiting = await rig.create("u2")
        await rig.pay(waiting)
        await watcher.check_now()
        assert await rig.status(waiting) is Status.CONFIRMING  # and shown
        node.rpc("setmocktime", 0)
        await rig.mine(1)
        await credited_once(rig, watcher, payment)


async def test_age_matters_from_the_limit_on(rig: Rig) -> None:
    made = rig.node.rpc("getblockheader", rig.node.tip)["time"] * 1000
    gate = Gate(rig.rpc, replace(rig.rules, stale_after_ms=HOUR))
    assert not (await gate.examine(made + HOUR)).frozen
    verdict = await gate.examine(made + HOUR + 1)
    assert ([r.code for r in verdict.reasons], verdict.readable) == (["stale"], True)
    assert not (await Gate(rig.rpc, rig.rules).examine(made + 10**12)).frozen  # regtest has no limit
