"""GET /metrics: Prometheus text, from the process's own registry and from the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from api.shop import SHOP
from api.watcher_figures import watchers_figures
from payments.model import Status
from storage.coins_due import backlog_sat
from storage.payments import counts_by_status
from storage.till import health
from storage.tx import Tx


class Figures(Collector):
    """What the database says, read once for one answer."""

    def __init__(self, counts: Mapping[str, int], backlog_sat: int, report: Mapping[str, Any], now: int) -> None:
        self._counts = counts
        self._backlog_sat = backlog_sat
        self._report = report
        self._now = now
        # A difference that an audit found is a reason, too, and stops no credit by itself.
        self._frozen = bool(report.get("credits_frozen", report.get("reasons", [1])))

    def collect(self) -> Iterator[Metric]:
        total = GaugeMetricFamily("nodetill_payments_total", "Payments by status", labels=["status"])
        for status in Status:
            total.add_metric([status.value], self._counts.get(status, 0))
        yield total
        waiting = sum(self._counts.get(s, 0) for s in (Status.PENDING, Status.CONFIRMING))
        yield GaugeMetricFamily("nodetill_payments_open", "Payments that are pending or confirming", value=waiting)
        if self._report["tip_height"] is not None:
            yield GaugeMetricFamily(
                "nodetill_tip_height",
                "Height up to which blocks were processed",
                value=self._report["tip_height"],
            )
        if self._report["complete_at"]:
            yield GaugeMetricFamily(
                "nodetill_seconds_since_complete",
                "Seconds since the watcher last proved that it has missed nothing",
                value=max(0, self._now - self._report["complete_at"]) / 1000,
            )
        yield GaugeMetricFamily(
            "nodetill_forward_backlog_sat", "Booked satoshi that no broadcast sweep spends", value=self._backlog_sat
        )
        yield GaugeMetricFamily("nodetill_credits_frozen", "1 while no credit is given", value=int(self._frozen))
        yield from watchers_figures(self._report, self._now)


def _figures(tx: Tx) -> tuple[dict[str, int], int, dict[str, Any]]:
    return counts_by_status(tx), backlog_sat(tx), health(tx)


async def metrics(request: web.Request) -> web.Response:
    """All figures of this process and of the database."""
    shop = request.app[SHOP]
    counts, backlog, report = await shop.database.read(_figures)
    ours = CollectorRegistry()
    ours.register(Figures(counts, backlog, report, shop.now_ms()))
    body = generate_latest(shop.registry) + generate_latest(ours)
    # The type carries a charset, which aiohttp's content_type argument refuses.
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
