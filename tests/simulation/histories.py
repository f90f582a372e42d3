"""One integer, one history: its climate and its actions are drawn from the seed before anything happens."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from random import Random

from tests.simulation.draws import LARGEST, Action
from tests.simulation.simulation import Simulation

_WEIGHTS = {
    "create": 4,
    "buy": 4,
    "pay": 12,
    "replace": 5,
    "bounce": 2,
    "evict": 2,
    "relay": 3,
    "mine": 12,
    "reorganise": 7,
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
    "resolve": 3,
    "decided": 2,
}
_NUMBERS = {"look": 40}
_USUALLY = {
    "create": ("create", "pay"),
    "buy": ("pay", "mine", "mine", "mine", "look", "look"),
    "evict": ("evict", "look", "relay"),
    "bounce": ("look", "replace", "hear", "relay", "look"),
    "decided": ("create", "wait", "pay", "look", "resolve", "mine", "mine", "look", "resolve", "look"),
    "node_stops": ("node_stops", "look", "node_starts", "look", "node_starts", "look"),
    "node_regresses": ("node_regresses", "look", "node_starts", "look", "node_hears", "look"),
}
_SEEN = {"pay", "replace", "mine", "reorganise", "extend_rival", "evict", "relay"}
"""What the till usually hears of before the next thing happens."""


class Climate(IntEnum):
    """What a history has most of. Chosen by the seed's remainder."""

    BUSY_SHOP = 0
    FORWARDING = 1
    REORGANISATIONS = 2
    BAD_NODE = 3


_MORE: dict[Climate, dict[str, int]] = {
    Climate.BUSY_SHOP: {"create": 8, "pay": 24, "replace": 9, "wait": 8},
    Climate.FORWARDING: {"buy": 10},
    Climate.REORGANISATIONS: {"buy": 9, "reorganise": 24, "rival": 6, "extend_rival": 8, "evict": 6},
    Climate.BAD_NODE: {"buy": 7, "node_stops": 4, "node_lags": 3, "node_regresses": 5, "node_hears": 6, "look": 24},
}


def history(seed: int) -> tuple[bool, list[Action]]:
    """Whether it is in forwarding mode, and what happens."""
    random, climate = Random(seed), Climate(seed % len(Climate))
    weights = _WEIGHTS | _MORE[climate]
    names = ["create"]
    for name in random.choices(list(weights), list(weights.values()), k=random.randint(10, 35)):
        names += _USUALLY.get(name, (name,))
        if name in _SEEN and random.random() < 0.6:
            names.append(random.choice(("look", "look", "hear")))
    actions = [
        Action(name, tuple(int(random.random() * LARGEST) for _ in range(_NUMBERS.get(name, 14)))) for name in names
    ]
    return climate is Climate.FORWARDING or (climate is not Climate.BUSY_SHOP and random.random() < 0.25), actions


def play(actions: Sequence[Action], *, forwarding: bool = False) -> Simulation:
    """Let it happen, check after each step, heal, and hold it against the oracle. It is closed when it comes back."""
    simulation = Simulation(forwarding=forwarding)
    try:
        for action in actions:
            simulation.do(action)
        simulation.finish()
    finally:
        simulation.close()
    return simulation
