"""Confirming, crediting, spending."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.till import BASE, Till


async def paid(till: Till, user_id: str = "u1") -> dict[str, Any]:
    payment = await till.create(user_id)
    await till.pay(payment["address"], 40_000)
    await till.mine(3)
    return payment


async def test_confirm_asks_the_node_and_credits_nothing_itself(till: Till) -> None:
    payment = await till.create("u1")
    till.checks = 0  # the first sale asks, too
    url = f"{BASE}/confirm/{payment['payment_id']}"
    for expected in ("Nothing was seen", "0 of 3", "1 of 3", "2 of 3"):
        if expected == "0 of 3":
            await till.pay(payment["address"], 40_000)
        elif expected != "Nothing was seen":
            await till.mine()
        response = await till.client.post(url, headers=till.token("u1"))
        problem = await response.json(content_type="application/problem+json")
        assert (response.status, problem["code"]) == (409, "payment-not-confirmed")
        assert expected in problem["detail"]
        assert problem["payment"]["payment_id"] == payment["payment_id"]
    assert till.checks == 4
    await till.mine()
    for _ in range(2):
        response = await till.client.post(url, headers=till.token("u1"))
        body = await response.json()
        assert (response.status, body["message"]) == (200, "Already processed")
        assert (body["status"], body["credited"]) == ("forwarded", 400)
    assert till.checks == 4


async def test_confirm_tells_when_the_check_found_it(till: Till) -> None:
    payment = await till.create("u1")
    till.checks = 0
    await till.pay(payment["address"], 40_000)
    await till.mine(2)
    till.on_check = till.mine
    url, writer = f"{BASE}/confirm/{payment['payment_id']}", await till.key("payments:write")
    for message in ("Payment confirmed", "Already processed"):
        response = await till.client.post(url, headers=writer)
        body = await response.json()
        assert (response.status, body["message"], body["credited"]) == (200, message, 400)
    assert till.checks == 1


async def test_confirm_does_not_wait_for_ever(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    payment = await till.create("u1")
    monkeypatch.setattr("api.shop.CHECK_SECONDS", 0.05)
    till.on_check = asyncio.Event().wait
    url = f"{BASE}/confirm/{payment['payment_id']}"
    response = await till.client.post(url, headers=till.token("u1"))
    assert response.status == 409
    detail = (await response.json())["detail"]
    assert detail.startswith("Nothing was seen on the payment's address yet. The watcher did not look at the node")
    till.on_check = None
    told = await (await till.client.post(url, headers=till.token("u1"))).json()
    assert told["detail"] == "Nothing was seen on the payment's address yet."


async def test_confirm_says_when_the_node_could_not_be_asked(till: Till) -> None:
    payment = await till.create("u1")
    till.node_answers = False
    url = f"{BASE}/confirm/{payment['payment_id']}"
    response = await till.client.post(url, headers=till.token("u1"))
    told = await response.json()
    assert (response.status, told["code"]) == (409, "payment-not-confirmed")
    assert told["detail"] == (
        "Nothing was seen on the payment's address yet. The node could not be asked just now,"
        " so this is what was known before; /readyz says how it is."
    )
    await till.pay(payment["address"], 40_000)
    await till.mine(3)
    assert (await till.client.post(url, headers=till.token("u1"))).status == 200, "what is known is enough"


async def test_statement(till: Till) -> None:
    first, second = await paid(till), await paid(till)
    writer = await till.key("credits:write")
    spend = {"amount": 150, "reference": "order-1"}
    response = await till.client.post(f"{BASE}/users/u1/credits/spend", json=spend, headers=writer)
    done = await response.json()
    assert response.status == 200
    assert (done["user_id"], done["balance"]) == ("u1", 650)
    response = await till.client.get(f"{BASE}/users/u1/credits", headers=till.token("u1"))
    body = await response.json()
    assert (body["user_id"], body["balance"], body["next_cursor"]) == ("u1", 650, None)
    told = [(e["amount"], e["kind"], e["payment_id"], e["reference"], e["balance_after"]) for e in body["entries"]]
    assert told == [
        (-150, "spend", None, "order-1", 650),
        (400, "payment", second["payment_id"], None, 800),
        (400, "payment", first["payment_id"], None, 400),
    ]
    cursor: str | None = ""
    seen: list[dict[str, Any]] = []
    while cursor is not None:
        url = f"{BASE}/users/u1/credits?limit=1&cursor={cursor}"
        page = await (await till.client.get(url, headers=till.token("u1"))).json()
        seen += page["entries"]
        cursor = page["next_cursor"]
    assert seen == body["entries"]


async def test_a_reference_is_spent_once(till: Till) -> None:
    await paid(till)
    writer, url = await till.key("credits:write"), f"{BASE}/users/u1/credits/spend"

    async def spend(amount: int, reference: str) -> tuple[int, dict[str, Any]]:
        response = await till.client.post(url, json={"amount": amount, "reference": reference}, headers=writer)
        return response.status, await response.json(content_type=None)

    answers = await asyncio.gather(*(spend(100, "r") for _ in range(5)))
    assert {status for status, _ in answers} == {200}
    assert {body["balance"] for _, body in answers} == {300}
    assert len({body["entry"]["id"] for _, body in answers}) == 1
    status, body = await spend(99, "r")
    assert (status, body["errors"][0]["pointer"]) == (422, "/reference")
    status, body = await spend(301, "s")
    assert (status, body["code"], body["balance"]) == (409, "insufficient-credits", 300)
    assert (await spend(300, "t"))[1]["balance"] == 0


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"amount": 0, "reference": "r"}, "/amount"),
        ({"amount": -1, "reference": "r"}, "/amount"),
        ({"amount": 1.0, "reference": "r"}, "/amount"),
        ({"amount": "1", "reference": "r"}, "/amount"),
        ({"amount": True, "reference": "r"}, "/amount"),
        ({"amount": 10**30, "reference": "r"}, "/amount"),
        ({"amount": 1}, "/reference"),
        ({"amount": 1, "reference": ""}, "/reference"),
        ({"amount": 1, "reference": "r", "user_id": "u2"}, "/user_id"),
    ],
)
async def test_bad_spends(till: Till, body: dict[str, Any], pointer: str) -> None:
    headers = await till.key("credits:write")
    response = await till.client.post(f"{BASE}/users/u1/credits/spend", json=body, headers=headers)
    problem = await response.json(content_type="application/problem+json")
    assert response.status == 422
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_any_printable_user_id_has_an_account(till: Till) -> None:
    reader = await till.key("credits:read")
    for user_id, in_path in (("nobody yet", "nobody%20yet"), ("a/b", "a%2Fb"), ("ü@x", "%C3%BC@x")):
        response = await till.client.get(f"{BASE}/users/{in_path}/credits", headers=reader)
        body = await response.json()
        assert (response.status, body["user_id"], body["balance"], body["entries"]) == (200, user_id, 0, [])
    for odd in ("%00", "%0A", "u" * 129):
        response = await till.client.get(f"{BASE}/users/{odd}/credits", headers=reader)
        assert response.status == 404
