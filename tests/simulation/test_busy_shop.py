"""Many payments, partial, late, replaced, evicted, mined unseen."""

from __future__ import annotations

import pytest

from tests.simulation.histories import Climate
from tests.simulation.runs import parametrize, play_all


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parametrize(metafunc, Climate.BUSY_SHOP)


def test_histories(seeds: list[int]) -> None:
    play_all(seeds)
