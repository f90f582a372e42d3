"""Forwarding mode: coins go to the owner once, whatever happens to the chain and to the process."""

from __future__ import annotations

import pytest

from tests.simulation.histories import Climate
from tests.simulation.runs import parametrize, play_all


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parametrize(metafunc, Climate.FORWARDING)


def test_histories(seeds: list[int]) -> None:
    play_all(seeds)
