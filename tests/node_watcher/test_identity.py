"""A node on another chain: nothing of it is recorded or credited, it is said why, and all goes on when it is back.

What a node of the right kind cannot be made to show (a version, a header without work) is laid over its
answers; chains that part, nodes that are cut off and clocks that are wrong are real.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from node_watcher.blocks import NotBitcoin
from node_watcher.chain_rules import ChainRules, rules_of
from node_watcher.clock import now_ms
from node_watcher.credentials import Credentials
from node_watcher.gate import Gate
from node_watcher.rpc import NodeError, RpcError
from node_watcher.rpc_http import HttpRpc
from node_watcher.watcher import Watcher
from node_watcher.witness_node import WitnessNode
from payments.model import BlockId, Status
from payments.record import PaymentRecord
from regtest.node import RegtestNode
from storage import till
from tests.node_watcher.rig import MeddlingRpc, Rig
from tests.node_watcher.test_watcher import codes, running

HOUR = 3_600_000


async def paid(rig: Rig) -> PaymentRecord:
    """A payment that is deep enough, in blocks that the watcher has not seen."""
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(rig.depth)
    return payment


async def untouched(rig: Rig, watcher: Watcher, payment: PaymentRecord, code: str) -> None:
    """A look says `code`, and records and credits nothing."""
    before = await rig.cursor()
    await watcher.check_now()
    assert await codes(rig) == [code]
    assert await rig.cursor() == before
    assert await rig.status(payment) is Status.PENDING
    assert await rig.balance() == 0


async def credited_once(rig: Rig, watcher: Watcher, payment: PaymentRecord) -> None:
    for _ in range(2):
        await watcher.check_now()
        assert await codes(rig) == []
        assert await rig.balance() == 400
    assert (await rig.events(payment)).count("confirmed") == 1


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


# ------------------------------------------------------------------ headers


def worked(header: bytes, *, wanted: bool = True) -> bytes:
    """The same header with a nonce by which it has, or has not, the work that it claims (regtest: every second one)."""
    for nonce in range(1_000):
        made = header[:76] + nonce.to_bytes(4, "little")
        if (int.from_bytes(sha256(sha256(made).digest()).digest(), "little") < 0x7FFFFF << 232) == wanted:
            return made
    raise AssertionError("no such nonce")


def no_work(header: bytes) -> bytes:
    return worked(header, wanted=False)


def another_parent(header: bytes) -> bytes:
    return worked(header[:4] + b"\xab" * 32 + header[36:])


def negative_target(header: bytes) -> bytes:
    return header[:72] + (0x20FFFFFF).to_bytes(4, "little") + header[76:]


class Impostor:
    """The node's own next block with another header, offered in its place."""

    def __init__(self, rig: Rig, change: Callable[[bytes], bytes]) -> None:
        raw = bytes.fromhex(rig.node.rpc("getblock", rig.node.tip, 0))
        self.raw = change(raw[:80]) + raw[80:]
        self.hash = sha256(sha256(self.raw[:80]).digest()).digest()[::-1].hex()
        self.real = rig.node.tip
        rig.rpc.after["getblockheader"] = self.header
        rig.rpc.after["getblock"] = lambda params, answer: self.raw.hex() if params[0] == self.hash else answer

    def header(self, params: Sequence[object], answer: Any) -> Any:
        if isinstance(answer, dict) and answer.get("nextblockhash") == self.real:
            return {**answer, "nextblockhash": self.hash}
        return answer


@pytest.mark.parametrize("change", [no_work, another_parent, negative_target])
async def test_a_block_whose_header_proves_nothing(rig: Rig, change: Callable[[bytes], bytes]) -> None:
    async with running(rig.new_watcher()) as watcher:
        payment = await rig.create()
        await rig.pay(payment)
        await rig.mine(1)
        Impostor(rig, change)
        await untouched(rig, watcher, payment, "chain-mismatch")
        rig.rpc.after.clear()
        await rig.mine(rig.depth - 1)
        await credited_once(rig, watcher, payment)


async def test_a_tip_whose_header_is_longer(rig: Rig) -> None:
    """As that of the coin that parted: the first 80 bytes may be anything."""
    payment = await paid(rig)
    rig.rpc.after["getblockheader"] = lambda _, answer: answer + "00" * 84 if isinstance(answer, str) else answer
    async with running(rig.new_watcher(), level=False) as watcher:
        await untouched(rig, watcher, payment, "chain-mismatch")
        assert "164 bytes" in (await rig.database.read(till.health))["reasons"][0]["detail"]
        rig.rpc.after.clear()
        await credited_once(rig, watcher, payment)


@pytest.fixture
def floor(rig: Rig) -> ChainRules:
    """Rules by which a regtest block is far too easy."""
    return replace(rig.rules, easiest_bits=0x1D00FFFF)


async def test_difficulty_below_the_floor(rig: Rig, floor: ChainRules) -> None:
    payment = await paid(rig)
    async with running(rig.new_watcher(rules=floor), level=False) as watcher:
        await untouched(rig, watcher, payment, "chain-mismatch")
        assert "difficulty" in (await rig.database.read(till.health))["reasons"][0]["detail"]


async def test_no_block_connects_below_the_floor(rig: Rig, floor: ChainRules) -> None:
    """Not by the tip alone: each block on the way is held against it."""
    before = await rig.cursor()
    await rig.mine(1)
    rig.rules = floor
    with pytest.raises(NotBitcoin, match="difficulty"):
        await rig.new_follower().follow()
    assert await rig.cursor() == before


async def test_nor_does_a_fresh_database_begin_there(make_rig: Callable[..., Rig], chain_node: RegtestNode) -> None:
    rig = await make_rig(chain_node).open(begin=False)
    rig.rules = replace(rig.rules, easiest_bits=0x1D00FFFF)
    with pytest.raises(NotBitcoin, match="difficulty"):
        await rig.new_follower().follow()
    assert (await rig.database.read(till.health))["tip_hash"] is None


async def test_a_node_that_still_loads_may_have_easy_blocks(rig: Rig, floor: ChainRules) -> None:
    """Main's first years are below the floor of today, and its node is not on another chain for that."""
    rig.rpc.after["getblockchaininfo"] = lambda _, answer: {**answer, "headers": answer["blocks"] + 10**5}
    verdict = await Gate(rig.rpc, floor).examine(now_ms())
    assert [reason.code for reason in verdict.reasons] == ["syncing"]
    assert (verdict.readable, verdict.loading, verdict.frozen) == (True, True, True)
    wrong = replace(floor, genesis="ab" * 32)
    assert not (await Gate(rig.rpc, wrong).examine(now_ms())).readable


async def test_parents_are_read_from_headers_and_not_from_what_is_said_of_them(rig: Rig) -> None:
    """A reorganisation below where we began steps to blocks that were never recorded."""
    rig.rpc.after["getblockheader"] = lambda _, answer: (
        {**answer, "previousblockhash": "ab" * 32} if isinstance(answer, dict) else answer
    )
    await asyncio.to_thread(rig.node.reorg, 3)
    followed = await rig.follower.follow()
    assert (followed.disconnected, followed.connected) == (3, 4)
    assert followed.tip.hash == rig.node.tip


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


# ------------------------------------------------------------------ witness nodes


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
            assert (await rig.payment(payment)).state.confirmations == 3  # recorded
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
