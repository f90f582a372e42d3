"""The same world, driven by Hypothesis: what it finds it cuts short by itself, and remembers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.simulation.draws import LARGEST, Action
from tests.simulation.simulation import OURS, WORLDLY, Simulation


def numbers(most: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(0, LARGEST), max_size=most).map(tuple)


def does(name: str) -> Callable[..., None]:
    """One rule: the action of that name."""

    def happen(self: Any, numbers: tuple[int, ...]) -> None:
        self.simulation.do(Action(name, numbers))

    happen.__name__ = name
    return happen


class AnyWorld(RuleBasedStateMachine):
    """Each action of the simulation is a rule. The invariants are checked after each, the oracle at the end."""

    simulation: Simulation

    @initialize(forwarding=st.booleans(), numbers=numbers(8))
    def begin(self, forwarding: bool, numbers: tuple[int, ...]) -> None:
        self.simulation = Simulation(forwarding=forwarding)
        self.simulation.do(Action("create", numbers))

    @rule(depth=st.integers(0, LARGEST))
    def buy(self, depth: int) -> None:
        """The usual way: paid in full, mined, deep enough, credited."""
        for action in (Action("pay"), Action("mine"), Action("mine", (depth, 1)), Action("look")):
            self.simulation.do(action)

    def teardown(self) -> None:
        if hasattr(self, "simulation"):
            try:
                self.simulation.finish()
            finally:
                self.simulation.close()


for action_name in (*WORLDLY, *OURS):
    most = 30 if action_name == "look" else 8
    setattr(AnyWorld, action_name, rule(numbers=numbers(most))(does(action_name)))

TestAnyWorld = AnyWorld.TestCase
TestAnyWorld.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyWorld = pytest.mark.timeout(400)(TestAnyWorld)
