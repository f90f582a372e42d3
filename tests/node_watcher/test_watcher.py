"""The whole watcher on a real node: passes, hints, faults. Passes come only when a test asks for one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from node_watcher.chain import ChainFollower, Followed
from node_watcher.chain_rules import rules_of
from node_watcher.clock import now_ms
from node_watcher.reason import Reason
from node_watcher.rpc import NodeForbids, NodeUnavailable
from node_watcher.watcher import Watcher
from payments.model import BlockId, Status
from regtest.node import RegtestNode
from regtest.postgres import PostgresServer
from storage import till
from storage.database import Database
from tests.node_watcher.rig import MINUTE, Rig
from tests.waiting import wait_for_async


@asynccontextmanager
async def running(watcher: Watcher, *, level: bool = True) -> AsyncIterator[Watcher]:
    task = asyncio.create_task(watcher.run())
    try:
        if level:
            await wait_for_async(lambda: watcher.health.written.get("reasons") == [] or task.done())
        yield watcher
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def codes(rig: Rig) -> list[str]:
    report = await rig.database.read(till.health)
    return [reason["code"] for reason in report.get("reasons", [])]


async def reported(rig: Rig, *wanted: str) -> None:
    async def there() -> bool:
        return await codes(rig) == list(wanted)

    await wait_for_async(there, what=f"reasons {wanted}")


async def test_whole_way_on_both_databases(database_url: str, chain_node: RegtestNode) -> None:
    async with Database(database_url) as database:
        rig = Rig(chain_node, database)
        try:
            await rig.open(begin=False)
            async with running(rig.new_watcher(witness=rig.new_witness())) as watcher:
                payment = await rig.create()
                watcher.hear_rawtx(await rig.raw(await rig.pay(payment)))

                async def confirming() -> bool:
                    return await rig.status(payment) is Status.CONFIRMING

                await wait_for_async(confirming)
                await rig.mine(rig.depth)
                await watcher.check_now()
                assert await rig.balance() == 400
                assert await rig.status(payment) is Status.FORWARDED
                assert await codes(rig) == []
        finally:
            await rig.close()


async def test_asked_for_a_look_returns_after_a_pass_that_began_later(rig: Rig) -> None:
    """Also in the middle of another pass, which may have asked the node before."""
    async with running(rig.new_watcher()) as watcher:
        payment = await rig.create()
        reached, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            reached.set()
            go_on.wait(10)

        rig.rpc.before["getbestblockhash"] = hold  # the mempool has been asked for by then
        watcher.ask_sooner()
        await wait_for_async(reached.is_set)
        await rig.pay(payment)
        asked = asyncio.create_task(watcher.check_now())
        await asyncio.sleep(0.05)
        assert not asked.done()
        go_on.set()
        await asked
        assert await rig.status(payment) is Status.CONFIRMING


async def test_a_look_that_failed_is_no_look(rig: Rig) -> None:
    """Who asked is told at once, not when the node is back."""

    def lost(_: Sequence[object], answer: Any) -> Any:
        raise NodeUnavailable("the connection was cut")

    async with running(rig.new_watcher()) as watcher:
        assert await watcher.check_now()
        for method in ("getblockchaininfo", "getrawmempool", "getblockheader"):
            rig.rpc.after[method] = lost
            began = time.monotonic()
            assert await asyncio.gather(*(watcher.check_now() for _ in range(5))) == [False] * 5, method
            assert time.monotonic() - began < 5, method
            assert watcher.health.reasons, "/readyz says how it is"
            rig.rpc.after.clear()
        assert await watcher.check_now()


async def test_a_look_that_met_a_new_block_is_done_again(rig: Rig) -> None:
    """Nothing is wrong with the node: whoever asked waits for the next pass."""
    async with running(rig.new_watcher()) as watcher:
        payment = await rig.create()
        await rig.pay(payment)
        rig.rpc.before["getbestblockhash"] = lambda: rig.node.mine(1)
        assert await watcher.check_now()
        assert (await rig.payment(payment)).state.confirmations == 1


async def test_fifty_askers_share_passes(rig: Rig) -> None:
    async with running(rig.new_watcher()) as watcher:
        rig.rpc.asked.clear()
        await asyncio.gather(*(watcher.check_now() for _ in range(50)))
        assert rig.rpc.asked["getblockchaininfo"] <= 2


async def test_an_idle_pass_asks_four_questions(rig: Rig) -> None:
    async with running(rig.new_watcher()) as watcher:
        await rig.pay(await rig.create())
        await watcher.check_now()
        rig.rpc.asked.clear()
        await watcher.check_now()
        assert rig.rpc.asked == dict.fromkeys(
            ("getblockchaininfo", "getblockheader", "getrawmempool", "getbestblockhash"), 1
        )


async def test_another_networks_node_is_not_listened_to(rig: Rig) -> None:
    """A wpkh script is the same on all networks: worthless coins must not show as seen."""
    async with running(rig.new_watcher(rules=rules_of("main")), level=False) as watcher:
        await reported(rig, "wrong-chain")
        payment = await rig.create()
        watcher.hear_rawtx(await rig.raw(await rig.pay(payment)))
        await asyncio.sleep(0.2)
        assert not await watcher.check_now()
        assert await rig.status(payment) is Status.PENDING


async def test_syncing_node_is_read_and_freezes_credits(rig: Rig) -> None:
    credited, waiting = await rig.create("u1"), await rig.create("u2")
    async with running(rig.new_watcher()) as watcher:
        await rig.pay(credited)
        await rig.mine(rig.depth)
        await watcher.check_now()
        assert await rig.balance("u1") == 400
        before = watcher.health.complete_at

        def many_headers(_: Sequence[object], answer: Any) -> Any:
            return {**answer, "headers": answer["blocks"] + 5}

        rig.rpc.after["getblockchaininfo"] = many_headers
        rig.rpc.after["getrawmempool"] = lambda _, answer: []  # a node that loads the chain has no mempool
        txid = await rig.pay(waiting)
        watcher.hear_rawtx(await rig.raw(txid))
        await rig.mine(rig.depth)
        await watcher.check_now()
        assert await codes(rig) == ["syncing"]
        assert (await rig.payment(waiting)).state.confirmations == rig.depth  # recorded
        assert await rig.balance("u2") == 0  # not credited
        assert watcher.health.complete_at == before
        rig.rpc.after.clear()
        await watcher.check_now()
        assert (await rig.balance("u2"), await codes(rig)) == (400, [])
        rig.rpc.after["getblockchaininfo"] = many_headers
        await asyncio.to_thread(rig.node.reorg, 2 * rig.depth)
        await watcher.check_now()
        assert (await rig.balance("u1"), await rig.balance("u2")) == (400, 400)  # nothing is taken back either
        rig.rpc.after.clear()
        await watcher.check_now()
        assert (await rig.balance("u1"), await rig.balance("u2")) == (0, 0)
        await rig.mine(1)


async def test_first_start_beside_a_node_that_still_loads_the_chain(
    make_rig: Callable[..., Rig], chain_node: RegtestNode
) -> None:
    """To begin now would mean to read every block from here to the tip of years later."""
    rig = await make_rig(chain_node).open(begin=False)
    rig.rpc.after["getblockchaininfo"] = lambda _, answer: {**answer, "headers": answer["blocks"] + 10**5}
    async with running(rig.new_watcher(), level=False) as watcher:
        await reported(rig, "syncing")
        assert (await rig.database.read(till.health))["tip_hash"] is None
        rig.rpc.after.clear()
        await watcher.check_now()
        assert (await rig.cursor()).hash == chain_node.tip


async def test_a_long_walk_reports_itself(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    class Short(ChainFollower):
        """One block at a time."""

        async def follow(self, told: Callable[[BlockId], None] = lambda block: None, *, at_most: int = 1) -> Followed:
            followed = await super().follow(told, at_most=at_most)
            seen.append(await codes(rig))
            return followed

    seen: list[list[str]] = []
    await rig.mine(5)
    rig.follower = Short(rig.rpc, rig.follower._blocks, rig.database, rig.watchlist, rig.rules)
    with caplog.at_level(logging.INFO, "nodetill"):
        async with running(rig.new_watcher()):
            assert (await rig.cursor()).hash == rig.node.tip
    assert seen.count(["behind"]) >= 3
    assert caplog.text.count("Not ready: nodetill is reading blocks") == 1  # its figures are no news
    assert await codes(rig) == []


async def test_windows_close_in_full_although_most_of_them_change_nothing(rig: Rig) -> None:
    """More than one page of payments that were paid long before their window is over."""
    done = [await rig.create("u1", 1_000, expires_at=now_ms() + 200) for _ in range(501)]
    open_one = await rig.create("u2", expires_at=now_ms() + 300)
    await asyncio.to_thread(rig.node.pay_many, {p.address: 1_000 for p in done})
    await rig.mine(rig.depth)
    await rig.settle()
    await asyncio.sleep(max(0, open_one.facts.terms.expires_at - now_ms()) / 1000)
    async with running(rig.new_watcher()):
        assert await rig.status(open_one) is Status.EXPIRED
        assert {await rig.status(p) for p in done} == {Status.FORWARDED}


async def test_nothing_expires_on_a_look_that_was_not_completed(rig: Rig) -> None:
    payment = await rig.create(expires_at=now_ms() + 50)
    await rig.pay(payment)  # in time, and nobody has heard of it
    await asyncio.sleep(0.1)
    rig.rpc.after["getbestblockhash"] = lambda _, answer: "00" * 32
    async with running(rig.new_watcher(), level=False) as watcher:
        await wait_for_async(lambda: watcher._passes_begun > 2)
        await rig.pay(await rig.create())
        assert await rig.status(payment) is not Status.EXPIRED
        rig.rpc.after.clear()
        await watcher.check_now()
        assert await rig.status(payment) is Status.CONFIRMING


async def test_forbidden_method_is_named_and_does_not_stop_credits(rig: Rig) -> None:
    class Forbidden:
        async def forward_due(self, tip: BlockId) -> int:
            raise NodeForbids("sendrawtransaction")

    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(rig.depth)
    async with running(rig.new_watcher(forwarder=Forbidden()), level=False):
        await reported(rig, "node")
        assert await rig.balance() == 400
        report = await rig.database.read(till.health)
        assert "sendrawtransaction" in report["reasons"][0]["detail"]


async def test_a_bug_ends_the_watcher(rig: Rig) -> None:
    class Broken:
        async def forward_due(self, tip: BlockId) -> int:
            raise ZeroDivisionError("a bug")

    with pytest.raises(ExceptionGroup) as ended:
        async with asyncio.timeout(10):
            await rig.new_watcher(forwarder=Broken()).run()
    assert ended.group_contains(ZeroDivisionError)


async def test_second_witness_never_holds_up_a_payment(rig: Rig) -> None:
    """A wallet that was lost is rescanned from the beginning, which takes hours."""
    witness = rig.new_witness()
    scanned, reached = threading.Event(), threading.Event()

    def rescan() -> None:
        reached.set()
        scanned.wait(20)

    rig.rpc.before["importdescriptors"] = rescan
    try:
        async with running(rig.new_watcher(witness=witness)) as watcher:
            await wait_for_async(reached.is_set)
            payment = await rig.create()
            await rig.pay(payment)
            await rig.mine(rig.depth)
            await watcher.check_now()
            assert await rig.balance() == 400
    finally:
        scanned.set()


async def test_how_far_behind_is_told_while_blocks_are_read(rig: Rig) -> None:
    await rig.mine(130)
    told: list[tuple[list[str], int]] = []

    watcher = rig.new_watcher()
    written = watcher.health.write

    async def write(*more: Reason) -> None:
        await written(*more)
        told.append((await codes(rig), watcher.health.written["tip_lag"]))

    watcher.health.write = write  # type: ignore[method-assign]
    async with running(watcher):
        pass
    behind = [lag for reasons, lag in told if reasons == ["behind"]]
    assert behind == sorted(behind, reverse=True)
    assert len(behind) >= 2
    assert 0 < behind[0] < 130
    assert told[-1] == ([], 0)


async def test_a_look_that_takes_long_is_told_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node_watcher.watcher._LONG_PASS_SECONDS", 0.2)
    watcher = rig.new_watcher()
    watcher.health.heartbeat = 0.1
    async with running(watcher):
        for known in ([], ["behind"]):
            watcher.health.reasons = tuple(Reason(code, "blocks are read") for code in known)
            hold = threading.Event()
            rig.rpc.before["getblockchaininfo"] = lambda hold=hold: hold.wait(20)  # type: ignore[misc]
            watcher.ask_sooner()
            try:
                await reported(rig, "behind")
                await asyncio.sleep(0.5)
                assert await codes(rig) == ["behind"]
            finally:
                hold.set()
            await reported(rig)


async def test_second_witness_that_is_not_to_be_had_is_said_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.node.rpc("createwallet", name := f"private-{rig.keychain}-{time.time_ns()}")
    async with running(rig.new_watcher(witness=rig.new_witness(name), interval=0.05)) as watcher:
        await wait_for_async(lambda: watcher._passes_begun > 7)
        assert await codes(rig) == []
    assert caplog.text.count("second witness") == 1


async def test_second_witness_asks_for_a_pass_that_credits(rig: Rig) -> None:
    class Blind(ChainFollower):
        """Connects blocks without looking into them."""

        async def follow(self, told: Callable[[BlockId], None] = lambda block: None, *, at_most: int = 500) -> Followed:
            scripts, rig.watchlist.scripts = rig.watchlist.scripts, Nothing()
            try:
                return await super().follow(told, at_most=at_most)
            finally:
                rig.watchlist.scripts = scripts

    class Nothing(dict[bytes, int]):
        def __contains__(self, key: object) -> bool:
            return False

    rig.follower = Blind(rig.rpc, rig.follower._blocks, rig.database, rig.watchlist, rig.rules)
    witness = rig.new_witness()
    payment = await rig.create()
    async with running(rig.new_watcher(witness=witness, interval=0.1)):
        await rig.pay(payment)
        await rig.mine(rig.depth)

        async def credited() -> bool:
            return await rig.balance() == 400

        await wait_for_async(credited)
    assert witness.defects_total >= 1


# ------------------------------------------------------------------ the world's misbehaviour


async def test_node_restarts_under_the_watcher(
    make_node: Callable[..., RegtestNode], make_rig: Callable[..., Rig]
) -> None:
    node = make_node().fund()
    rig = await make_rig(node).open(begin=False)
    async with running(rig.new_watcher(interval=0.2)) as watcher:
        payment = await rig.create()
        await rig.pay(payment)
        await watcher.check_now()
        assert await rig.status(payment) is Status.CONFIRMING
        await asyncio.to_thread(node.stop)
        await reported(rig, "node")
        other = await rig.create()  # people go on buying
        await asyncio.to_thread(node.start)
        await reported(rig)
        assert "dropped" not in await rig.events(payment)
        await rig.pay(other)
        await rig.mine(rig.depth)
        await watcher.check_now()
        assert await rig.balance() == 800


async def test_stopped_at_once_while_the_node_hangs(
    make_node: Callable[..., RegtestNode], make_rig: Callable[..., Rig]
) -> None:
    node = make_node()
    node.mine(1)
    rig = await make_rig(node).open()
    async with running(rig.new_watcher()) as watcher:
        node.suspend()
        watcher.ask_sooner()
        await wait_for_async(lambda: watcher._pass_since is not None)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    node.resume()


async def test_check_that_takes_too_long_is_given_up(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    async with running(rig.new_watcher()) as watcher:
        hold = threading.Event()
        rig.rpc.before["getblockchaininfo"] = lambda: hold.wait(5)
        with pytest.raises(TimeoutError):
            await watcher.check_now(timeout=0.1)
        hold.set()
    assert "took longer" in caplog.text


async def test_postgres_restarts_under_the_watcher(chain_node: RegtestNode, tmp_path: Path) -> None:
    with PostgresServer(fsync=False) as server:
        async with Database(server.create_database(), leader=True) as database:
            rig = await Rig(chain_node, database).open()
            async with running(rig.new_watcher(interval=0.2)) as watcher:
                payment = await rig.create()
                await asyncio.to_thread(server.kill)
                await rig.pay(payment)
                watcher.hear_rawtx(await rig.raw(next(iter(chain_node.mempool()))))
                await wait_for_async(lambda: [r.code for r in watcher.health.reasons] == ["database"])
                await asyncio.to_thread(server.start)
                await rig.mine(rig.depth)
                await wait_for_async(lambda: watcher.health.reasons == ())
                await watcher.check_now()
                assert await rig.balance() == 400
            await rig.close()


async def test_postgres_away_when_the_watcher_starts(chain_node: RegtestNode) -> None:
    with PostgresServer(fsync=False) as server:
        async with Database(server.create_database()) as database:
            rig = await Rig(chain_node, database).open()
            await asyncio.to_thread(server.kill)
            async with running(rig.new_watcher(), level=False) as watcher:
                await asyncio.sleep(0.5)
                await asyncio.to_thread(server.start)
                await wait_for_async(lambda: watcher.health.complete_at > 0)
            await rig.close()


async def test_reports_come_between_passes_that_are_far_apart(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """The interval may be an hour; /readyz takes a silent watcher for a dead one after two minutes."""
    async with running(rig.new_watcher()) as watcher:
        first = (await rig.database.read(till.health))["health_at"]
        watcher.health._written_at -= MINUTE

        async def reported_again() -> bool:
            return bool((await rig.database.read(till.health))["health_at"] > first)

        await wait_for_async(reported_again, timeout=10)
    assert await codes(rig) == []


async def test_hints_without_end_are_bounded(rig: Rig) -> None:
    watcher = rig.new_watcher()
    for _ in range(120_000):
        watcher.hear_rawtx(b"\x00")
    assert len(watcher._heard) <= 50_000
    giant = bytes(400_000)
    for _ in range(1_000):
        watcher.hear_rawtx(giant)
    assert sum(map(len, watcher._heard)) <= 101_000_000
