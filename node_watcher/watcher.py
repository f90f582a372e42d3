"""The watcher: hints make it look sooner, the timer makes it look anyway.

Each pass is one `Look`; one that finds nothing new costs a handful of RPC calls. The second witness is
asked beside the passes, never on the way of a payment.
"""

from __future__ import annotations

import asyncio
import logging
import time

from node_watcher.activities import Comparing, Hearing, Looking
from node_watcher.askers import answer_askers
from node_watcher.clock import now_ms
from node_watcher.health_report import HealthReport
from node_watcher.look import Looked
from node_watcher.meter import Meter
from node_watcher.reason import Reason
from node_watcher.rpc import NodeError
from node_watcher.self_audit import SelfAudit
from node_watcher.watchlist import Watchlist
from node_watcher.witness import WitnessUnusable
from payments.model import BlockId
from storage.database import Database
from storage.errors import CursorMoved, DatabaseBusy, DatabaseUnusable

log = logging.getLogger("nodetill")
_HEARTBEAT_SECONDS = 5.0
_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_LONG_PASS_SECONDS = 60.0
_HEARD_AT_MOST = 50_000
_HEARD_BYTES_AT_MOST = 100_000_000
# A full disk, a server that restarts: the world's misbehaviour, which ends by itself or by a person.
_DATABASE_TROUBLE = (DatabaseBusy, DatabaseUnusable)


class Watcher:
    """Everything that happens because of the chain. Run `run()` in a TaskGroup."""

    def __init__(
        self,
        interval: float,
        database: Database,
        watchlist: Watchlist,
        mempool: Hearing,
        look: Looking,
        *,
        witness: Comparing | None = None,
        meter: Meter | None = None,
        self_audit: SelfAudit | None = None,
    ) -> None:
        """`interval`: seconds between safety-net passes."""
        self._interval = interval
        self._database = database
        self._watchlist = watchlist
        self._mempool = mempool
        self._look = look
        self._witness = witness
        self._meter = meter or Meter()
        self._self_audit = self_audit
        self.health = HealthReport(database, self._meter, self_audit, min(_HEARTBEAT_SECONDS, interval))
        self._wanted = asyncio.Event()
        self._heard: list[bytes] = []
        self._heard_bytes = 0
        self._heard_since = 0.0
        self._hearing = asyncio.Event()
        self._passed = asyncio.Condition()
        self._passes_begun = 0
        self._complete_pass = 0
        self._failed_pass = 0
        self._pass_since: float | None = None
        self._tip: BlockId | None = None

    # -- what others call

    def hear_rawtx(self, raw: bytes) -> None:
        """A rawtx hint. Only kept here; matching happens in the task that waits for it."""
        if len(self._heard) >= _HEARD_AT_MOST or self._heard_bytes >= _HEARD_BYTES_AT_MOST:
            self._heard.clear()  # nobody answers for them just now; a pass will find what is ours
            self._heard_bytes = 0
            self.ask_sooner()
        if not self._heard:
            self._heard_since = time.monotonic()
        self._heard.append(raw)
        self._heard_bytes += len(raw)
        self._hearing.set()

    def ask_sooner(self) -> None:
        """A block, a gap, a reconnection: look at once."""
        self._wanted.set()

    async def check_now(self, timeout: float = 10.0) -> bool:
        """Look at once and return when a pass that began after this call is done; False when the node could
        not be asked: it is down, behind, or not to be believed. Raises `TimeoutError`."""
        try:
            async with asyncio.timeout(timeout):
                return await self.next_pass()
        except TimeoutError:
            log.warning("A requested look at the node took longer than %s s", timeout)
            raise

    async def next_pass(self) -> bool:
        """The same, however long it takes. A pass in which the tip moved is followed by another."""
        target = self._passes_begun + 1
        self.ask_sooner()
        async with self._passed:
            await self._passed.wait_for(lambda: max(self._complete_pass, self._failed_pass) >= target)
        return self._complete_pass >= target

    async def run(self) -> None:
        """Watch until cancelled. The world's misbehaviour is retried here; a bug is not."""
        log.info("Bitcoin payment background processor started")
        await self._start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear_loop(), name="rawtx")
            group.create_task(self._pass_loop(), name="passes")
            group.create_task(self._report_loop(), name="reports")
            group.create_task(answer_askers(self._database, self.next_pass, self._interval), name="askers")
            if self._witness is not None:
                group.create_task(self._witness_loop(self._witness), name="witness")
            if self._self_audit is not None:
                group.create_task(self._self_audit.run(), name="audit")

    async def _start(self) -> None:
        """Read what is watched, as soon as the database is to be had."""
        while True:
            try:
                # What an earlier run reported is not true any more.
                await self.health.write()
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
            raws, since = self._heard, self._heard_since
            self._heard, self._heard_bytes = [], 0
            if self._look.believed_at is None:
                continue  # it may be another network's node, with the same scripts
            try:
                if await self._mempool.hear(raws, at=self._look.believed_at):
                    self._meter.detection.observe(time.monotonic() - since)
            except (NodeError, *_DATABASE_TROUBLE) as error:
                log.debug("A hint could not be followed up, the next pass will: %s", error)
                self.ask_sooner()

    async def _pass_loop(self) -> None:
        failures = 0
        while True:
            self._wanted.clear()
            self._passes_begun += 1
            self._pass_since = time.monotonic()
            failed = await self._one_pass()
            self._pass_since = None
            failures = failures + 1 if failed else 0
            async with self._passed:
                self._passed.notify_all()
            wait = self._interval
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
            await asyncio.sleep(self.health.heartbeat)
            self.health.say_when_deaf()
            more = []
            took = 0.0 if self._pass_since is None else time.monotonic() - self._pass_since
            if took > _LONG_PASS_SECONDS and "behind" not in [reason.code for reason in self.health.reasons]:
                more.append(Reason("behind", f"The watcher has been looking at the node for {took:.0f} seconds."))
            try:
                await self.health.write(*more)
            except _DATABASE_TROUBLE as error:
                log.debug("The watcher's report could not be written: %s", error)

    async def _witness_loop(self, witness: Comparing) -> None:
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
            await asyncio.sleep(self._interval)

    async def _one_pass(self) -> bool:
        """One pass with its report; True when it could not be finished."""
        started = now_ms()
        try:
            looked = await self._look.go(started)
        except NodeError as error:
            looked = Looked((Reason("node", str(error)),))
        except CursorMoved as error:
            looked = Looked((Reason("database", f"Another watcher moved the cursor: {error}"),))
        except _DATABASE_TROUBLE as error:
            looked = Looked((Reason("database", str(error)),))
        self.health.lag = looked.lag
        if looked.more:
            self.ask_sooner()
        if looked.tip is not None:
            self.health.complete_at, self._complete_pass, self._tip = started, self._passes_begun, looked.tip
        elif looked.reasons:
            self._failed_pass = self._passes_begun
        self.health.found(looked.reasons)
        try:
            await self.health.write()
        except _DATABASE_TROUBLE as error:
            log.warning("The watcher's report could not be written: %s", error)
        return not looked.complete
