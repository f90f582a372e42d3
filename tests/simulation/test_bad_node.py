"""A node that stops, warms up, lags, goes back, and forgets its mempool."""

from __future__ import annotations

import pytest

from tests.simulation.histories import Climate
from tests.simulation.runs import parametrize, play_all


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parametrize(metafunc, Climate.BAD_NODE)


def test_histories(seeds: list[int]) -> None:
    play_all(seeds)
