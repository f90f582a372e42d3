"""How the watcher is, written to the database, where the API and other machines read it."""

from __future__ import annotations

import logging
import time
from typing import Any, Protocol

from node_watcher.clock import now_ms
from node_watcher.meter import Meter
from node_watcher.reason import Reason
from node_watcher.self_audit import SelfAudit
from storage import till
from storage.database import Database

log = logging.getLogger("nodetill")
_DEAF_HEARTBEATS = 3
# Their figures move with the chain: they are said once.
_SAID_ONCE = ("behind", "syncing", "chain-mismatch", "stale", "witness-disagrees", "witness-silent")
_STARTING = Reason("starting", "The watcher is starting.")


class Doorbell(Protocol):
    """ZMQ as the watcher sees it: how it is doing, for health and metrics."""

    @property
    def connected(self) -> bool:
        """Whether a node answers at every endpoint."""

    def snapshot(self) -> dict[str, Any]:
        """Plain values for the health report."""


class HealthReport:
    """What stands between the watcher and readiness: `reasons`, set by `found`; none when all is well."""

    def __init__(self, database: Database, meter: Meter, self_audit: SelfAudit | None, heartbeat: float) -> None:
        """`heartbeat`: seconds between two reports of the same."""
        self._database, self._meter, self._self_audit = database, meter, self_audit
        self.heartbeat = heartbeat
        self.doorbell: Doorbell | None = None
        self.reasons: tuple[Reason, ...] = (_STARTING,)
        self.complete_at = 0
        """When the newest pass began (ms) that has proved to have missed nothing."""
        self.lag = 0
        """Blocks that the node has and we have not read."""
        self.written: dict[str, Any] = {}
        self._written_at = 0.0
        self._deaf_since = time.monotonic()

    def found(self, reasons: tuple[Reason, ...]) -> None:
        """Keep what a pass has found, and log what is new of it."""
        said = {reason.code for reason in self.reasons if reason.code in _SAID_ONCE}
        for reason in reasons:
            if reason not in self.reasons and reason.code not in said:
                log.warning("Not ready: %s", reason.detail)
        if not reasons and self.reasons:
            log.info("Ready: the watcher is level with the node")
        self.reasons = reasons

    async def write(self, *more: Reason) -> None:
        """Tell the database how we are: on a change at once, else every few seconds. Raises `StorageError`."""
        reasons = (*self.reasons, *more)
        report: dict[str, Any] = {"credits_frozen": bool(reasons)}
        complete_at = self.complete_at
        if (audit := self._self_audit) is not None:
            report["audit"] = audit.snapshot()
            if found := audit.reasons:
                reasons = tuple(dict.fromkeys((*reasons, *found)))
                complete_at = 0  # who sees a difference has not proved to have missed nothing
        report["reasons"] = [{"code": r.code, "detail": r.detail} for r in reasons]
        report["tip_lag"] = self.lag
        report["meter"] = self._meter.snapshot()
        if self.doorbell is not None:
            report["zmq"] = self.doorbell.snapshot()
        due = time.monotonic() >= self._written_at + self.heartbeat
        if report["reasons"] == self.written.get("reasons") and not due:
            return
        await self._database.write(till.report_health, report, complete_at, now_ms())
        self.written, self._written_at = report, time.monotonic()

    def say_when_deaf(self) -> None:
        """Warn once when ZMQ has not been connected for a while."""
        if self.doorbell is None or self.doorbell.connected:
            self._deaf_since = time.monotonic()
        elif self._deaf_since and time.monotonic() - self._deaf_since > _DEAF_HEARTBEATS * self.heartbeat:
            self._deaf_since = 0.0
            log.warning(
                "Nothing publishes at node.zmq_rawtx or node.zmq_hashblock: payments are seen by the timer only. "
                "Compare both with the zmqpub lines of bitcoin.conf."
            )
