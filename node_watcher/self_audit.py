"""The service's own audit: every few minutes the recent window, and before the first credit the whole ledger.

A difference is told: log, `/readyz`, metrics. A ledger that contradicts itself also stops the credits (decision 0010).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

from node_watcher.audit import Audit, Auditor
from node_watcher.chain_scan import ChainScan
from node_watcher.clock import now_ms
from node_watcher.reason import Reason
from node_watcher.rpc import NodeError, Rpc
from payments.difference import Check, Difference, total_sat
from storage.audit.ledger import contradictions, holds
from storage.database import Database
from storage.errors import DatabaseBusy, DatabaseUnusable

log = logging.getLogger("nodetill")
EVERY_SECONDS = 300.0
_FIRST_SECONDS = 10.0
_AGAIN_SECONDS = 30.0
PAUSE_SECONDS = 0.1
"""After each block that is read: a customer's request or a new block goes first."""
_REST_SECONDS = 0.002
_TOLD_AT_MOST = 20
_FAILURES_TOLD = 10
"""In a row, and then it is no passing trouble any more."""


class _Stopped(Exception):
    """The service stops: give up the snapshot."""


class SelfAudit:
    """Run `run()` in a TaskGroup, and ask `broken()` before each booking."""

    def __init__(
        self,
        rpc: Rpc,
        scan: ChainScan,
        database: Database,
        *,
        network: str,
        destination: str | None = None,
        first: float = _FIRST_SECONDS,
        every: float = EVERY_SECONDS,
    ) -> None:
        """`first` and `every`: seconds before the first audit, and between two."""
        self._database = database
        self._auditor = Auditor(rpc, scan, database, network=network, destination=destination, rest=self._rest)
        self._first, self._every = first, every
        self._stopped = threading.Event()
        self._ledger_checked = False
        self._broken: tuple[Difference, ...] = ()
        self._differences: tuple[Difference, ...] = ()
        self._finished_at = 0
        self._failures = 0
        self._newest = (0, "")

    # -- what others ask

    async def broken(self) -> Reason | None:
        """Why no credit may be given, if so. The first call looks at the whole ledger."""
        if not self._ledger_checked:
            self._told(await self._contradictions(), self._differences)
            self._ledger_checked = True
        return self._ledger_reason()

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """For `/readyz`."""
        found = [self._ledger_reason()]
        if self._differences:
            more = f" And {len(self._differences) - 1} more." if len(self._differences) > 1 else ""
            found.append(
                Reason(
                    "ledger-difference", f"{self._differences[0].detail}{more} Run ./nodetill audit for all of them."
                )
            )
        return tuple(reason for reason in found if reason is not None)

    def snapshot(self) -> dict[str, Any]:
        """For metrics: when the last audit ended (0: none yet), and what it found."""
        found = (*self._broken, *self._differences)
        return {"finished_at": self._finished_at, "differences": len(found), "difference_sat": total_sat(found)}

    # -- the task

    async def run(self) -> None:
        """Audit until cancelled. What the node or the database do to it is waited out."""
        wait = self._first
        try:
            while True:
                await asyncio.sleep(wait)
                wait = self._every if await self._audited() else min(self._every, _AGAIN_SECONDS)
        finally:
            self._stopped.set()

    async def _audited(self) -> bool:
        """One audit; False when nothing could be said."""
        began = time.monotonic()
        try:
            before = await self._database.read(holds, *self._newest)
            ledger = await self._contradictions() if self._broken else ()
            audit = await self._auditor.run(full=False)
        except (NodeError, DatabaseBusy, DatabaseUnusable) as error:
            return self._has_to_wait(str(error))
        if any(difference.check is Check.CURSOR for difference in audit.differences):
            return self._has_to_wait("the chain loop is on its way")  # or tells why it is not
        self._keep(audit, (*before, *ledger))
        log.debug("Audit of blocks %s to %s in %.1f s", audit.from_height, audit.to_height, time.monotonic() - began)
        return True

    def _has_to_wait(self, why: str) -> bool:
        self._failures += 1
        log.debug("The audit has to wait: %s", why)
        if self._failures == _FAILURES_TOLD:
            log.warning("The audit could not be made %d times in a row: %s", self._failures, why)
        return False

    def _keep(self, audit: Audit, ledger: tuple[Difference, ...]) -> None:
        breaks = {d.key: d for d in (*ledger, *audit.differences) if d.check.breaks_ledger}
        self._told(tuple(breaks.values()), tuple(d for d in audit.differences if not d.check.breaks_ledger))
        self._finished_at, self._failures = now_ms(), 0
        if not breaks:
            self._newest = (audit.findings.newest_transfer, audit.findings.ledger_hash)

    def _told(self, broken: tuple[Difference, ...], differences: tuple[Difference, ...]) -> None:
        known = {difference.key for difference in (*self._broken, *self._differences)}
        fresh = [difference for difference in (*broken, *differences) if difference.key not in known]
        for difference in fresh[:_TOLD_AT_MOST]:
            log.error("Audit: %s", difference.detail)
        if len(fresh) > _TOLD_AT_MOST:
            log.error("Audit: %d more differences; run ./nodetill audit", len(fresh) - _TOLD_AT_MOST)
        if known and not broken and not differences:
            log.info("Audit: no difference any more")
        self._broken, self._differences = broken, differences

    async def _contradictions(self) -> tuple[Difference, ...]:
        return tuple(await self._database.read_aside(contradictions, lambda *far: self._rest()))

    def _ledger_reason(self) -> Reason | None:
        if not self._broken:
            return None
        return Reason("ledger", f"No credit is given, because the ledger contradicts itself: {self._broken[0].detail}")

    def _rest(self) -> None:
        """Called in the thread of a snapshot."""
        if self._stopped.wait(_REST_SECONDS):
            raise _Stopped
