"""The price window: what it closes on, and what comes too late."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from regtest.conftest import TWO_COMBINATIONS, MakeTill
from regtest.expected_payment import moment
from regtest.node import RegtestNode
from regtest.service import RunningService

WINDOW_SECONDS = 2.4


def service(node: RegtestNode, make_till: MakeTill, kind: tuple[str, str], late: str) -> RunningService:
    return make_till(node, *kind, settings={"payments": {"timeout_minutes": 0.04, "late": late}})


@pytest.fixture(scope="module", params=TWO_COMBINATIONS[:1], ids="-".join)
def till(request: pytest.FixtureRequest, node: RegtestNode, make_till: MakeTill) -> Iterator[RunningService]:
    """Credits what comes late."""
    made = service(node, make_till, request.param, "credit")
    yield made
    made.stop()


@pytest.fixture(scope="module", params=TWO_COMBINATIONS[1:], ids="-".join)
def strict_till(request: pytest.FixtureRequest, node: RegtestNode, make_till: MakeTill) -> Iterator[RunningService]:
    """Holds what comes late."""
    made = service(node, make_till, request.param, "hold")
    yield made
    made.stop()


def over(payment: dict[str, Any], *, also_for_the_node: bool = False) -> None:
    """Wait until the window of a payment is over. The node's clock has no parts of a second, so it lags."""
    end = moment(payment["expires_at"]) + timedelta(seconds=1.1 if also_for_the_node else 0.1)
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()))


def test_a_window_that_nobody_pays_in(till: RunningService) -> None:
    payment = till.create("small", "absent")
    assert moment(payment["expires_at"]) - moment(payment["created_at"]) == timedelta(seconds=WINDOW_SECONDS)
    shown = till.wait_payment(payment["payment_id"], "expired")
    assert datetime.now(UTC) >= moment(payment["expires_at"])
    assert {**payment, "status": "expired"} == shown
    assert till.events_of(payment["payment_id"]) == ["payment.created", "payment.expired"]
    assert till.ask("POST", f"confirm/{payment['payment_id']}").status == 409


def test_seen_in_time_is_paid_in_time(till: RunningService, node: RegtestNode) -> None:
    payment = till.create("small", "just-in-time")
    node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], "confirming")
    over(payment)
    waiting = till.look(payment["payment_id"])
    assert (waiting["status"], waiting["flags"]) == ("confirming", [])
    node.mine(3)
    done = till.wait_payment(payment["payment_id"], "forwarded")
    assert (done["flags"], done["credited"]) == ([], 400)
    assert "payment.expired" not in till.events_of(payment["payment_id"])


def test_late_and_credited(till: RunningService, node: RegtestNode) -> None:
    payment = till.create("small", "latecomer")
    over(payment, also_for_the_node=True)
    till.wait_payment(payment["payment_id"], "expired")
    node.pay(payment["address"], 40_000)
    seen = till.wait_payment(payment["payment_id"], "confirming")
    assert seen["flags"] == ["late"]
    node.mine(3)
    done = till.wait_payment(payment["payment_id"], "forwarded")
    assert (done["flags"], done["credited"], done["failure_reason"]) == (["late"], 400, None)
    assert till.entries("latecomer") == [("payment", 400)]
    events = till.events_of(payment["payment_id"])
    assert events[:5] == [
        "payment.created",
        "payment.expired",
        "payment.detected",
        "payment.late",
        "payment.confirming",
    ]


def test_a_part_in_time_and_the_rest_too_late(till: RunningService, node: RegtestNode) -> None:
    payment = till.create("small", "half-late")
    node.pay(payment["address"], 10_000)
    till.wait_payment(payment["payment_id"], lambda p: p["received_sat"] == 10_000)
    expired = till.wait_payment(payment["payment_id"], "expired")
    assert (expired["flags"], expired["remaining_sat"]) == (["underpaid"], 30_000)
    over(payment, also_for_the_node=True)
    node.pay(payment["address"], 30_000)
    assert till.wait_payment(payment["payment_id"], "confirming")["flags"] == ["late"]
    node.mine(3)
    assert till.wait_payment(payment["payment_id"], "forwarded")["credited"] == 400
    assert till.entries("half-late") == [("payment", 400)]


def test_a_part_alone_stays_expired_and_is_not_lost(till: RunningService, node: RegtestNode) -> None:
    payment = till.create("small", "half")
    node.pay(payment["address"], 20_000)
    till.wait_payment(payment["payment_id"], "expired")
    node.mine(3)
    shown = till.wait_payment(payment["payment_id"], lambda p: p["confirmed_sat"] == 20_000)
    assert (shown["status"], shown["flags"], shown["credited"]) == ("expired", ["underpaid"], 0)
    assert till.entries("half") == []
    (paid,) = shown["transactions"]
    if till.mode == "watch-only":
        assert (paid["txid"], paid["vout"]) in till.owner.received()
    else:
        till.wait("the part on its way to the owner", lambda: till.payment(payment["payment_id"])["forwarding_tx_hash"])


def test_an_old_address_while_a_new_payment_is_open(till: RunningService, node: RegtestNode) -> None:
    old = till.create("small", "two-tabs")
    over(old, also_for_the_node=True)
    till.wait_payment(old["payment_id"], "expired")
    new = till.create("small", "two-tabs")
    node.pay(old["address"], 40_000)
    assert till.wait_payment(old["payment_id"], "confirming")["flags"] == ["late"]
    assert till.payment(new["payment_id"])["received_sat"] == 0
    node.mine(3)
    till.wait_payment(old["payment_id"], "forwarded")
    till.wait_payment(new["payment_id"], "expired")
    assert till.entries("two-tabs") == [("payment", 400)]


def test_paid_in_time_while_the_service_was_down(till: RunningService, node: RegtestNode) -> None:
    payment = till.create("small", "unseen")
    till.kill()
    node.pay(payment["address"], 40_000)
    over(payment)
    till.start()
    shown = till.wait_payment(payment["payment_id"], "confirming")
    assert shown["flags"] == [], "the node's own time of entry counts"
    assert "payment.expired" not in till.events_of(payment["payment_id"])
    node.mine(3)
    assert till.wait_payment(payment["payment_id"], "forwarded")["credited"] == 400


def test_late_and_held(strict_till: RunningService, node: RegtestNode) -> None:
    till = strict_till
    payment = till.create("small", "held")
    over(payment, also_for_the_node=True)
    till.wait_payment(payment["payment_id"], "expired")
    node.pay(payment["address"], 40_000)
    assert till.wait_payment(payment["payment_id"], "confirming")["flags"] == ["late"]
    node.mine(3)
    shown = till.wait_payment(payment["payment_id"], "failed")
    assert (shown["failure_reason"], shown["credited"], shown["flags"]) == ("late", 0, ["late"])
    assert (shown["confirmed_at"], shown["completed_at"], shown["confirmed_sat"]) == (None, None, 40_000)
    assert till.look(payment["payment_id"])["status"] == "failed"
    assert (till.entries("held"), till.balance("held")) == ([], 0)
    assert till.events_of(payment["payment_id"])[-1] == "payment.failed"
    assert till.ask("POST", f"confirm/{payment['payment_id']}").status == 409


def test_a_strict_till_credits_what_is_in_time(strict_till: RunningService, node: RegtestNode) -> None:
    payment = strict_till.create("small", "punctual")
    node.pay(payment["address"], 40_000)
    strict_till.wait_payment(payment["payment_id"], "confirming")
    over(payment)
    node.mine(3)
    done = strict_till.wait_payment(payment["payment_id"], "forwarded")
    assert (done["flags"], done["credited"]) == ([], 400)
