"""Histories in which a rule was broken once: what was wrong is mended, and they are played in each run."""

from __future__ import annotations

import pytest

from tests.simulation.draws import Action
from tests.simulation.histories import play

HELD_AND_GONE = [
    Action("create", (0, 0, 0, 0, 8183, 0, 4748)),
    Action("wait", (3783,)),
    Action("mine"),
    Action("rival"),
    Action("pay", (9403,)),
    Action("mine", (478,)),
    Action("look"),
    Action("reorganise", (4597, 7528)),
]
"""Coins that were held as late, and disappear: their reversals gave credits and took them again."""

HEARD_FROM_A_NODE_THAT_WENT_BACK = [
    Action("create"),
    Action("pay"),
    Action("replace"),
    Action("mine"),
    Action("look", (9922, 0, 2066, 1298, 0, 0, 2896)),
    Action("look"),
    Action("replace"),
    Action("hear"),
]
"""A rival of what is mined in our chain, in the mempool of a node that forgot the block: recorded, and later dropped
instead of replaced."""

LEFT_A_BRANCH_BEFORE_IT_WENT_BACK = [
    Action("create"),
    Action("mine"),
    Action("pay"),
    Action("mine"),
    Action("mine", (1323,)),
    Action("look"),
    Action("reorganise", (1439, 0, 0, 0, 2990, 3219)),
    Action("node_regresses"),
    Action("node_starts"),
    Action("look"),
]
"""The rule was wrong: it let a block that nobody could know of yet vouch for what the node had left."""


@pytest.mark.parametrize("forwarding", [False, True], ids=["watch-only", "forwarding"])
@pytest.mark.parametrize(
    "actions", [HELD_AND_GONE, HEARD_FROM_A_NODE_THAT_WENT_BACK, LEFT_A_BRANCH_BEFORE_IT_WENT_BACK]
)
def test_found(actions: list[Action], forwarding: bool) -> None:
    play(actions, forwarding=forwarding)
