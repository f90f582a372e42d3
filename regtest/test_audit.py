"""`nodetill audit` beside the real service: silent about a busy history, and about nothing that was changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from regtest.command_line import Ended, main
from regtest.conftest import TWO_COMBINATIONS, MakeTill
from regtest.crafted_tx import double_spend
from regtest.node import RegtestNode
from regtest.raw_database import tamper
from regtest.service import RunningService
from regtest.settings_file import toml_text


@pytest.fixture(scope="module", params=TWO_COMBINATIONS, ids="-".join)
def till(request: pytest.FixtureRequest, own_node: RegtestNode, make_till: MakeTill) -> Iterator[RunningService]:
    """A shop with a busy history: paid, in parts, too much, replaced, double-spent, undone, mined again, forwarded."""
    service = make_till(own_node, *request.param)
    busy(service)
    yield service
    service.stop()


def busy(till: RunningService) -> None:
    node = till.node
    plain, parts, over = (till.create("small", user) for user in ("plain", "parts", "over"))
    node.pay(plain["address"], 40_000)
    node.pay(parts["address"], 15_000)
    node.pay(over["address"], 57_123)
    bumped = node.pay(parts["address"], 25_000)
    till.wait_payment(parts["payment_id"], "confirming")
    node.bump(bumped)
    node.mine(3)
    for payment in (plain, parts, over):
        till.wait_payment(payment["payment_id"], "forwarded")
    till.post("users/plain/credits/spend", {"amount": 100, "reference": "order-1"})
    robbed, moved, waiting, low = (till.create("small", user) for user in ("robbed", "moved", "waiting", "low"))
    stolen = node.pay(robbed["address"], 40_000)
    node.mine(3)
    till.wait_payment(robbed["payment_id"], "forwarded")
    node.disconnect_blocks(3)
    node.mine_with([double_spend(node, stolen)])
    node.mine_empty(4)
    till.wait_payment(robbed["payment_id"], "failed")
    node.pay(moved["address"], 40_000)
    node.mine(3)
    till.wait_payment(moved["payment_id"], "forwarded")
    node.reorg(3, longer_by=2, with_mempool=True)
    till.wait_payment(moved["payment_id"], lambda p: p["flags"] == ["reorged"] and p["status"] == "forwarded")
    node.pay(low["address"], 10_000)
    node.mine(1)
    node.pay(waiting["address"], 40_000)
    till.wait_payment(waiting["payment_id"], "confirming")
    till.wait_level()


def audit(till: RunningService, *words: str) -> Ended:
    return main("audit", "--config", str(till.config), *words)


def told(till: RunningService, *words: str) -> dict[str, Any]:
    """The JSON of an audit."""
    done = audit(till, "--json", *words)
    assert "Traceback" not in done.err
    answer: dict[str, Any] = json.loads(done.out)
    assert done.code == (0 if answer["ok"] else 1)
    return answer


def test_a_busy_history_agrees(till: RunningService) -> None:
    for words in ([], ["--full"]):
        done = audit(till, *words)
        assert done.code == 0, done.out + done.err
        assert done.out.startswith("No difference: blocks ")
    answer = told(till, "--full")
    assert answer.keys() == {
        "ok", "full", "from_height", "to_height", "node_height", "blocks", "transfers", "payments", "ledger_hash",
        "difference_sat", "differences", "notes",
    }  # fmt: skip
    assert (answer["ok"], answer["full"], answer["differences"], answer["difference_sat"]) == (True, True, [], 0)
    assert answer["to_height"] == answer["node_height"] == till.node.height
    assert answer["blocks"] == answer["to_height"] - answer["from_height"] + 1 > 10
    assert answer["payments"] == 7
    assert answer["transfers"] >= 8
    assert len(answer["ledger_hash"]) == 64


def test_blocks_that_come_meanwhile_are_no_difference(till: RunningService) -> None:
    for blocks in (1, 2):
        till.node.mine(blocks)
        assert told(till)["differences"] == []
    till.node.reorg(2, longer_by=1)
    assert told(till, "--full")["differences"] == []


FIRST = "(SELECT min(id) FROM transfer WHERE kind = 'deposit')"
COIN = (
    f"txid = (SELECT txid FROM transfer WHERE id = {FIRST}) AND vout = (SELECT vout FROM transfer WHERE id = {FIRST})"
)
CHANGES = {
    "hash-chain": (
        "(deposit, 400 credits, user plain) does not follow from its content and the transfer before it",
        f"UPDATE transfer SET created_at = created_at + 1 WHERE id = {FIRST}",
        f"UPDATE transfer SET created_at = created_at - 1 WHERE id = {FIRST}",
    ),
    "balance": (
        "The credit account user plain shows 1300, its entries add up to 300.",
        "UPDATE account SET balance = balance + 1000 WHERE owner = 'plain'",
        "UPDATE account SET balance = balance - 1000 WHERE owner = 'plain'",
    ),
    "output": (
        "is recorded with 40007 sat, in the chain it has 40000 sat",
        f"UPDATE output SET value_sat = value_sat + 7 WHERE {COIN}",
        f"UPDATE output SET value_sat = value_sat - 7 WHERE {COIN}",
    ),
    "state": (
        "shows status failed; by its facts it is pending.",
        "UPDATE payment SET status = 'failed' WHERE user_id = 'low'",
        "UPDATE payment SET status = 'pending' WHERE user_id = 'low'",
    ),
    "address": (
        "shows address bcrt1qthief",
        "UPDATE payment SET address = 'bcrt1qthief' || address WHERE user_id = 'low'",
        "UPDATE payment SET address = substr(address, 12) WHERE user_id = 'low'",
    ),
    "block": (
        "of the node's chain was never processed",
        "UPDATE block SET height = -height WHERE height = (SELECT cursor_height - 2 FROM till) AND active = 1",
        "UPDATE block SET height = -height WHERE height < 0",
    ),
}
"""By the check that notices: words of its sentence, what is changed, and how to mend it."""


@pytest.mark.parametrize("check", CHANGES)
def test_what_was_changed_is_named(till: RunningService, check: str) -> None:
    sentence, change, back = CHANGES[check]
    tamper(till.database_url, change)
    try:
        found = told(till)["differences"]
    finally:
        tamper(till.database_url, back)
    assert all(one.keys() == {"check", "about", "detail", "difference_sat"} for one in found)
    assert sentence in " ".join(one["detail"] for one in found if one["check"] == check), found


def test_a_broken_ledger_stops_credits_until_it_is_whole(till: RunningService) -> None:
    sentence, change, back = CHANGES["hash-chain"]
    till.stop()
    said_before = till.log_says("Audit: Transfer")  # its own audit may have come upon a change of another test
    tamper(till.database_url, change)
    till.start(ready=False)
    till.wait("the verdict", lambda: "ledger" in till.not_ready())
    payment = till.create("small", "patient")
    till.node.pay(payment["address"], 40_000)
    till.node.mine(3)
    shown = till.wait_payment(payment["payment_id"], lambda p: p["confirmations"] == 3)
    assert (shown["status"], shown["credited"]) == ("confirming", 0)
    assert till.figures()["nodetill_credits_frozen"] == till.figures()["nodetill_ledger_differences"] == 1
    assert till.log_says("Audit: Transfer") == said_before + 1
    done = audit(till)
    assert done.code == 1
    assert sentence in next(line for line in done.out.splitlines() if line.startswith("hash-chain: "))
    tamper(till.database_url, back)
    till.stop()
    till.start()
    assert till.wait_payment(payment["payment_id"], "forwarded")["credited"] == 400


def test_a_difference_is_told_and_credits_go_on(till: RunningService) -> None:
    _, change, back = CHANGES["output"]
    till.stop()
    tamper(till.database_url, change)
    till.start(ready=False)
    till.wait("the first audit", lambda: till.not_ready() == ["ledger-difference"])
    shown = till.figures()
    assert shown["nodetill_ledger_difference_sat"] == 7
    assert shown["nodetill_credits_frozen"] == 0
    payment = till.create("small", "unconcerned")
    till.node.pay(payment["address"], 40_000)
    till.node.mine(3)
    assert till.wait_payment(payment["payment_id"], "forwarded")["credited"] == 400
    # Who sees a difference has not proved to have missed nothing.
    assert till.figures()["nodetill_seconds_since_complete"] > shown["nodetill_seconds_since_complete"]
    tamper(till.database_url, back)
    till.stop()
    till.start()
    till.wait("an audit", lambda: "nodetill_seconds_since_audit" in till.figures())
    assert till.figures()["nodetill_ledger_difference_sat"] == 0


def test_without_the_service_the_last_word_counts(till: RunningService) -> None:
    till.stop()
    assert told(till, "--full")["differences"] == []
    till.node.mine(2)
    behind = told(till)
    assert (behind["ok"], behind["node_height"] - behind["to_height"]) == (True, 2)
    till.start()


def test_what_cannot_be_asked_is_one_line(till: RunningService) -> None:
    wrong = {**till.settings, "node": {**till.settings["node"], "rpc_url": "http://127.0.0.1:1"}}
    config = till.folder / "wrong.toml"
    config.touch(mode=0o600)
    config.write_text(toml_text(wrong), encoding="utf-8")
    main("audit", "--config", str(config)).refused("http://127.0.0.1:1")
    nowhere = {**till.settings, "database": {"url": f"sqlite:///{till.folder}/nowhere.db"}}
    config.write_text(toml_text(nowhere), encoding="utf-8")
    main("audit", "--config", str(config)).refused("nowhere.db does not exist")
    assert not (till.folder / "nowhere.db").exists()
