"""The operator decides beside the running service: what he says reaches it without a restart, and counts once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regtest.command_line import Ended, main
from regtest.conftest import COMBINATIONS, MakeTill
from regtest.node import RegtestNode
from regtest.service import RunningService
from regtest.test_record import same
from regtest.test_time import over

STRICT = {"payments": {"timeout_minutes": 0.04, "late": "hold"}}
TXID = "b" * 64


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-".join)
def till(request: pytest.FixtureRequest, node: RegtestNode, make_till: MakeTill) -> Iterator[RunningService]:
    made = make_till(node, *request.param, settings=STRICT)
    yield made
    made.stop()


def command(till: RunningService, *words: str) -> Ended:
    return main(*words, "--config", str(till.config))


def resolve(till: RunningService, payment: dict[str, Any], *words: str) -> dict[str, Any]:
    done = command(till, "payments", "resolve", payment["payment_id"], "--reason", "by mail", "--json", *words)
    assert (done.code, done.err) == (0, "")
    shown: dict[str, Any] = json.loads(done.out)
    return shown


def waiting(till: RunningService) -> list[str]:
    shown = json.loads(command(till, "payments", "list", "--attention", "--json").out)
    return [one["payment_id"] for one in shown["attention"]]


def held(till: RunningService, node: RegtestNode, user: str) -> dict[str, Any]:
    """A payment that was paid in full after its window."""
    payment = till.create("small", user)
    over(payment, also_for_the_node=True)
    node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], lambda p: p["received_sat"] == 40_000)
    node.mine(3)
    return till.wait_payment(payment["payment_id"], "failed")


def audited(till: RunningService) -> None:
    till.wait_level()
    done = command(till, "audit", "--full")
    assert done.code == 0, done.out + done.err


def test_held_and_credited_once(till: RunningService, node: RegtestNode) -> None:
    payment = held(till, node, "credited")
    number = payment["payment_id"]
    assert waiting(till) == [number]
    assert not resolve(till, payment, "--action", "credit")["repeated"]
    done = till.wait_payment(number, lambda p: p["credited"] == 400)
    assert done["failure_reason"] is None
    assert resolve(till, payment, "--action", "credit")["repeated"]
    command(till, "payments", "resolve", number, "--action", "ignore", "--reason", "no").refused("never takes credits")
    node.mine(2)
    till.wait_level()
    assert till.entries("credited") == [("payment", 400)]
    statement = json.loads(command(till, "credits", "show", "credited", "--json").out)
    assert (statement["balance"], len(statement["entries"])) == (400, 1)
    told = till.events_of(number)
    assert told.count("payment.resolved") == told.count("payment.confirmed") == 1
    assert told.index("payment.failed") < told.index("payment.resolved") < told.index("payment.confirmed")
    assert waiting(till) == []
    audited(till)


def test_held_and_refunded(till: RunningService, node: RegtestNode) -> None:
    payment = held(till, node, "refunded")
    number = payment["payment_id"]
    said = resolve(till, payment, "--action", "refunded", "--txid", TXID)
    assert said["payment"]["status"] == "expired"
    assert waiting(till) == []
    shown = till.payment(number)
    assert [(c["decision"], c["refund_txid"]) for c in shown["transactions"]] == [("refunded", TXID)]
    assert (shown["received_sat"], shown["remaining_sat"], shown["flags"]) == (40_000, 40_000, ["late"])
    node.disconnect_blocks(3)
    node.mine(5)
    till.wait_payment(number, lambda p: p["transactions"][0]["confirmations"] >= 3)
    till.wait_level()
    assert till.entries("refunded") == []
    assert till.payment(number)["status"] == "expired"
    assert "payment.resolved" in till.events_of(number)
    command(till, "payments", "resolve", number, "--action", "credit", "--reason", "no").refused("for good")
    audited(till)


def test_allowed_before_it_is_deep(till: RunningService, node: RegtestNode) -> None:
    payment = till.create("small", "early")
    over(payment, also_for_the_node=True)
    node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], "confirming")
    resolve(till, payment, "--action", "credit")
    node.mine(2)
    till.wait_level()
    assert till.payment(payment["payment_id"])["credited"] == 0
    node.mine(1)
    till.wait_payment(payment["payment_id"], lambda p: p["credited"] == 400)
    audited(till)


def test_wrong_usage_is_one_line(till: RunningService) -> None:
    payment = till.create("small", "nobody")
    command(till, "payments", "show", "nobody").refused("no payment has the id")
    command(till, "payments", "resolve", payment["payment_id"], "--action", "credit").refused("--reason")
    command(till, "payments", "resolve", payment["payment_id"], "--action", "ignore", "--reason", "x").refused(
        "no coins"
    )


def test_a_decision_is_replayed(own_node: RegtestNode, make_till: MakeTill, tmp_path: Path) -> None:
    record = tmp_path / "till.record"
    till = make_till(own_node, "sqlite", "watch-only", record=record, settings=STRICT)
    first, second = held(till, own_node, "one"), held(till, own_node, "two")
    resolve(till, first, "--action", "credit")
    resolve(till, second, "--action", "refunded", "--txid", TXID)
    till.wait_payment(first["payment_id"], lambda p: p["credited"] == 400)
    till.wait_level()
    till.stop()
    assert '"resolved"' in record.read_text("utf-8")
    same(till, record)
