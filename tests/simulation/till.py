"""The till as one process after another: the real watcher's parts on the real storage, in one thread.

Nothing of the house is replaced. Threads are: write transactions and signing happen in the loop's own
thread, so that a history runs the same way each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from node_watcher.blocks import BlockSource
from node_watcher.chain import ChainFollower
from node_watcher.chain_rules import ChainRules
from node_watcher.crediting import Crediting
from node_watcher.forwarding.forwarder import Destination, Forwarder
from node_watcher.gate import Gate
from node_watcher.look import Look, Looked
from node_watcher.mempool import Mempool
from node_watcher.rpc import NodeError, Rpc
from node_watcher.signing.seed import Seed
from node_watcher.signing.signers import open_signer
from node_watcher.watchlist import Watchlist
from payments.address import address_of
from payments.descriptor import RangedDescriptor
from payments.forward import ForwardRules
from storage import till
from storage.database import Database
from storage.errors import CursorMoved, DatabaseBusy
from storage.tx import Context, Tx
from storage.writer import Engine, Writer, _Job
from tests.simulation.points import Crashed, Failed, Points, Trouble

P = ParamSpec("P")
T = TypeVar("T")

SEED = Seed(bytes(range(64)))
DESCRIPTOR = RangedDescriptor.parse(SEED.account_descriptor("regtest"), "regtest")
OWNER = b"\x00\x14" + b"owner".ljust(20, b"\0")
OWNER_ADDRESS = address_of(OWNER, "regtest") or ""
RULES = ForwardRules(max_feerate=Decimal(50), target_blocks=2, min_sat=5_000)
CONTEXT = Context(public_url="https://shop.example", endpoints=(("https://hook.example", frozenset()),))
_WORLD = (NodeError, DatabaseBusy, CursorMoved)
"""What the watcher retries. Anything else is a bug, and ends the history."""


@cache
def derive(index: int) -> tuple[bytes, str]:
    return DESCRIPTOR.derive(index)


class OneThread(ThreadPoolExecutor):
    """Work for another thread, done at once in this one."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - carried to whoever awaits it
            done.set_exception(error)
        return done


class OneThreadWriter(Writer):
    """The writer's transactions without its thread: one body, one commit."""

    def __init__(self, engine: Engine, on_commit: Callable[[], None]) -> None:
        self._engine, self._on_commit = engine, on_commit
        self._connection = engine.connect_writer()

    async def run(self, body: Callable[[Tx], Any]) -> Any:
        job = _Job(body, None)  # type: ignore[arg-type]  # nobody waits for it
        try:
            self._commit_together(self._connection, [job])
        except BaseException:
            self._engine.rollback(self._connection)
            raise
        if job.error is not None:
            raise job.error
        self._on_commit()
        return job.result

    async def close(self) -> None:
        self._connection.close()


class PointedDatabase(Database):
    """The real database; each write is a point before and one after its commit."""

    def __init__(self, url: str, points: Points) -> None:
        super().__init__(url, CONTEXT, leader=True, writer=OneThreadWriter)
        self._points = points

    async def write(self, body: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            await self._points.reach(f"before {body.__name__}")
        except Failed as failed:
            raise DatabaseBusy(f"the database is busy: {failed}") from None
        result = await super().write(body, *args, **kwargs)
        with suppress(Failed):  # what is committed is committed
            await self._points.reach(f"after {body.__name__}")
        return result


class Process:
    """One run of the service, from its start until it is stopped or killed."""

    def __init__(
        self, path: Path, rpc: Rpc, rules: ChainRules, points: Points, clock: Callable[[], int], *, forwarding: bool
    ) -> None:
        self._rpc, self._rules, self._points, self._clock, self._forwarding = rpc, rules, points, clock, forwarding
        self.database = PointedDatabase(f"sqlite:///{path}", points)
        self.keychain = 0

    async def start(self) -> Process:
        await self.database.__aenter__()
        database, clock = self.database, self._clock
        # As `serve` does at each start; without points, so that a process gets as far as its first look.
        claim = super(PointedDatabase, database).write
        await claim(till.claim, "regtest", clock())
        self.keychain = await claim(
            till.keychain, DESCRIPTOR.fingerprint, DESCRIPTOR.text, watch_only=not self._forwarding, now=clock()
        )
        watchlist = Watchlist(database)
        await watchlist.load()
        self.mempool = Mempool(self._rpc, database, watchlist, clock=clock)
        self.look = Look(
            Gate(self._rpc, self._rules),
            database,
            watchlist,
            ChainFollower(self._rpc, BlockSource(self._rpc), database, watchlist, self._rules, clock=clock),
            self.mempool,
            Crediting(self._rpc, database, clock=clock),
            forwarder=self._forwarder() if self._forwarding else None,
            clock=clock,
        )
        return self

    def _forwarder(self) -> Forwarder:
        return Forwarder(
            self._rpc,
            self.database,
            open_signer(lambda index: SEED.private_key("regtest", index)),
            Destination(OWNER_ADDRESS, OWNER),
            RULES,
            keychain_id=self.keychain,
            network="regtest",
            clock=self._clock,
        )

    async def stop(self) -> None:
        await self.database.__aexit__(None, None, None)

    async def step(self, plan: Mapping[int, Trouble], *, look: bool, heard: Sequence[bytes]) -> Looked | None:
        """One look, or one batch of hints, or both at a time. None when it came to nothing; raises `Crashed`."""
        self._points.begin(plan)
        both = [self._look_once()] if look else []
        if heard and self.look.believed_at is not None:
            both.append(self._hear_once(heard, self.look.believed_at))
        self._points.shared = len(both) > 1
        answers = await asyncio.gather(*both, return_exceptions=True)
        self._points.begin({})
        self._points.shared = False
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Crashed):
                raise answer
        if self._points.dead:
            raise Crashed
        return next((answer for answer in answers if isinstance(answer, Looked)), None)

    async def _look_once(self) -> Looked | None:
        try:
            return await self.look.go(self._clock())
        except _WORLD:
            return None

    async def _hear_once(self, heard: Sequence[bytes], at: str) -> None:
        with suppress(*_WORLD):
            await self.mempool.hear(heard, at=at)
