"""The machine's clock is set, a day ahead and back, while people pay: nothing is lost, credited twice or taken back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from regtest.conftest import TWO_COMBINATIONS, MakeUrl
from regtest.expected_payment import moment
from regtest.node import RegtestNode
from regtest.shifted_service import ShiftedService
from regtest.small_package import credited_without_a_stir, seen

DAY = 86_400
N = 3


@pytest.fixture(params=TWO_COMBINATIONS, ids="-".join)
def till(
    request: pytest.FixtureRequest, own_node: RegtestNode, make_database: MakeUrl, tmp_path: Path
) -> Iterator[ShiftedService]:
    engine, mode = request.param
    with ShiftedService(own_node, make_database(engine), mode=mode, folder=tmp_path) as service:
        yield service


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["ahead", "back"])
def test_the_clock_is_set(till: ShiftedService, jump: int) -> None:
    before = seen(till, "before")
    unpaid = till.create("small", "unpaid")["payment_id"]
    till.shift(jump)
    during = seen(till, "during")
    moved = moment(till.payment(during)["created_at"]) - moment(till.payment(before)["created_at"])
    assert timedelta(seconds=jump) <= moved < timedelta(seconds=jump + 3_600)
    till.node.mine(N)
    credited_without_a_stir(till, before, "before")
    credited_without_a_stir(till, during, "during")
    # A window closes by the clock of the machine; it has no other. What comes later is credited all the same.
    expected = "expired" if jump > 0 else "pending"
    till.wait_payment(unpaid, expected)

    till.shift(0)
    after = seen(till, "after")
    till.node.mine(N)
    credited_without_a_stir(till, after, "after")
    till.wait_level()
    assert till.payment(unpaid)["status"] == expected
    for payment_id, user_id in ((before, "before"), (during, "during")):
        credited_without_a_stir(till, payment_id, user_id)
    till.node.pay(till.payment(unpaid)["address"], 40_000)
    till.node.mine(N)
    till.wait_payment(unpaid, "forwarded")
    assert till.entries("unpaid") == [("payment", 400)]


def test_started_again_under_another_clock(till: ShiftedService) -> None:
    """A machine without a battery wakes in the past, and hears of the time when it has a network."""
    payment_id = seen(till, "ann")
    till.stop()
    till.shift(-DAY)
    till.node.mine(N)
    till.start()
    credited_without_a_stir(till, payment_id, "ann")
    till.shift(0)
    till.wait_level()
    till.restart()
    credited_without_a_stir(till, payment_id, "ann")
