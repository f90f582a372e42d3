"""Audits on a real node: chain and database move meanwhile, and what the watcher missed is found."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from node_watcher.audit import Audit, Auditor, CannotAudit
from node_watcher.blocks import BlockSource
from node_watcher.chain_scan import ChainScan
from node_watcher.clock import now_ms
from node_watcher.rpc import NodeUnavailable
from node_watcher.self_audit import SelfAudit
from node_watcher.watchlist import Watchlist
from payments.block import parse_header
from payments.difference import Check
from payments.model import Status
from regtest.node import RegtestNode
from regtest.raw_database import tamper
from storage import chain, till
from storage.audit.question import no_step
from storage.database import Database
from storage.spends import spend_credits
from tests.node_watcher.rig import FULL, Rig
from tests.node_watcher.test_watcher import running
from tests.waiting import wait_for_async


def scan_of(rig: Rig) -> ChainScan:
    return ChainScan(rig.rpc, BlockSource(rig.rpc), Watchlist(rig.database))


def auditor_of(rig: Rig, **options: Any) -> Auditor:
    return Auditor(rig.rpc, scan_of(rig), rig.database, network="regtest", **options)


async def audit(rig: Rig, **options: Any) -> Audit:
    return await auditor_of(rig, **options).run(full=True)


async def alive(rig: Rig) -> None:
    """As if a service were there: then an audit looks twice."""
    await rig.database.write(till.report_health, {"reasons": []}, 0, now_ms())


async def paid(rig: Rig) -> None:
    await rig.pay(await rig.create())
    await rig.mine(rig.depth)
    await rig.settle()


def url_of(database: Database) -> str:
    return f"sqlite:///{database._engine.path}"  # type: ignore[attr-defined]


async def test_paid_and_settled_agrees(rig: Rig) -> None:
    await paid(rig)
    done = await audit(rig)
    assert (done.differences, done.blocks) == ((), rig.depth)
    assert done.node_tip == await rig.cursor()


async def test_before_the_first_block_there_is_only_the_ledger(make_rig: Callable[..., Rig], node: RegtestNode) -> None:
    rig = await make_rig(node).open(begin=False)
    await rig.create()
    done = await audit(rig)
    assert (done.differences, done.blocks, done.findings.payments) == ((), 0, 1)


async def test_a_block_that_was_overlooked(rig: Rig) -> None:
    """Connected as if nothing of ours were in it: the audit does not go by what the watcher read."""
    payment = await rig.create()
    txid = await rig.pay(payment)
    (block,) = await rig.mine()
    raw = bytes.fromhex(rig.node.rpc("getblockheader", block, False))
    await rig.database.write(chain.connect, parse_header(raw, rig.node.height), (), now_ms())
    (missed,) = (await audit(rig)).differences
    assert (missed.check, missed.sat) == (Check.MISSED, FULL)
    assert missed.about.startswith(txid)
    assert f"pays {FULL} sat to payment {payment.id} in block {rig.node.height}" in missed.detail


async def test_only_new_blocks_are_read_again(rig: Rig) -> None:
    await paid(rig)
    auditor = auditor_of(rig)
    await auditor.run(full=True)
    rig.rpc.asked.clear()
    assert (await auditor.run(full=True)).differences == ()
    assert (rig.rpc.asked["getblock"], rig.rpc.asked["getblockheader"]) == (0, 1)
    await paid(rig)
    rig.rpc.asked.clear()
    assert (await auditor.run(full=False)).blocks == 2 * rig.depth
    assert (rig.rpc.asked["getblock"], rig.rpc.asked["getblockheader"]) == (rig.depth, rig.depth)


async def test_a_scan_follows_a_reorganisation_and_a_window_that_moves(rig: Rig) -> None:
    scan, base = scan_of(rig), rig.node.height
    await rig.mine(5)
    assert [b.header.height for b in (await scan.read(base, base + 3, (), no_step)).blocks] == [
        *range(base + 1, base + 4)
    ]
    rig.node.reorg(2, longer_by=2)
    for low, high in ((base, base + 9), (base + 2, base + 9), (base, base + 4), (base + 7, base + 9)):
        read = await scan.read(low, high, (), no_step)
        hashes = [rig.node.rpc("getblockhash", h) for h in range(low, min(high, base + 7) + 1)]
        assert [read.base.hash, *(b.header.hash for b in read.blocks)] == hashes
        assert read.hash_at(low) == hashes[0]
        assert read.hash_at(base + 8) is None


async def test_a_block_in_the_middle_of_an_audit_is_waited_for(rig: Rig) -> None:
    await paid(rig)
    await alive(rig)
    found = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def follow() -> None:
        await found.wait()
        await rig.settle()

    def mine() -> None:
        rig.node.reorg(rig.depth, longer_by=1, with_mempool=True)
        loop.call_soon_threadsafe(found.set)

    rig.rpc.before["getblockheader"] = mine
    follower = asyncio.create_task(follow())
    done = await audit(rig)
    await follower
    assert done.differences == ()
    assert (await audit(rig)).differences == ()


async def test_what_is_being_booked_is_no_difference(rig: Rig) -> None:
    """The block is connected, the credits follow: at first sight something is due."""
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(rig.depth)
    tip = await rig.tip()
    await alive(rig)
    said: list[str] = []

    async def book_soon() -> None:
        await wait_for_async(lambda: bool(said))
        await rig.crediting.book_due(tip)

    booking = asyncio.create_task(book_soon())
    assert (await audit(rig, say=said.append)).differences == ()
    await booking
    assert await rig.status(payment) is Status.FORWARDED


async def test_credits_that_nobody_books_are_told(rig: Rig) -> None:
    await rig.pay(await rig.create())
    await rig.mine(rig.depth)
    await rig.tip()
    (due,) = (await audit(rig)).differences
    assert (due.check, due.sat) == (Check.CREDITS_DUE, FULL)


async def test_a_cursor_that_the_node_left_is_told(rig: Rig) -> None:
    await paid(rig)
    rig.node.reorg(rig.depth, longer_by=1, with_mempool=True)
    (left,) = (await audit(rig)).differences
    assert left.check is Check.CURSOR
    await rig.settle()
    assert (await audit(rig)).differences == ()


async def test_what_the_node_cannot_tell(rig: Rig) -> None:
    await paid(rig)
    rig.rpc.after["getblockchaininfo"] = lambda asked, info: {**info, "pruneheight": rig.node.height}
    pruned = await audit(rig)
    assert (pruned.differences, pruned.blocks, pruned.from_height) == ((), 1, rig.node.height)
    rig.rpc.after["getblockchaininfo"] = lambda asked, info: {**info, "pruneheight": rig.node.height + 2}
    with pytest.raises(CannotAudit, match="has pruned the blocks below"):
        await audit(rig)
    rig.rpc.after["getblockchaininfo"] = lambda asked, info: {**info, "chain": "main"}
    with pytest.raises(CannotAudit, match=r"node\.network is regtest"):
        await audit(rig)
    rig.rpc.after["getblockchaininfo"] = lambda asked, info: "hello"
    with pytest.raises(NodeUnavailable):
        await audit(rig)


# ------------------------------------------------------------------ the service's own


def self_audit_of(rig: Rig, **options: Any) -> SelfAudit:
    return SelfAudit(rig.rpc, scan_of(rig), rig.database, network="regtest", **{"first": 0.05, "every": 0.3, **options})


async def test_a_broken_ledger_stops_booking_and_no_more(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    await paid(rig)
    tamper(url_of(rig.database), "UPDATE transfer SET credits = 401")
    own = self_audit_of(rig, first=3600)
    async with running(rig.new_watcher(self_audit=own), level=False) as watcher:
        payment = await rig.create("u2")
        await rig.pay(payment)
        await rig.mine(rig.depth)
        await watcher.check_now()
        assert (await rig.payment(payment)).state.confirmed_sat == FULL
        assert await rig.status(payment) is Status.CONFIRMING
        report = await rig.database.read(till.health)
        assert [reason["code"] for reason in report["reasons"]] == ["ledger"]
        assert (report["credits_frozen"], report["complete_at"]) == (True, 0)
        assert "Audit: Transfer 1" in caplog.text
    tamper(url_of(rig.database), "UPDATE transfer SET credits = 400")


async def test_a_ledger_that_breaks_and_is_mended_while_the_service_runs(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nodetill")
    await paid(rig)
    own = self_audit_of(rig)
    assert await own.broken() is None
    task = asyncio.create_task(own.run())
    try:
        await wait_for_async(lambda: own.snapshot()["finished_at"] > 0)
        assert own.reasons == ()
        tamper(url_of(rig.database), "UPDATE transfer SET evidence = 'x' || evidence")
        await wait_for_async(lambda: bool(own.reasons))
        assert (reason := await own.broken()) is not None
        assert reason.code == "ledger"
        assert own.snapshot()["differences"] == 1
        tamper(url_of(rig.database), "UPDATE transfer SET evidence = substr(evidence, 2)")
        await wait_for_async(lambda: not own.reasons)
        assert await own.broken() is None
        assert caplog.text.count("Audit: Transfer 1") == 1
        assert "Audit: no difference any more" in caplog.text
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_cut_off_end_of_the_ledger_is_noticed(rig: Rig) -> None:
    await paid(rig)
    await rig.database.write(spend_credits, "u1", 100, "order", now_ms())
    own = self_audit_of(rig)
    task = asyncio.create_task(own.run())
    try:
        await wait_for_async(lambda: own.snapshot()["finished_at"] > 0)
        cut = ("DELETE FROM transfer_line WHERE transfer_id = 2", "DELETE FROM transfer WHERE id = 2")
        tamper(
            url_of(rig.database),
            *cut,
            "UPDATE account SET balance = 400 WHERE owner = 'u1'",
            "UPDATE account SET balance = 0 WHERE kind = 'spent'",
        )
        await wait_for_async(lambda: bool(own.reasons))
        assert "Transfer 2 was the newest" in own.reasons[0].detail
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_difference_stops_nothing_but_the_proof(rig: Rig) -> None:
    await paid(rig)
    tamper(url_of(rig.database), "UPDATE payment SET remaining_sat = 1")
    own = self_audit_of(rig, every=3600)
    async with running(rig.new_watcher(self_audit=own)) as watcher:
        await wait_for_async(lambda: bool(own.reasons))
        payment = await rig.create("u2")
        await rig.pay(payment)
        await rig.mine(rig.depth)
        await watcher.check_now()
        assert await rig.status(payment) is Status.FORWARDED

        async def told() -> bool:
            report = await rig.database.read(till.health)
            codes = [reason["code"] for reason in report["reasons"]]
            return codes == ["ledger-difference"] and report["credits_frozen"] is False

        await wait_for_async(told)
        before = (await rig.database.read(till.health))["complete_at"]
        await watcher.check_now()
        assert (await rig.database.read(till.health))["complete_at"] == before
    tamper(url_of(rig.database), "UPDATE payment SET remaining_sat = 0 WHERE number = 1")


async def test_a_node_that_is_away_changes_no_verdict(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    await paid(rig)
    own = self_audit_of(rig, every=0.02)

    def away(asked: object, answer: object) -> object:
        raise NodeUnavailable("down")

    rig.rpc.after["getblockchaininfo"] = away
    task = asyncio.create_task(own.run())
    await asyncio.sleep(0.5)
    assert (own.reasons, own.snapshot()["finished_at"], task.done()) == ((), 0, False)
    await wait_for_async(lambda: "10 times in a row: down" in caplog.text)
    del rig.rpc.after["getblockchaininfo"]
    await wait_for_async(lambda: own.snapshot()["finished_at"] > 0)
    assert caplog.text.count("times in a row") == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
