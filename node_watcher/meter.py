"""What the watcher counts since its start, as plain values that go into its report.

The API shows them as Prometheus metrics, also when it runs in another process.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

CONFIRMATION_SECONDS = (60, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400)
DETECTION_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30)


@dataclass(slots=True)
class Histogram:
    """Observations in seconds, counted up to each bound (cumulative, as Prometheus wants them)."""

    bounds: tuple[float, ...]
    total: int = 0
    seconds: float = 0.0
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = [0] * len(self.bounds)

    def observe(self, seconds: float) -> None:
        self.total += 1
        self.seconds += seconds
        for place, bound in enumerate(self.bounds):
            self.counts[place] += seconds <= bound

    def snapshot(self) -> dict[str, Any]:
        buckets = [[str(bound), count] for bound, count in zip(self.bounds, self.counts, strict=True)]
        return {"buckets": [*buckets, ["+Inf", self.total]], "sum": round(self.seconds, 6)}


class Meter:
    """One per watcher. `rpc` fits the `observe` of the RPC transports."""

    def __init__(self) -> None:
        self._rpc: Counter[tuple[str, str]] = Counter()
        self._rpc_seconds: dict[str, float] = {}
        self._forwards: Counter[str] = Counter()
        self._unreadable = 0
        self.detection = Histogram(DETECTION_SECONDS)
        self.confirmation = Histogram(CONFIRMATION_SECONDS)

    def rpc(self, method: str, result: str, seconds: float) -> None:
        """One question to the node: `result` is ok, error, unavailable, refused or cancelled."""
        self._rpc[method, result] += 1
        self._rpc_seconds[method] = self._rpc_seconds.get(method, 0.0) + seconds

    def forward(self, result: str, times: int = 1) -> None:
        """Sweeps: `result` is broadcast, replaced, confirmed, refused or held; failed: a payment past its deadline."""
        self._forwards[result] += times

    def unreadable(self) -> int:
        """One transaction that could not be read and was skipped; how many that makes."""
        self._unreadable += 1
        return self._unreadable

    def snapshot(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        return {
            "rpc": [[method, result, count] for (method, result), count in sorted(self._rpc.items())],
            "rpc_seconds": {method: round(seconds, 6) for method, seconds in sorted(self._rpc_seconds.items())},
            "forwards": dict(self._forwards),
            "unreadable": self._unreadable,
            "detection": self.detection.snapshot(),
            "confirmation": self.confirmation.snapshot(),
        }
