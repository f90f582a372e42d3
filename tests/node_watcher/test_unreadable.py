"""What cannot be read: a transaction is counted and skipped, a block is never skipped, and no loop ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from node_watcher.blocks import UnreadableBlock
from payments.model import Status
from storage import till
from tests.fuzz.plain import HEADER, read_block, size
from tests.node_watcher.rig import Rig
from tests.node_watcher.test_watcher import reported, running
from tests.node_watcher.test_witness import overlook_a_block
from tests.waiting import wait_for_async

Damage = Callable[[str], str]


def unreadable(rig: Rig) -> int:
    return int(rig.meter.snapshot()["unreadable"])


TRANSACTIONS: dict[str, Damage] = {
    "cut": lambda text: text[:-2],
    "cut in the middle of a byte": lambda text: text[:-1],
    "longer": lambda text: text + "00",
    "no hex": lambda text: "x" + text[1:],
    "empty": lambda text: "",
    "an unknown flag": lambda text: text[:8] + "0002" + text[12:],
    "a size that is too wide": lambda text: text[:12] + "fd0100" + text[14:],
}


@pytest.mark.parametrize("damage", TRANSACTIONS.values(), ids=list(TRANSACTIONS))
async def test_a_transaction_of_the_mempool(rig: Rig, damage: Damage) -> None:
    """The others are read, the look is complete, and the block tells what the mempool did not."""
    payment, other = await rig.create("u1"), await rig.create("u2")
    txid = await rig.pay(payment)
    await rig.pay(other)
    rig.rpc.after["getrawtransaction"] = lambda asked, answer: damage(answer) if asked[0] == txid else answer
    for _ in range(2):
        assert await rig.mempool.look(await rig.tip())
        assert (await rig.status(payment), await rig.status(other)) == (Status.PENDING, Status.CONFIRMING)
        assert unreadable(rig) == 1  # it is not asked for again
    await rig.mine(rig.depth)
    await rig.settle()
    assert (await rig.balance("u1"), await rig.balance("u2")) == (400, 400)


async def test_hints_by_the_hundred(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """As anybody may send them to a ZMQ port: the one among them that is a payment is seen, and the log stays short."""
    async with running(rig.new_watcher()) as watcher:
        payment = await rig.create()
        raw = await rig.raw(await rig.pay(payment))
        for place in range(len(raw)):
            watcher.hear_rawtx(raw[:place])
        watcher.hear_rawtx(raw)

        async def seen() -> bool:
            return await rig.status(payment) is Status.CONFIRMING

        await wait_for_async(seen)
        assert unreadable(rig) == len(raw)
        assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
        assert await watcher.check_now()
        await reported(rig)


def damaged(damage: Damage, _: Sequence[object], answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "hex": damage(answer["hex"])}


async def test_a_transaction_of_the_wallet(rig: Rig) -> None:
    """The second witness goes on, and makes it good once it can."""
    witness = rig.new_witness()
    await witness.begin()
    await witness.prepare()
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(rig.depth)
    await overlook_a_block(rig)
    tip = await rig.settle()
    for number, damage in enumerate(TRANSACTIONS.values(), start=1):
        rig.rpc.after["gettransaction"] = partial(damaged, damage)
        again = rig.new_witness(witness._wallet)
        await again.begin()
        await again.prepare()
        assert await again.compare(tip) == 0
        assert unreadable(rig) == number
    del rig.rpc.after["gettransaction"]
    again = rig.new_witness(witness._wallet)
    await again.begin()
    await again.prepare()
    assert await again.compare(tip) == 1


def other_value(text: str) -> str:
    """The last transaction pays one satoshi more or less: on a disk, one bit."""
    raw = bytearray.fromhex(text)
    out = read_block(bytes(raw))[-1].outs[0]
    raw[raw.rindex(out.value.to_bytes(8, "little") + bytes([len(out.script)]) + out.script)] ^= 1
    return raw.hex()


def last_twice(text: str) -> str:
    raw = bytes.fromhex(text)
    txs = [tx.write() for tx in read_block(raw)]
    return (raw[:HEADER] + size(len(txs) + 1) + b"".join([*txs, txs[-1]])).hex()


BLOCKS: dict[str, tuple[Damage, str]] = {
    "cut": (lambda text: text[:-2], "cut short"),
    "only a header": (lambda text: text[: 2 * HEADER], "cut short"),
    "no transactions": (lambda text: text[: 2 * HEADER] + "00", "no transactions"),
    "longer": (lambda text: text + "00", "left over"),
    "no hex": (lambda text: text[:-1], "something else than hex"),
    "another value": (other_value, "commits to"),
    "without its last transaction": (
        lambda text: text[: 2 * HEADER] + "01" + read_block(bytes.fromhex(text))[0].write().hex(),
        "commits to",
    ),
    "the last one twice": (last_twice, "commits to|twice"),
    "its number is too wide": (lambda text: text[: 2 * HEADER] + "fd0200" + text[2 * HEADER + 2 :], "longer than"),
}


@pytest.mark.parametrize(("damage", "words"), BLOCKS.values(), ids=list(BLOCKS))
async def test_a_block(rig: Rig, damage: Damage, words: str) -> None:
    """The cursor stops below it, it is said why, nothing is credited; it is asked for again until it can be read."""
    payment = await rig.create()
    await rig.pay(payment)
    async with running(rig.new_watcher()) as watcher:
        before = await rig.cursor()
        await rig.mine(1)
        rig.rpc.after["getblock"] = lambda _, answer: damage(answer)
        with pytest.raises(UnreadableBlock, match=words):
            await rig.follower.follow()
        await rig.mine(rig.depth)
        for _ in range(2):
            assert not await watcher.check_now()
            await reported(rig, "node")
            (reason,) = (await rig.database.read(till.health))["reasons"]
            assert "No block is skipped" in reason["detail"]
            assert (await rig.cursor(), await rig.balance()) == (before, 0)
        asked = rig.rpc.asked["getblock"]
        await wait_for_async(lambda: rig.rpc.asked["getblock"] > asked, what="another try by itself")
        rig.rpc.after.clear()
        assert await watcher.check_now()
        await reported(rig)
        assert (await rig.status(payment), await rig.balance()) == (Status.FORWARDED, 400)


async def test_a_header(rig: Rig) -> None:
    """One that is no hex is the node's trouble, and ends nothing."""
    payment = await rig.create()
    await rig.pay(payment)
    async with running(rig.new_watcher()) as watcher:
        rig.rpc.after["getblockheader"] = lambda _, answer: answer[:-1] if isinstance(answer, str) else answer
        await rig.mine(rig.depth)
        assert not await watcher.check_now()
        await reported(rig, "node")
        assert await rig.balance() == 0
        rig.rpc.after.clear()
        assert await watcher.check_now()
        assert await rig.balance() == 400
