"""`payments` and `credits` on a till that has sold something: what they print, and what they refuse."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from payments.model import LatePolicy
from storage.database import Database
from tests.commands.conftest import Run
from tests.storage.small_shop import FULL, MINUTE, SmallShop, paying

LATE, PAID, TXID = "a" * 64, "c" * 64, "b" * 64


@pytest.fixture
def ids(run: Run, config: Path) -> tuple[str, str]:
    """Ids of a payment that is held, and of one that is paid."""

    async def sell() -> tuple[str, str]:
        async with Database(f"sqlite:///{config.parent / 'nodetill.db'}") as database:
            shop = await SmallShop(database).open()
            held, paid = await shop.create("[/red]", late=LatePolicy.HOLD), await shop.create("u2")
            await shop.mine(paying(PAID, (paid, FULL)), blocks=3)
            await shop.at_tip()
            shop.now += 120 * MINUTE
            await shop.close_windows()
            await shop.mine(paying(LATE, (held, FULL)), blocks=3)
            await shop.at_tip()
            return held.id, paid.id

    return asyncio.run(sell())


def test_the_lists(run: Run, ids: tuple[str, str]) -> None:
    held, paid = ids
    listed = json.loads(run("payments", "list", "--json").out)["payments"]
    assert [one["payment_id"] for one in listed] == [paid, held]
    for words in (("--status", "failed"), ("--user", "[/red]")):
        (only,) = json.loads(run("payments", "list", *words, "--json").out)["payments"]
        assert only["payment_id"] == held
    assert len(json.loads(run("payments", "list", "--limit", "1", "--json").out)["payments"]) == 1
    done = run("payments", "list")
    assert (done.code, done.err) == (0, "")
    assert all(word in done.out for word in (*ids, "[/red]", "failed (late)", "forwarded"))
    waiting = json.loads(run("payments", "list", "--attention", "--json").out)
    assert (waiting["total"], waiting["attention"][0]["payment_id"]) == (1, held)
    assert (waiting["attention"][0]["kind"], waiting["attention"][0]["amount_sat"]) == ("late", FULL)
    assert "--action credit" in run("payments", "list", "--attention").out


def test_everything_about_one(run: Run, ids: tuple[str, str]) -> None:
    held, paid = ids
    shown = json.loads(run("payments", "show", paid, "--json").out)
    assert (shown["payment_id"], shown["credited"], shown["attention"], shown["decisions"]) == (paid, 400, [], [])
    assert [(entry["kind"], entry["credits"]) for entry in shown["ledger"]] == [("deposit", 400)]
    assert shown["events"][0]["type"] == "payment.created"
    done = run("payments", "show", held)
    assert (done.code, done.err) == (0, "")
    assert all(word in done.out for word in (held, LATE, "[/red]", "needs attention", "deposit", "payment.failed"))


def test_a_decision_and_its_repetition(run: Run, ids: tuple[str, str]) -> None:
    held, _ = ids
    words = ("payments", "resolve", held, "--action", "refunded", "--txid", TXID.upper(), "--reason", "by mail")
    done = run(*words)
    assert (done.code, done.err) == (0, "")
    assert f"{FULL} sat are set aside for good, sent back by {TXID}" in done.out
    again = json.loads(run(*words, "--json").out)
    assert (again["repeated"], again["payment"]["status"], again["decision"]["reason"]) == (True, "expired", "by mail")
    assert "nothing was changed" in run(*words).out
    (coin,) = again["payment"]["transactions"]
    assert (coin["decision"], coin["refund_txid"]) == ("refunded", TXID)
    assert json.loads(run("payments", "list", "--attention", "--json").out) == {"attention": [], "total": 0}
    assert "Nothing waits" in run("payments", "list", "--attention").out
    assert "by mail" in run("payments", "show", held).out
    refused = run("payments", "resolve", held, "--action", "credit", "--reason", "changed my mind")
    assert "for good" in refused.complaint


def test_one_line_for_what_is_wrong(run: Run, ids: tuple[str, str]) -> None:
    held, paid = ids
    resolve = ("payments", "resolve")
    why = ("--reason", "by mail")
    for words, says in (
        ((*resolve, held, "--action", "credit"), "--reason"),
        ((*resolve, held, *why), "--action"),
        ((*resolve, held, "--action", "burn", *why), "burn"),
        ((*resolve, held, "--action", "credit", "--reason", "  "), "--reason"),
        ((*resolve, held, "--action", "credit", "--reason", "two\nlines"), "--reason"),
        ((*resolve, held, "--action", "refunded", *why), "needs --txid"),
        ((*resolve, held, "--action", "refunded", "--txid", "abc", *why), "64 hex digits"),
        ((*resolve, held, "--action", "ignore", "--txid", TXID, *why), "--txid belongs to"),
        ((*resolve, held, "--action", "ignore", "--coin", "abc", *why), "TXID:VOUT"),
        ((*resolve, held, "--action", "ignore", "--coin", f"{TXID}:0", *why), "is no coin of this payment"),
        ((*resolve, paid, "--action", "ignore", *why), "never takes credits away"),
        ((*resolve, "nobody", "--action", "ignore", *why), "nobody"),
        (("payments", "show", "nobody"), "nobody"),
        (("payments", "list", "--attention", "--user", "u2"), "--attention"),
        (("payments", "list", "--status", "lost"), "lost"),
    ):
        done = run(*words)
        assert says in done.complaint, words
        assert done.out == ""
    assert json.loads(run("payments", "list", "--attention", "--json").out)["total"] == 1


def test_no_database_is_made(run: Run, config: Path) -> None:
    for words in (
        ("payments", "list"),
        ("credits", "show", "u1"),
        ("payments", "resolve", "x", "--action", "ignore", "--reason", "y"),
    ):
        assert "does not exist" in run(*words).complaint
    assert not (config.parent / "nodetill.db").exists()


def test_credits(run: Run, ids: tuple[str, str]) -> None:
    shown = json.loads(run("credits", "show", "u2", "--json").out)
    assert (shown["user_id"], shown["balance"], len(shown["entries"])) == ("u2", 400, 1)
    assert "u2 has 400 credits." in run("credits", "show", "u2").out
    assert json.loads(run("credits", "show", "[/red]", "--json").out) == {
        "user_id": "[/red]",
        "balance": 0,
        "entries": [],
    }
