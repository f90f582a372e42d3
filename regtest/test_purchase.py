"""One purchase, step by step: every field, every entry, every event, every log line."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from regtest.conftest import COMBINATIONS, MakeTill
from regtest.expected_payment import A_MOMENT, moment, new_payment, transaction, wrong_fields
from regtest.node import RegtestNode
from regtest.service import RunningService
from regtest.service_client import BASE
from tests.waiting import wait_for

SMALL = {"id": "small", "name": "Small", "credits": 400, "price_sat": 40_000, "price_btc": "0.00040000"}
EVENTS = [
    "payment.created",
    "payment.detected",
    *["payment.confirming"] * 4,  # seen, then each of three depths
    "credits.added",
    "payment.confirmed",
    "payment.forwarded",
]


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-".join)
def till(request: pytest.FixtureRequest, node: RegtestNode, make_till: MakeTill) -> Iterator[RunningService]:
    service = make_till(node, *request.param)
    yield service
    service.stop()


def check(shown: dict[str, Any], expected: dict[str, Any]) -> None:
    assert wrong_fields(shown, expected) == []


def test_every_field_at_every_step(till: RunningService, node: RegtestNode) -> None:
    metadata = {"order": "A-17", "nested": {"list": [1, "ü", None]}}
    created = till.create("small", "walker", metadata=metadata)
    payment_id = created["payment_id"]
    due = new_payment(created, url=till.url, package=SMALL, user_id="walker", metadata=metadata)
    check(created, due)
    check(till.payment(payment_id), due)
    assert re.fullmatch("[0-9a-f]{32}", payment_id)
    assert moment(created["expires_at"]) - moment(created["created_at"]) == timedelta(minutes=60)
    assert till.owner.owns(created["address"]) == (till.mode == "watch-only")

    txid = node.pay(created["address"], 40_000)
    vout = next(o["n"] for o in _outputs(node, txid) if o["scriptPubKey"]["address"] == created["address"])
    due |= {"status": "confirming", "received_sat": 40_000, "remaining_sat": 0, "tx_hash": txid}
    due |= {"transactions": [transaction(txid, vout, 40_000)], "detected_at": A_MOMENT}
    check(till.wait_payment(payment_id, "confirming"), due)

    for depth in (1, 2):
        node.mine(1)
        height = node.height - depth + 1
        due |= {"confirmations": depth, "transactions": [transaction(txid, vout, 40_000, depth, height)]}
        check(wait_depth(till, payment_id, depth), due)
        assert till.balance("walker") == 0
        assert till.ask("POST", f"confirm/{payment_id}").status == 409

    node.mine(1)
    due |= {"confirmations": 3, "transactions": [transaction(txid, vout, 40_000, 3, height := node.height - 2)]}
    due |= {"confirmed_sat": 40_000, "credited": 400, "confirmed_at": A_MOMENT}
    done = till.wait_payment(payment_id, "forwarded")
    forwarded = due | {"status": "forwarded", "completed_at": A_MOMENT}
    if till.mode == "forwarding":
        forwarded["forwarding_tx_hash"] = done["forwarding_tx_hash"]
        assert done["forwarding_tx_hash"] in node.mempool()
        # What a shop was told in between: credited first, on its way later.
        told = next(e["data"] for e in till.all_events() if e["type"] == "payment.confirmed")
        check(told, due | {"status": "confirmed"})
    check(done, forwarded)
    times = [done[name] for name in ("created_at", "detected_at", "confirmed_at", "completed_at")]
    assert times == sorted(times)
    assert till.events_of(payment_id) == EVENTS

    node.mine(1)  # a depth beyond N is shown, and changes nothing else
    entry = transaction(txid, vout, 40_000, 4, height)
    till.wait_level()
    check(till.look(payment_id), done | {"confirmations": 4, "transactions": [entry]})
    assert till.events_of(payment_id) == EVENTS

    message = till.post(f"confirm/{payment_id}")
    assert message["message"] == "Already processed"
    assert till.entries("walker") == [("payment", 400)]


def wait_depth(till: RunningService, payment_id: str, depth: int) -> dict[str, Any]:
    return till.wait_payment(payment_id, lambda p: p["confirmations"] == depth)


def _outputs(node: RegtestNode, txid: str) -> list[dict[str, Any]]:
    return list(node.rpc("getrawtransaction", txid, 1)["vout"])


def test_the_coins_reach_the_owner(till: RunningService, node: RegtestNode) -> None:
    payment = bought(till, node, "reacher")
    (paid,) = payment["transactions"]
    if till.mode == "watch-only":
        assert till.owner.received()[paid["txid"], paid["vout"]] == 40_000
        return
    sweep = node.rpc("getrawtransaction", payment["forwarding_tx_hash"], 1)
    (coin,), (out,) = sweep["vin"], sweep["vout"]
    assert (coin["txid"], coin["vout"]) == (paid["txid"], paid["vout"])
    assert out["scriptPubKey"]["address"] == till.forward_to
    left = till.owner.received()[sweep["txid"], 0]
    assert 0 < 40_000 - left < 1_000, "the fee"


def bought(till: RunningService, node: RegtestNode, user_id: str) -> dict[str, Any]:
    payment = till.create("small", user_id)
    node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], "confirming")
    node.mine(3)
    return till.wait_payment(payment["payment_id"], "forwarded")


def test_the_statement_and_spending(till: RunningService, node: RegtestNode) -> None:
    payment = bought(till, node, "spender")
    spent = till.post("users/spender/credits/spend", {"amount": 150, "reference": "order-1"})
    again = till.post("users/spender/credits/spend", {"amount": 150, "reference": "order-1"})
    assert (spent["balance"], again["balance"]) == (250, 250)
    too_much = till.ask("POST", "users/spender/credits/spend", {"amount": 251, "reference": "order-2"})
    assert (too_much.status, too_much.json()["code"]) == (409, "insufficient-credits")
    shown = till.get("users/spender/credits")
    entries = [
        {
            "amount": -150,
            "kind": "spend",
            "payment_id": None,
            "reference": "order-1",
            "balance_after": 250,
            "created_at": A_MOMENT,
        },
        {
            "amount": 400,
            "kind": "payment",
            "payment_id": payment["payment_id"],
            "reference": None,
            "balance_after": 400,
            "created_at": A_MOMENT,
        },
    ]
    check(shown, {"user_id": "spender", "balance": 250, "entries": entries, "next_cursor": None})
    assert all(isinstance(entry["id"], str) and entry["id"] for entry in shown["entries"])


def test_who_sees_what(till: RunningService) -> None:
    token = till.user_token("owner-of-it")
    payment = till.post("payments", {"package_id": "small", "metadata": {"note": "mine"}}, key=token, status=201)
    payment_id, path = payment["payment_id"], f"payments/{payment['payment_id']}"
    assert payment["user_id"] == "owner-of-it"
    assert till.get(path, key=token) == till.get(path) == payment
    payers = {name: value for name, value in payment.items() if name not in ("user_id", "metadata")}
    assert till.get(path, key=None) == payers
    assert till.post("status", {"payment_id": payment_id}, key=None) == payers
    assert till.get(path, key=till.user_token("somebody else")) == payers
    assert till.get("payments", key=token)["payments"] == [payment]
    assert till.get("payments", key=till.user_token("somebody else"))["payments"] == []
    assert till.ask("POST", f"confirm/{payment_id}", key=till.user_token("somebody else")).status == 404
    assert till.get("packages", key=None)["packages"][0] == SMALL


def test_the_same_key_is_the_same_payment(till: RunningService) -> None:
    body, headers = {"package_id": "small", "user_id": "twice"}, {"Idempotency-Key": "order-77"}
    first = till.ask("POST", "payments", body, headers=headers).expect(201)
    assert till.ask("POST", "payments", body, headers=headers).expect(201) == first
    other = till.ask("POST", "payments", body | {"package_id": "large"}, headers=headers)
    assert other.status == 422
    assert len(till.get("payments?user_id=twice")["payments"]) == 1


def test_log_lines_that_people_grep_for(till: RunningService, node: RegtestNode) -> None:
    payment = bought(till, node, "grepper")
    payment_id = payment["payment_id"]
    lines = [
        "Bitcoin payment background processor started",
        f"Created Bitcoin payment {payment_id} for user grepper: 0.00040000 BTC",
        f"Payment {payment_id} confirmed! Auto-processing...",
        f"Auto-processed payment {payment_id}: Added 400 credits to user grepper",
    ]
    if till.mode == "forwarding":
        sweep = node.rpc("gettransaction", payment["forwarding_tx_hash"], wallet=till.owner.name)
        lines.append(f"Successfully forwarded {sweep['amount']} BTC. TX: {sweep['txid']}")

    def counts() -> list[int]:
        messages = [line["message"] for line in till.log()]
        return [messages.count(line) for line in lines]

    # What is committed can be read before it is told in the log.
    wait_for(lambda: min(counts()) == 1, what="the log lines")
    assert counts() == [1] * len(lines)
    assert [line for line in till.log() if line["level"] not in ("info", "debug")] == []


def test_the_feed_is_in_order_and_whole(till: RunningService, node: RegtestNode) -> None:
    payment = bought(till, node, "follower")
    events = [event for event in till.all_events() if event["data"].get("payment_id") == payment["payment_id"]]
    assert [event["type"] for event in events] == EVENTS
    assert [event["sequence"] for event in events] == list(range(1, len(EVENTS) + 1))
    assert len({event["id"] for event in events}) == len(events)
    for event in events:
        check(event, {"created_at": A_MOMENT})
        assert event["data"]["user_id"] == "follower"
    assert [event["data"]["confirmations"] for event in events[2:6]] == [0, 1, 2, 3]
    assert events[-1]["data"] == payment


def test_the_stream_tells_each_change(till: RunningService, node: RegtestNode) -> None:
    payment = till.create("small", "watcher")
    connection = http.client.HTTPConnection("127.0.0.1", till.port, timeout=20)
    connection.request("GET", f"{BASE}/payments/{payment['payment_id']}/events")
    stream = connection.getresponse()
    assert (stream.status, stream.getheader("Content-Type")) == (200, "text/event-stream")
    states = [(p["status"], p["confirmations"]) for p in _views(stream, 1)]
    node.pay(payment["address"], 40_000)
    states += [(p["status"], p["confirmations"]) for p in _views(stream, 1)]
    node.mine(1)
    states += [(p["status"], p["confirmations"]) for p in _views(stream, 1)]
    assert states == [("pending", 0), ("confirming", 0), ("confirming", 1)]
    connection.close()


def _views(stream: http.client.HTTPResponse, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < count:
        line = stream.readline().decode()
        if line.startswith("data: "):
            found.append(json.loads(line.removeprefix("data: ")))
    return found


def test_credit_does_not_wait_for_forwarding(node: RegtestNode, make_till: MakeTill) -> None:
    till = make_till(node, "sqlite", "forwarding", settings={"forwarding": {"max_feerate": 0.5}})
    payment = till.create("small", "patient")
    node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], "confirming")
    node.mine(3)
    held = till.wait_payment(payment["payment_id"], "confirmed")
    assert (held["credited"], held["forwarding_tx_hash"], held["completed_at"]) == (400, None, None)
    assert till.balance("patient") == 400
    assert till.look(payment["payment_id"])["status"] == "confirmed"
    del till.settings["forwarding"]
    till.write_config()
    till.restart()
    gone = till.wait_payment(payment["payment_id"], "forwarded")
    assert gone["forwarding_tx_hash"] in node.mempool()
    assert gone["confirmed_at"] == held["confirmed_at"]
    assert till.entries("patient") == [("payment", 400)]
    till.stop()
