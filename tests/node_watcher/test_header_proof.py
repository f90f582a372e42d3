"""Headers that prove nothing: no block is recorded by one, whatever the node says of it.

The header without work is laid over the answers of a real node, which would not make one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from node_watcher.blocks import NotBitcoin
from node_watcher.chain_rules import ChainRules
from node_watcher.clock import now_ms
from node_watcher.gate import Gate
from regtest.node import RegtestNode
from storage import till
from tests.node_watcher.crediting_checks import credited_once, paid, untouched
from tests.node_watcher.rig import Rig
from tests.node_watcher.test_watcher import running


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
