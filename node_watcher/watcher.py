"""The watcher: hints make it look sooner, the timer makes it look anyway.

One pass does everything in order: is the node to be believed, walk the chain to its tip, compare
the mempool, settle what a reorganisation left open, book credits, close price windows, forward. A pass
that finds nothing new costs a handful of RPC calls. The second witness is asked beside the passes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from node_watcher.chain import ChainFollower
from node_watcher.changes import tell
from node_watcher.clock import now_ms
from node_watcher.crediting import Crediting, tell_bookings
from node_watcher.gate import Reason, examine
from node_watcher.mempool import Mempool
from node_watcher.rpc import NodeError, Rpc
from node_watcher.watchlist import Watchlist
from node_watcher.witness import Witness, WitnessUnusable
from payments.model import BlockId
from storage import chain as stored
from storage import evaluation, ledger, till
from storage.database import Database
from storage.errors import CursorMoved, DatabaseBusy, DatabaseUnusable

log = logging.getLogger("nodetill")
_HEARTBEAT_SECONDS = 5.0
_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_RENEW_EVERY_BLOCKS = 144
_LONG_PASS_SECONDS = 60.0
# Their figures move all the time: they are said once.
_PROGRESS = ("behind", "syncing")
_STARTING = Reason("starting", "The watcher is starting.")
_HEARD_AT_MOST = 50_000
# A full disk, a server that restarts: the world's misbehaviour, which ends by itself or by a person.
_DATABASE_TROUBLE = (DatabaseBusy, DatabaseUnusable)


class Doorbell(Protocol):
    """ZMQ as the watcher sees it: how it is doing, for health and metrics."""

    def snapshot(self) -> dict[str, Any]:
        """Plain values for the health report."""


class Forwards(Protocol):
    """The forwarder of forwarding mode."""

    async def forward_due(self, tip: BlockId) -> int: ...


@dataclass(slots=True)
class WatcherSettings:
    """`network` as in the settings; `interval` seconds between safety-net passes."""

    network: str
    interval: float


class Watcher:
    """Everything that happens because of the chain. Run `run()` in a TaskGroup."""

    def __init__(
        self,
        settings: WatcherSettings,
        rpc: Rpc,
        database: Database,
        watchlist: Watchlist,
        follower: ChainFollower,
        mempool: Mempool,
        crediting: Crediting,
        *,
        witness: Witness | None = None,
        forwarder: Forwards | None = None,
        on_first_contact: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._settings = settings
        self._rpc = rpc
        self._database = database
        self._watchlist = watchlist
        self._follower = follower
        self._mempool = mempool
        self._crediting = crediting
        self._witness = witness
        self._forwarder = forwarder
        self.doorbell: Doorbell | None = None
        self._on_first_contact = on_first_contact
        self._wanted = asyncio.Event()
        self._heard: list[bytes] = []
        self._hearing = asyncio.Event()
        self._passed = asyncio.Condition()
        self._passes_begun = 0
        self._passes_done = 0
        self._reported: dict[str, Any] = {}
        self._reported_at = 0.0
        self._complete_at = 0
        self._complete_pass = 0
        self._reasons: tuple[Reason, ...] = (_STARTING,)
        self._pass_since: float | None = None
        self._believed = False
        self._tip: BlockId | None = None
        self._renewed_at = 0

    # -- what others call

    def hear_rawtx(self, raw: bytes) -> None:
        """A rawtx hint. Only kept here; matching happens in the task that waits for it."""
        if len(self._heard) >= _HEARD_AT_MOST:
            self._heard.clear()  # nobody answers for them just now; a pass will find what is ours
            self.ask_sooner()
        self._heard.append(raw)
        self._hearing.set()

    def ask_sooner(self) -> None:
        """A block, a gap, a reconnection: look at once."""
        self._wanted.set()

    async def check_now(self, timeout: float = 10.0) -> None:
        """Look at once and return when a pass that began after this call is done (or time is up)."""
        target = self._passes_begun + 1
        self.ask_sooner()
        try:
            async with asyncio.timeout(timeout):
                async with self._passed:
                    await self._passed.wait_for(lambda: self._passes_done >= target)
        except TimeoutError:
            log.warning("A requested look at the node took longer than %s s", timeout)

    async def run(self) -> None:
        """Watch until cancelled. The world's misbehaviour is retried here; a bug is not."""
        log.info("Bitcoin payment background processor started")
        await self._start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear_loop(), name="rawtx")
            group.create_task(self._pass_loop(), name="passes")
            group.create_task(self._report_loop(), name="reports")
            if self._witness is not None:
                group.create_task(self._witness_loop(self._witness), name="witness")

    async def _start(self) -> None:
        """Read what is watched, as soon as the database is to be had."""
        while True:
            try:
                # What an earlier run reported is not true any more.
                await self._report(self._reasons)
                await self._watchlist.load()
                if self._witness is not None:
                    await self._witness.begin()
                return
            except _DATABASE_TROUBLE as error:
                log.warning("The watcher waits for the database: %s", error)
            await asyncio.sleep(_BACKOFF_SECONDS[2])

    # -- the loops

    async def _hear_loop(self) -> None:
        while True:
            await self._hearing.wait()
            self._hearing.clear()
            raws, self._heard = self._heard, []
            if not self._believed:
                continue  # it may be another network's node, with the same scripts
            try:
                await self._mempool.hear(raws)
            except (NodeError, *_DATABASE_TROUBLE) as error:
                log.debug("A hint could not be followed up, the next pass will: %s", error)
                self.ask_sooner()

    async def _pass_loop(self) -> None:
        failures = 0
        while True:
            self._wanted.clear()
            self._passes_begun += 1
            number = self._passes_begun
            self._pass_since = time.monotonic()
            failed = await self._one_pass()
            self._pass_since = None
            failures = failures + 1 if failed else 0
            async with self._passed:
                self._passes_done = number
                self._passed.notify_all()
            wait = self._settings.interval
            if failures:
                wait = min(wait, _BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS)) - 1])
            try:
                async with asyncio.timeout(wait):
                    await self._wanted.wait()
            except TimeoutError:
                pass

    async def _report_loop(self) -> None:
        """Passes may be an hour apart, or long: how we are is told all the same."""
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            reasons = self._reasons
            if self._pass_since is not None and (took := time.monotonic() - self._pass_since) > _LONG_PASS_SECONDS:
                reasons += (Reason("behind", f"The watcher has been looking at the node for {took:.0f} seconds."),)
            try:
                await self._report(reasons)
            except _DATABASE_TROUBLE as error:
                log.debug("The watcher's report could not be written: %s", error)

    async def _witness_loop(self, witness: Witness) -> None:
        """Ask the second witness, never on the way of a payment: its wallet may have to rescan for hours."""
        said, begun = "", 0
        while True:
            # What it knows is compared with a pass that began later than the last comparison.
            async with self._passed:
                await self._passed.wait_for(lambda begun=begun: self._complete_pass > begun)  # type: ignore[misc]
            begun = self._passes_begun
            try:
                await witness.prepare()
                if self._tip is not None and await witness.compare(self._tip):
                    self.ask_sooner()
                said = ""
            except (WitnessUnusable, NodeError, *_DATABASE_TROUBLE) as error:
                if str(error) != said:
                    log.warning("The second witness is not to be had: %s", error)
                said = str(error)
            await asyncio.sleep(self._settings.interval)

    async def _one_pass(self) -> bool:
        """One pass with its report; True when it could not be finished."""
        started = now_ms()
        try:
            reasons, complete = await self._look(started)
        except NodeError as error:
            reasons, complete = (Reason("node", str(error)),), False
        except CursorMoved as error:
            reasons, complete = (Reason("database", f"Another watcher moved the cursor: {error}"),), False
        except _DATABASE_TROUBLE as error:
            reasons, complete = (Reason("database", str(error)),), False
        if complete:
            self._complete_at, self._complete_pass = started, self._passes_begun
        said = {reason.code for reason in self._reasons if reason.code in _PROGRESS}
        for reason in reasons:
            if reason not in self._reasons and reason.code not in said:
                log.warning("Not ready: %s", reason.detail)
        if not reasons and self._reasons:
            log.info("Ready: the watcher is level with the node")
        self._reasons = reasons
        try:
            await self._report(reasons)
        except _DATABASE_TROUBLE as error:
            log.warning("The watcher's report could not be written: %s", error)
        return not complete

    # -- one pass

    async def _look(self, started: int) -> tuple[tuple[Reason, ...], bool]:
        try:
            verdict = await examine(self._rpc, self._settings.network)
        except NodeError:
            self._believed = False  # who knows which node answers next
            raise
        if not verdict.readable:
            self._believed = False
            return verdict.reasons, False
        if self._on_first_contact is not None:
            await self._on_first_contact()
            self._on_first_contact = None
        self._believed = True
        if verdict.frozen and await self._database.read(stored.cursor) is None:
            return verdict.reasons, False  # where to begin is known once the node has the whole chain
        followed = await self._follower.follow()
        if followed.behind:
            return (*verdict.reasons, _node_behind(followed.tip)), False
        tip = followed.tip
        if followed.more:
            self.ask_sooner()
            return (*verdict.reasons, _catching_up(tip, verdict.height)), False
        if tip.height >= self._renewed_at + _RENEW_EVERY_BLOCKS:
            await self._watchlist.renew_prevouts()
            self._renewed_at = tip.height
        if verdict.frozen or not await self._mempool.look(tip):
            return verdict.reasons, False
        await self._conclude(tip, started)
        self._tip = tip
        return (), True

    async def _conclude(self, tip: BlockId, started: int) -> None:
        """At the tip of a node that is to be believed: judge, credit, expire, forward."""
        changes, taken_back = await self._database.write(ledger.settle, now_ms())
        tell(changes)
        tell_bookings(taken_back)
        await self._crediting.book_due(tip)
        while await self._database.read(evaluation.windows_due, started):
            tell(await self._database.write(evaluation.close_windows, started, now_ms()))
        if self._forwarder is not None:
            await self._forwarder.forward_due(tip)

    async def _report(self, reasons: tuple[Reason, ...]) -> None:
        """Tell the database how we are: on a change at once, else every few seconds."""
        report: dict[str, Any] = {"reasons": [{"code": r.code, "detail": r.detail} for r in reasons]}
        if self.doorbell is not None:
            report["zmq"] = self.doorbell.snapshot()
        due = time.monotonic() >= self._reported_at + _HEARTBEAT_SECONDS
        if report["reasons"] == self._reported.get("reasons") and not due:
            return
        await self._database.write(till.report_health, report, self._complete_at, now_ms())
        self._reported, self._reported_at = report, time.monotonic()


def _catching_up(cursor: BlockId, height: int) -> Reason:
    return Reason(
        "behind", f"nodetill is reading blocks: it is at height {cursor.height} of {height}; credits wait for the tip."
    )


def _node_behind(cursor: BlockId) -> Reason:
    return Reason(
        "node-behind",
        f"The node does not know block {cursor.hash} at height {cursor.height} that it gave us before: "
        "it went back (a crash, a restored disk). Nothing is undone; nodetill waits until it has caught up.",
    )
