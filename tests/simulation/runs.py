"""Many histories in a row; the first that breaks a rule is cut short, and told with its seed."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence

import pytest

from tests.simulation.draws import Action
from tests.simulation.histories import Climate, history, play
from tests.simulation.shrink import shortest

IN_EACH_RUN = 2_000
CHUNK = 25
"""Histories in one test: some seconds."""


def chunks(config: pytest.Config, climate: Climate) -> list[list[int]]:
    """The seeds of one climate, of those that this run is to play (`--simulate`, `--seed`), chunk by chunk."""
    first, count = first_and_count(config)
    seeds = [seed for seed in range(first, first + count) if seed % len(Climate) == climate]
    return [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]


def first_and_count(config: pytest.Config) -> tuple[int, int]:
    """What `--seed` and `--simulate` say; without them the same histories in each run of all tests."""
    count = config.getoption("simulate")
    return int(config.getoption("seed") or 0), IN_EACH_RUN if count is None else int(count)


def parametrize(metafunc: pytest.Metafunc, climate: Climate) -> None:
    """For `pytest_generate_tests`: one test for each chunk."""
    found = chunks(metafunc.config, climate)
    metafunc.parametrize("seeds", found, ids=[f"seeds {seeds[0]} to {seeds[-1]}" for seeds in found])


def play_all(seeds: Iterable[int]) -> None:
    """Fails at the first seed that breaks a rule, with the command that replays it."""
    for seed in seeds:
        forwarding, actions = history(seed)
        try:
            play(actions, forwarding=forwarding)
        except Exception as error:
            short = shortest(actions, lambda tried, forwarding=forwarding: failure_of(tried, forwarding))  # type: ignore[misc]
            told = "".join(f"        Action({action.name!r}, {action.numbers!r}),\n" for action in short)
            raise AssertionError(
                f"seed {seed} breaks a rule: {type(error).__name__}: {error}\n"
                f"Replay it:  ./nodetill test --simulate 1 --seed {seed}\n"
                f"The same rule is broken by these {len(short)} of its {len(actions)} actions:\n"
                f"    play([\n{told}    ], forwarding={forwarding})"
            ) from error


def failure_of(actions: Sequence[Action], forwarding: bool) -> str | None:
    """Where and how a history fails; None when it does not."""
    try:
        play(actions, forwarding=forwarding)
    except Exception as error:  # noqa: BLE001 - see above
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {last.name}, line {last.lineno}"
    return None
