"""An API process of its own asks the watcher for a look, through PostgreSQL. No pass comes by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import pytest

from api.watcher_elsewhere import WatcherElsewhere
from node_watcher.askers import answer_askers
from node_watcher.rpc import NodeUnavailable
from payments.model import Status
from regtest.node import RegtestNode
from regtest.postgres import PostgresServer
from storage import looks, till
from storage.database import Database
from storage.tx import Tx
from tests.node_watcher.rig import Rig
from tests.waiting import wait_for_async

P = ParamSpec("P")
T = TypeVar("T")


@asynccontextmanager
async def beside(work: Awaitable[None]) -> AsyncIterator[asyncio.Future[None]]:
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def lost(_: Sequence[object], answer: Any) -> Any:
    raise NodeUnavailable("the connection was cut")


class Apart:
    """The watcher's process and the API's, in one loop."""

    def __init__(self, rig: Rig, watching: Database, asking: Database, url: str) -> None:
        self.rig, self.watching, self.asking, self.url = rig, watching, asking, url
        self.elsewhere = WatcherElsewhere(asking)

    async def ask(self, timeout: float = 5.0) -> bool:
        async with asyncio.timeout(timeout):
            return await self.elsewhere.check_now()


@asynccontextmanager
async def apart(node: RegtestNode, url: str) -> AsyncIterator[Apart]:
    async with Database(url, leader=True) as watching, Database(url) as asking:
        rig = await Rig(node, watching).open()
        yield Apart(rig, watching, asking, url)
        await rig.close()


@pytest.fixture
async def both(postgres_server: PostgresServer, chain_node: RegtestNode) -> AsyncIterator[Apart]:
    url = postgres_server.create_database()
    async with apart(chain_node, url) as made:
        yield made
    postgres_server.drop_database(url)


async def test_who_asks_sees_what_the_node_knows(both: Apart) -> None:
    async with beside(both.rig.new_watcher().run()):
        await both.ask()
        payment = await both.rig.create()
        await both.rig.pay(payment)
        assert await both.rig.status(payment) is Status.PENDING
        began = time.monotonic()
        await both.ask()
        assert await both.rig.status(payment) is Status.CONFIRMING
        assert time.monotonic() - began < 5


async def test_fifty_askers_share_passes_and_readings(both: Apart) -> None:
    async with beside(both.rig.new_watcher().run()):
        await both.ask()
        both.rig.rpc.asked.clear()
        await asyncio.gather(*(both.ask() for _ in range(50)))
        assert both.rig.rpc.asked["getblockchaininfo"] <= 3
        assert await both.asking.read(looks.due) is None


async def test_who_asks_during_a_look_waits_for_the_next(both: Apart) -> None:
    """The look that runs may have asked the node before."""
    begun, go_on = asyncio.Queue[int](), asyncio.Queue[None]()

    async def next_pass() -> bool:
        begun.put_nowait(1)
        await go_on.get()
        return True

    async with asyncio.timeout(10), beside(answer_askers(both.watching, next_pass, 3600)):
        first = asyncio.create_task(both.ask())
        await begun.get()
        second = asyncio.create_task(both.ask())
        await wait_for_async(lambda: both.asking.read(lambda tx: looks.due(tx) == 2))
        go_on.put_nowait(None)
        await first
        await begun.get()
        await asyncio.sleep(0.2)
        assert not second.done()
        go_on.put_nowait(None)
        await second


async def test_who_asks_while_the_node_is_down_is_told_soon(both: Apart) -> None:
    async with beside(both.rig.new_watcher().run()):
        assert await both.ask()
        both.rig.rpc.after["getblockchaininfo"] = lost
        began = time.monotonic()
        assert await asyncio.gather(*(both.ask() for _ in range(5))) == [False] * 5
        assert time.monotonic() - began < 5
        both.rig.rpc.after.clear()
        assert await both.ask()


async def test_an_asker_who_goes_away_leaves_nobody_waiting(both: Apart) -> None:
    """He may be the one who reads for all."""
    askers = [asyncio.create_task(both.ask()) for _ in range(3)]
    await asyncio.sleep(0.2)
    askers[0].cancel()
    async with beside(both.rig.new_watcher().run()):
        await asyncio.gather(*askers[1:])


async def test_asked_before_the_watcher_came(both: Apart) -> None:
    asked = asyncio.create_task(both.ask())
    await wait_for_async(lambda: both.asking.read(lambda tx: looks.due(tx) == 1))
    async with beside(both.rig.new_watcher().run()):
        await asked


async def test_nobody_answers(both: Apart) -> None:
    with pytest.raises(TimeoutError):
        await both.ask(timeout=0.3)


class CountedReads(Database):
    reads = 0

    async def read(self, body: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.reads += 1
        return await super().read(body, *args, **kwargs)


async def test_nothing_is_read_while_nobody_asks(both: Apart) -> None:
    passes = 0

    async def next_pass() -> bool:
        nonlocal passes
        passes += 1
        return True

    async with (
        CountedReads(both.url) as watching,
        CountedReads(both.url) as asking,
        beside(answer_askers(watching, next_pass, 3600)),
    ):
        both.elsewhere = WatcherElsewhere(asking)
        await both.ask()
        assert passes == 1
        assert watching.reads
        assert asking.reads
        watching.reads = asking.reads = 0
        await asyncio.sleep(1)
        assert (watching.reads, asking.reads) == (0, 0)


async def test_postgres_restarts(chain_node: RegtestNode, caplog: pytest.LogCaptureFixture) -> None:
    with PostgresServer(fsync=False) as server:
        async with apart(chain_node, server.create_database()) as both, beside(both.rig.new_watcher().run()):
            await both.ask()
            await asyncio.to_thread(server.kill)
            await wait_for_async(lambda: "Other processes cannot ask" in caplog.text)
            await asyncio.to_thread(server.start)
            await both.ask()
    warnings = [r for r in caplog.records if "Other processes" in r.message and r.levelno == logging.WARNING]
    assert len(warnings) == 1


async def test_on_sqlite_nobody_is_listened_to(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path / 'till.db'}") as database:
        await database.write(till.claim, "regtest", 1)

        async def never() -> bool:
            raise AssertionError

        async with asyncio.timeout(1):
            await answer_askers(database, never, 0.01)
