"""How much came, in how many pieces, and what it is worth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from regtest.conftest import TWO_COMBINATIONS, MakeTill
from regtest.crafted_tx import signed, to_one_address
from regtest.node import PAYER, RegtestNode, to_btc, to_sat
from regtest.service import RunningService


@pytest.fixture(scope="module", params=TWO_COMBINATIONS, ids="-".join)
def till(request: pytest.FixtureRequest, node: RegtestNode, make_till: MakeTill) -> Iterator[RunningService]:
    service = make_till(node, *request.param)
    yield service
    service.stop()


def figures(payment: dict[str, Any]) -> tuple[int, int, int]:
    return payment["received_sat"], payment["confirmed_sat"], payment["remaining_sat"]


def received(till: RunningService, payment: dict[str, Any], sat: int) -> dict[str, Any]:
    return till.wait_payment(payment["payment_id"], lambda p: p["received_sat"] == sat)


def paid_out(till: RunningService, payment: dict[str, Any]) -> dict[str, Any]:
    return till.wait_payment(payment["payment_id"], "forwarded")


def test_two_outputs_of_one_transaction_to_the_same_address(till: RunningService, node: RegtestNode) -> None:
    payment = till.create("small", "two-outputs")
    txid = node.rpc("sendrawtransaction", to_one_address(node, payment["address"], 15_000, 25_000))
    seen = till.wait_payment(payment["payment_id"], "confirming")
    assert sorted((t["txid"], t["amount_sat"]) for t in seen["transactions"]) == [(txid, 15_000), (txid, 25_000)]
    assert len({t["vout"] for t in seen["transactions"]}) == 2
    assert (seen["tx_hash"], figures(seen)) == (txid, (40_000, 0, 0))
    node.mine(3)
    done = paid_out(till, payment)
    assert (figures(done), done["credited"]) == ((40_000, 40_000, 0), 400)
    assert till.entries("two-outputs") == [("payment", 400)]
    if till.mode == "forwarding":
        sweep = node.rpc("getrawtransaction", done["forwarding_tx_hash"], 1)
        assert {coin["txid"] for coin in sweep["vin"]} == {txid}
        assert len(sweep["vin"]) == 2


def test_a_part_and_then_the_rest(till: RunningService, node: RegtestNode) -> None:
    payment = till.create("small", "in-parts")
    first = node.pay(payment["address"], 10_000)
    part = received(till, payment, 10_000)
    assert (part["status"], part["flags"], figures(part)) == ("pending", ["underpaid"], (10_000, 0, 30_000))
    assert (part["confirmations"], part["tx_hash"]) == (0, first)
    node.mine(2)
    second = node.pay(payment["address"], 30_000)
    full = till.wait_payment(payment["payment_id"], "confirming")
    assert (full["flags"], figures(full), full["confirmations"]) == ([], (40_000, 0, 0), 0)
    node.mine(1)
    # The first part is final, the second is one deep: the shallowest that is needed counts.
    one = till.wait_payment(payment["payment_id"], lambda p: p["confirmations"] == 1)
    assert (one["status"], one["confirmed_sat"], one["credited"]) == ("confirming", 10_000, 0)
    assert {t["txid"]: t["confirmations"] for t in one["transactions"]} == {first: 3, second: 1}
    assert one["tx_hash"] == first
    node.mine(2)
    assert (paid_out(till, payment)["credited"], till.entries("in-parts")) == (400, [("payment", 400)])
    events = till.events_of(payment["payment_id"])
    assert events.count("payment.underpaid") == 1
    assert events.count("payment.detected") == events.count("credits.added") == 1


def test_several_transactions_add_up(till: RunningService, node: RegtestNode) -> None:
    payment = till.create("small", "many")
    txids = {node.pay(payment["address"], 8_000) for _ in range(5)}
    full = till.wait_payment(payment["payment_id"], "confirming")
    assert {t["txid"] for t in full["transactions"]} == txids
    node.mine(3)
    done = paid_out(till, payment)
    assert (figures(done), done["flags"], till.entries("many")) == ((40_000, 40_000, 0), [], [("payment", 400)])


@pytest.mark.parametrize(("sat", "credits"), [(60_000, 600), (40_099, 400), (40_100, 401), (1_000_000, 10_000)])
def test_more_than_asked_gives_credits_in_proportion(
    till: RunningService, node: RegtestNode, sat: int, credits: int
) -> None:
    user = f"generous-{sat}"
    payment = till.create("small", user)
    node.pay(payment["address"], sat)
    seen = till.wait_payment(payment["payment_id"], "confirming")
    assert (seen["flags"], figures(seen)) == (["overpaid"], (sat, 0, 0))
    node.mine(3)
    done = paid_out(till, payment)
    assert (done["credited"], done["credits"], till.balance(user)) == (credits, 400, credits)
    assert till.events_of(payment["payment_id"]).count("payment.overpaid") == 1


def test_more_for_a_payment_that_is_done(till: RunningService, node: RegtestNode) -> None:
    payment = till.create("small", "again")
    node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], "confirming")
    node.mine(3)
    before = paid_out(till, payment)
    node.pay(payment["address"], 20_000)
    more = received(till, payment, 60_000)
    assert (more["status"], more["confirmed_sat"], more["credited"]) == ("forwarded", 40_000, 400)
    assert more["flags"] == ["overpaid"]
    node.mine(3)
    done = till.wait_payment(payment["payment_id"], lambda p: p["credited"] == 600 and p["status"] == "forwarded")
    assert till.entries("again") == [("payment", 400), ("payment", 200)]
    assert done["confirmed_at"] == before["confirmed_at"]


def test_eleven_specks_of_dust_before_the_real_payment(till: RunningService, node: RegtestNode) -> None:
    payment = till.create("small", "dusty")
    dust = [node.pay(payment["address"], 546) for _ in range(11)]
    received(till, payment, 11 * 546)
    real = node.pay(payment["address"], 40_000)
    seen = till.wait_payment(payment["payment_id"], "confirming")
    assert {t["txid"] for t in seen["transactions"] if t["amount_sat"] == 546} == set(dust)
    assert (seen["tx_hash"], seen["received_sat"]) == (real, 46_006)
    node.mine(3)
    assert paid_out(till, payment)["credited"] == 400 * 46_006 // 40_000
    assert till.balance("dusty") == 460


def test_only_dust_is_no_payment(till: RunningService, node: RegtestNode) -> None:
    payment = till.create("small", "speck")
    node.pay(payment["address"], 546)
    seen = received(till, payment, 546)
    assert (seen["status"], seen["flags"], seen["remaining_sat"]) == ("pending", ["underpaid"], 39_454)
    node.mine(3)
    till.wait_level()
    assert till.look(payment["payment_id"])["status"] == "pending"
    assert till.entries("speck") == []


def test_one_transaction_pays_two_payments(till: RunningService, node: RegtestNode) -> None:
    one, two = till.create("small", "left"), till.create("medium", "right")
    txid = node.pay_many({one["address"]: 40_000, two["address"]: 100_000})
    for payment in (one, two):
        assert till.wait_payment(payment["payment_id"], "confirming")["tx_hash"] == txid
    node.mine(3)
    done = [paid_out(till, payment) for payment in (one, two)]
    assert [p["credited"] for p in done] == [400, 1_100]
    assert (till.entries("left"), till.entries("right")) == ([("payment", 400)], [("payment", 1_100)])


@pytest.mark.parametrize("kind", ["legacy", "p2sh-segwit", "bech32m"])
def test_any_wallet_may_pay(till: RunningService, node: RegtestNode, kind: str) -> None:
    """Paid with coins of older and newer kinds of address."""
    coin = node.new_address(kind)
    funding = node.pay(coin, 100_000)
    node.mine(1)
    outputs = node.rpc("gettransaction", funding, None, True, wallet=PAYER)["decoded"]["vout"]
    vout = next(out["n"] for out in outputs if to_sat(out["value"]) == 100_000)
    payment = till.create("small", f"wallet-{kind}")
    raw = node.rpc("createrawtransaction", [{"txid": funding, "vout": vout}], [{payment["address"]: to_btc(40_000)}])
    funded = node.rpc("fundrawtransaction", raw, {"fee_rate": 5}, wallet=PAYER)["hex"]
    node.rpc("sendrawtransaction", signed(node, funded))
    till.wait_payment(payment["payment_id"], "confirming")
    node.mine(3)
    assert paid_out(till, payment)["credited"] == 400


@pytest.fixture(scope="module")
def easy_till(node: RegtestNode, make_till: MakeTill) -> Iterator[RunningService]:
    """Does not mind 100 missing satoshi, keeps what is too much, wants more depth for more money."""
    rules = {"tolerance_sat": 100, "excess": "keep", "tiers": [{"above_sat": 90_000, "confirmations": 4}]}
    service = make_till(node, settings={"payments": rules})
    yield service
    service.stop()


@pytest.mark.parametrize(("sat", "status"), [(39_900, "confirming"), (39_899, "pending")])
def test_a_few_satoshi_short(easy_till: RunningService, node: RegtestNode, sat: int, status: str) -> None:
    user = f"short-{sat}"
    payment = easy_till.create("small", user)
    node.pay(payment["address"], sat)
    seen = received(easy_till, payment, sat)
    flags, missing = ([], 0) if status == "confirming" else (["underpaid"], 101)
    assert (seen["status"], seen["flags"], seen["remaining_sat"]) == (status, flags, missing)
    node.mine(3)
    if status == "confirming":
        assert paid_out(easy_till, payment)["credited"] == 400
    else:
        easy_till.wait_level()
        assert easy_till.look(payment["payment_id"])["status"] == "pending"
    assert easy_till.balance(user) == (400 if status == "confirming" else 0)


def test_too_much_can_be_kept(easy_till: RunningService, node: RegtestNode) -> None:
    payment = easy_till.create("small", "kept")
    node.pay(payment["address"], 80_000)
    assert easy_till.wait_payment(payment["payment_id"], "confirming")["flags"] == ["overpaid"]
    node.mine(3)
    assert (paid_out(easy_till, payment)["credited"], easy_till.balance("kept")) == (400, 400)


def test_more_money_waits_for_more_blocks(easy_till: RunningService, node: RegtestNode) -> None:
    payment = easy_till.create("medium", "tiered")
    assert payment["confirmations_required"] == 4
    node.pay(payment["address"], 100_000)
    easy_till.wait_payment(payment["payment_id"], "confirming")
    node.mine(3)
    easy_till.wait_payment(payment["payment_id"], lambda p: p["confirmations"] == 3)
    assert easy_till.look(payment["payment_id"])["status"] == "confirming"
    node.mine(1)
    assert paid_out(easy_till, payment)["credited"] == 1_100


def test_what_is_on_top_waits_as_long_as_the_whole_sum(node: RegtestNode, make_till: MakeTill) -> None:
    """Nobody gets the credits of a large payment at the depth of a small one by choosing the small package."""
    till = make_till(node, settings={"payments": {"tiers": [{"above_sat": 90_000, "confirmations": 4}]}})
    payment = till.create("small", "generous")
    assert payment["confirmations_required"] == 3
    node.pay(payment["address"], 100_000)
    till.wait_payment(payment["payment_id"], "confirming")
    node.mine(3)
    assert paid_out(till, payment)["credited"] == 900
    node.mine(1)
    till.wait_payment(payment["payment_id"], lambda p: p["credited"] == 1_000)
    assert till.balance("generous") == 1_000
