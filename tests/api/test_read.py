"""Reading payments: one, many, by status, and what each caller sees of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.till import BASE, Till

PRIVATE = {"user_id", "metadata"}


async def test_the_payers_view_hides_who_pays(till: Till) -> None:
    payment = await till.create("u1", metadata={"secret": 1})
    url = f"{BASE}/payments/{payment['payment_id']}"
    reader, other_key = await till.key("payments:read"), await till.key("payments:write")
    for headers, sees_all in (
        ({}, False),
        (till.token("u2"), False),
        (other_key, False),
        (till.token("u1"), True),
        (reader, True),
        (await till.key("admin"), True),
    ):
        response = await till.client.get(url, headers=headers)
        seen = await response.json()
        assert response.status == 200
        assert (seen.keys() >= PRIVATE) == sees_all
        assert seen == {k: v for k, v in payment.items() if sees_all or k not in PRIVATE}
        assert response.headers["Cache-Control"] == "no-store"

    status = await till.client.post(f"{BASE}/status", json={"payment_id": payment["payment_id"]})
    assert status.status == 200
    assert await status.json() == {k: v for k, v in payment.items() if k not in PRIVATE}


async def test_a_payment_on_its_way(till: Till) -> None:
    payment = await till.create("u1")
    url = f"{BASE}/payments/{payment['payment_id']}"
    seen: list[tuple[Any, ...]] = []

    async def look() -> dict[str, Any]:
        body: dict[str, Any] = await (await till.client.get(url, headers=till.token("u1"))).json()
        seen.append((body["status"], body["confirmations"], body["credited"], body["remaining_sat"]))
        return body

    await look()
    txid = await till.pay(payment["address"], 40_000)
    body = await look()
    assert body["tx_hash"] == txid
    assert body["transactions"][0]["state"] == "mempool"
    for _ in range(3):
        await till.mine()
        body = await look()
    assert seen == [
        ("pending", 0, 0, 40_000),
        ("confirming", 0, 0, 0),
        ("confirming", 1, 0, 0),
        ("confirming", 2, 0, 0),
        ("forwarded", 3, 400, 0),
    ]
    assert body["detected_at"] <= body["confirmed_at"] == body["completed_at"]


@pytest.mark.parametrize("payment_id", ["0" * 32, "x", "%00", "..%2f..", "' or 1=1", "é", "a" * 5000])
async def test_unknown_payments_are_404(till: Till, payment_id: str) -> None:
    for response in (
        await till.client.get(f"{BASE}/payments/{payment_id}"),
        await till.client.get(f"{BASE}/payments/{payment_id}/qr.svg"),
        await till.client.get(f"{BASE}/payments/{payment_id}/events"),
        await till.client.post(f"{BASE}/confirm/{payment_id}", headers=till.token("u1")),
    ):
        problem = await response.json(content_type="application/problem+json")
        assert (response.status, problem["status"]) == (404, 404)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"payment_id": 1}, 422),
        ({"payment_id": "x", "y": 1}, 422),
        ({"payment_id": "0" * 32}, 404),
    ],
)
async def test_status_of_bad_bodies(till: Till, body: dict[str, Any], status: int) -> None:
    response = await till.client.post(f"{BASE}/status", json=body)
    assert response.status == status


async def test_lists_go_on_where_they_stopped(till: Till) -> None:
    made = [(await till.create(user))["payment_id"] for user in ("a", "b", "a", "c", "a")]
    reader = await till.key("payments:read")

    async def pages(query: str, headers: dict[str, str]) -> list[list[str]]:
        found, cursor = [], ""
        while True:
            response = await till.client.get(f"{BASE}/payments?{query}&cursor={cursor}", headers=headers)
            body = await response.json()
            assert response.status == 200, body
            found.append([payment["payment_id"] for payment in body["payments"]])
            if body["next_cursor"] is None:
                return found
            cursor = body["next_cursor"]

    newest_first = made[::-1]
    assert await pages("limit=2", reader) == [newest_first[:2], newest_first[2:4], newest_first[4:]]
    assert await pages("limit=5", reader) == [newest_first]
    assert await pages("user_id=a&status=&limit=", reader) == [[made[4], made[2], made[0]]]
    assert await pages("", till.token("a")) == [[made[4], made[2], made[0]]]
    assert await pages("user_id=b", till.token("b")) == [[made[1]]]
    await till.pay((await till.create("d"))["address"], 40_000)
    assert len((await pages("status=confirming", reader))[0]) == 1
    assert await pages("status=failed", reader) == [[]]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=-1",
        "status=paid",
        "cursor=zzz",
        "cursor=bg",
        "user=a",
        "limit=1&limit=2",
        "user_id=%00",
        "user_id=",
        "cursor=%F0",
    ],
)
async def test_bad_queries(till: Till, query: str) -> None:
    headers = await till.key("payments:read")
    response = await till.client.get(f"{BASE}/payments?{query}", headers=headers)
    problem = await response.json(content_type="application/problem+json")
    assert response.status == 422
    assert problem["errors"][0]["parameter"] == query.split("=", maxsplit=1)[0]


async def test_another_users_list_is_404(till: Till) -> None:
    await till.create("b")
    response = await till.client.get(f"{BASE}/payments?user_id=b", headers=till.token("a"))
    assert response.status == 404


async def test_packages(till: Till) -> None:
    response = await till.client.get(f"{BASE}/packages")
    assert await response.json() == {
        "packages": [
            {"id": "small", "name": "Small", "credits": 400, "price_sat": 40_000, "price_btc": "0.00040000"},
            {
                "id": "large",
                "name": "Large",
                "credits": 3_000,
                "price_sat": 250_000,
                "price_btc": "0.00250000",
            },
        ]
    }
