"""What the watcher counted, from its report: it may run in another process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)


def watchers_figures(report: Mapping[str, Any], now: int) -> Iterator[Metric]:
    """Nothing before the first report. `now` in milliseconds."""
    if "tip_lag" in report:
        yield GaugeMetricFamily("nodetill_tip_lag_blocks", "Blocks of the node not processed", value=report["tip_lag"])
    gaps = CounterMetricFamily("nodetill_zmq_gaps_total", "Messages that ZMQ lost, by topic", labels=["topic"])
    for topic, seen in report.get("zmq", {}).get("topics", {}).items():
        gaps.add_metric([topic], seen["gaps_total"])
    yield gaps
    if audit := report.get("audit"):
        yield from _audit(audit, now)
    if meter := report.get("meter"):
        yield from _calls(meter)
        forwards = CounterMetricFamily("nodetill_forwards_total", "Sweeps to the owner, by result", labels=["result"])
        for result in ("broadcast", "refused", "held"):
            forwards.add_metric([result], meter["forwards"].get(result, 0))
        yield forwards
        yield CounterMetricFamily(
            "nodetill_transactions_unreadable_total",
            "Transactions that could not be read and were skipped",
            value=meter["unreadable"],
        )
        yield _histogram("nodetill_detection_seconds", "From a rawtx hint to the recorded payment", meter["detection"])
        yield _histogram("nodetill_confirmation_seconds", "From first seen to credited", meter["confirmation"])


def _audit(audit: Mapping[str, Any], now: int) -> Iterator[Metric]:
    """What the last audit found. Before the first one: only what the look at the ledger at the start found."""
    yield GaugeMetricFamily(
        "nodetill_ledger_difference_sat", "Satoshi by which chain and ledger differ", value=audit["difference_sat"]
    )
    yield GaugeMetricFamily(
        "nodetill_ledger_differences", "Differences that the last audit found", value=audit["differences"]
    )
    if audit["finished_at"]:
        seconds = max(0, now - audit["finished_at"]) / 1000
        yield GaugeMetricFamily("nodetill_seconds_since_audit", "Seconds since the last audit ended", value=seconds)


def _calls(meter: Mapping[str, Any]) -> Iterator[Metric]:
    requests = CounterMetricFamily("nodetill_rpc_requests_total", "Questions to the node", labels=["method", "result"])
    calls: dict[str, int] = {}
    for method, result, count in meter["rpc"]:
        requests.add_metric([method, result], count)
        calls[method] = calls.get(method, 0) + count
    yield requests
    took = SummaryMetricFamily("nodetill_rpc_seconds", "How long the node took to answer", labels=["method"])
    for method, seconds in meter["rpc_seconds"].items():
        took.add_metric([method], calls.get(method, 0), seconds)
    yield took


def _histogram(name: str, help_text: str, seen: Mapping[str, Any]) -> Metric:
    return HistogramMetricFamily(
        name, help_text, buckets=[(bound, count) for bound, count in seen["buckets"]], sum_value=seen["sum"]
    )
