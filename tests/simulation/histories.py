"""One integer, one history: its actions are drawn from the seed before anything happens."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tests.simulation.draws import LARGEST, Action
from tests.simulation.simulation import Simulation

_WEIGHTS = {
    "create": 4,
    "buy": 4,
    "pay": 12,
    "replace": 5,
    "evict": 2,
    "relay": 3,
    "mine": 12,
    "reorganise": 9,
    "rival": 2,
    "extend_rival": 2,
    "wait": 4,
    "node_stops": 1,
    "node_starts": 6,
    "node_lags": 1,
    "node_regresses": 1,
    "node_hears": 2,
    "look": 14,
    "hear": 6,
    "restart": 2,
    "spend": 2,
}
_NUMBERS = {"look": 40}
_USUALLY = {"create": ("create", "pay"), "buy": ("pay", "mine", "mine", "mine", "look", "look")}
_SEEN = {"pay", "replace", "mine", "reorganise", "extend_rival", "relay"}
"""What the till usually hears of before the next thing happens."""


def history(seed: int) -> tuple[bool, list[Action]]:
    """Whether it is in forwarding mode, and what happens."""
    random = Random(seed)
    names = ["create"]
    for name in random.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=random.randint(10, 35)):
        names += _USUALLY.get(name, (name,))
        if name in _SEEN and random.random() < 0.6:
            names.append(random.choice(("look", "look", "hear")))
    actions = [
        Action(name, tuple(int(random.random() * LARGEST) for _ in range(_NUMBERS.get(name, 14)))) for name in names
    ]
    return random.random() < 0.25, actions


def play(actions: Sequence[Action], *, forwarding: bool = False) -> None:
    """Let it happen, check after each step, heal, and hold it against the oracle."""
    simulation = Simulation(forwarding=forwarding)
    try:
        for action in actions:
            simulation.do(action)
        simulation.finish()
    finally:
        simulation.close()


def play_seed(seed: int) -> None:
    forwarding, actions = history(seed)
    play(actions, forwarding=forwarding)
