"""A measurement's result: named figures with their unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, e.g. `Figure("API shows confirming, median", 4.2, "ms")`."""

    name: str
    value: float
    unit: str


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(name: str, values: Sequence[float], unit: str) -> list[Figure]:
    """Median, 99th percentile and worst of a series."""
    return [
        Figure(f"{name}, median", quantile(values, 0.5), unit),
        Figure(f"{name}, p99", quantile(values, 0.99), unit),
        Figure(f"{name}, worst", max(values), unit),
    ]
