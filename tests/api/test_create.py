"""POST /payments: who may, for whom, with what, and once for a key."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import replace
from typing import Any

import pytest

from api.opening import Repeatable, open_payment
from api.payments import RUNNING
from api.problem import Kind, Problem
from api.shop import SHOP
from storage.till import next_index
from tests.api.till import BASE, PACKAGES, PUBLIC_URL, Till
from tests.waiting import wait_for_async

URL = f"{BASE}/payments"


async def test_a_payment_has_every_field_of_the_contract(till: Till, caplog: pytest.LogCaptureFixture) -> None:
    key = await till.key("payments:write")
    body = {"package_id": "small", "user_id": "u1", "metadata": {"order": 7, "note": "naïve ☕ \u0000"}}
    with caplog.at_level(logging.INFO, logger="nodetill"):
        response = await till.client.post(URL, json=body, headers=key)
    assert response.status == 201
    payment = await response.json()
    payment_id = payment.pop("payment_id")
    assert re.fullmatch("[0-9a-f]{32}", payment_id)
    assert response.headers["Location"] == f"{URL}/{payment_id}"
    address = payment.pop("address")
    assert address.startswith("bcrt1q")
    for name in ("created_at", "expires_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", payment.pop(name))
    assert payment == {
        "user_id": "u1",
        "package_id": "small",
        "credits": 400,
        "metadata": body["metadata"],
        "status": "pending",
        "flags": [],
        "amount_sat": 40_000,
        "amount_btc": "0.00040000",
        "received_sat": 0,
        "confirmed_sat": 0,
        "remaining_sat": 40_000,
        "uri": f"bitcoin:{address}?amount=0.00040000",
        "checkout_url": f"{PUBLIC_URL}/pay/{payment_id}",
        "confirmations": 0,
        "confirmations_required": 3,
        "tx_hash": None,
        "transactions": [],
        "forwarding_tx_hash": None,
        "credited": 0,
        "failure_reason": None,
        "detected_at": None,
        "confirmed_at": None,
        "completed_at": None,
    }
    line = f"Created Bitcoin payment {payment_id} for user u1: 0.00040000 BTC"
    assert [record.getMessage() for record in caplog.records].count(line) == 1


async def test_each_payment_has_an_address_of_its_own(till: Till) -> None:
    payments = [await till.create(user) for user in ("a", "b", "a")]
    assert len({payment["address"] for payment in payments}) == 3
    assert len({payment["payment_id"] for payment in payments}) == 3
    assert payments[0]["user_id"] == "a"


BAD_BODIES: dict[str, tuple[bytes, int, str | None]] = {
    "empty": (b"", 400, None),
    "not json": (b"{package_id: small}", 400, None),
    "cut off": (b'{"package_id": "small"', 400, None),
    "twice": (b'{"package_id": "small", "package_id": "large"}', 400, None),
    "nan": (b'{"package_id": "small", "metadata": {"a": NaN}}', 400, None),
    "infinity": (b'{"package_id": "small", "metadata": {"a": 1e999}}', 400, None),
    "latin-1": (b'{"package_id": "\xe9"}', 400, None),
    "surrogate": (b'{"package_id": "small", "metadata": {"a": "\\ud800"}}', 400, None),
    "byte order mark": (b'\xef\xbb\xbf{"package_id": "small"}', 400, None),
    "deep": (b'{"package_id": "small", "metadata": {"a": %s1%s}}' % (b"[" * 40, b"]" * 40), 400, None),
    "very deep": (b"[" * 60_000, 400, None),
    "long number": (b'{"package_id": "small", "metadata": {"a": %s}}' % (b"9" * 5000), 400, None),
    "array": (b"[]", 422, ""),
    "null": (b"null", 422, ""),
    "missing": (b"{}", 422, "/package_id"),
    "number": (b'{"package_id": 1}', 422, "/package_id"),
    "null package": (b'{"package_id": null}', 422, "/package_id"),
    "unknown field": (b'{"package_id": "small", "amount_sat": 1}', 422, "/amount_sat"),
    "odd field": (b'{"package_id": "small", "a/b~c": 1}', 422, "/a~1b~0c"),
    "no user": (b'{"package_id": "small"}', 422, "/user_id"),
    "empty user": (b'{"package_id": "small", "user_id": ""}', 422, "/user_id"),
    "long user": (b'{"package_id": "small", "user_id": "%s"}' % (b"u" * 129), 422, "/user_id"),
    "line break": (b'{"package_id": "small", "user_id": "u\\n2026 ERROR"}', 422, "/user_id"),
    "user as number": (b'{"package_id": "small", "user_id": 7}', 422, "/user_id"),
    "metadata list": (b'{"package_id": "small", "user_id": "u", "metadata": []}', 422, "/metadata"),
    "metadata large": (
        b'{"package_id": "small", "user_id": "u", "metadata": {"a": "%s"}}' % (b"x" * 4096),
        422,
        "/metadata",
    ),
    "unknown package": (b'{"package_id": "huge", "user_id": "u"}', 404, None),
    "too large": (b'{"package_id": "%s"}' % (b"x" * 70_000), 413, None),
}


@pytest.mark.parametrize("case", BAD_BODIES)
async def test_bad_bodies(till: Till, case: str) -> None:
    raw, status, pointer = BAD_BODIES[case]
    headers = await till.key("payments:write") | {"Content-Type": "application/json"}
    response = await till.client.post(URL, data=raw, headers=headers)
    problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["status"]) == (status, status), problem
    assert problem["type"] == f"/docs/problems#{problem['code']}"
    assert {"title", "detail"} <= problem.keys()
    assert ("errors" in problem) == (status == 422)
    if pointer is not None:
        assert pointer in [error["pointer"] for error in problem["errors"]]
    assert "Traceback" not in str(problem)
    assert await till.database.read(next_index, till.keychain_id) == 0, "an address was spent on it"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_other_media_types(till: Till, headers: dict[str, str]) -> None:
    headers |= await till.key("payments:write")
    response = await till.client.post(URL, data=b'{"package_id": "small", "user_id": "u"}', headers=headers)
    assert response.status == 415
    assert (await response.json(content_type=None))["code"] == "unsupported-media-type"


async def test_a_user_token_acts_for_its_own_user_only(till: Till) -> None:
    body = {"package_id": "small", "user_id": "u1"}
    response = await till.client.post(URL, json=body, headers=till.token("u1"))
    problem = await response.json(content_type=None)
    assert response.status == 422
    assert problem["errors"][0]["pointer"] == "/user_id"


async def test_the_same_key_gives_the_same_answer(till: Till) -> None:
    headers = await till.key("payments:write") | {"Idempotency-Key": "order-7"}
    body = {"package_id": "small", "user_id": "u1", "metadata": {"a": 1, "b": 2}}
    first = await till.client.post(URL, json=body, headers=headers)
    turned = {"metadata": {"b": 2, "a": 1}, "user_id": "u1", "package_id": "small"}
    again = await till.client.post(URL, json=turned, headers=headers)
    assert (first.status, again.status) == (201, 201)
    assert await again.read() == await first.read()
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]

    other = await till.client.post(URL, json={**body, "package_id": "large"}, headers=headers)
    assert other.status == 422
    assert (await other.json(content_type=None))["code"] == "idempotency-key-reused"

    stranger = await till.key("payments:write") | {"Idempotency-Key": "order-7"}
    theirs = await till.client.post(URL, json=body, headers=stranger)
    assert (await theirs.json())["payment_id"] != (await first.json())["payment_id"]
    assert await till.database.read(next_index, till.keychain_id) == 2


async def test_the_same_answer_when_the_package_is_not_on_sale_any_more(till: Till) -> None:
    shop = till.client.app[SHOP]
    again = Repeatable("key:1", "order-7", "hash")
    first = await open_payment(shop, "small", "u1", "{}", again)
    sold_out = replace(shop, packages=PACKAGES[1:])
    assert (await open_payment(sold_out, "small", "u1", "{}", again)).text == first.text
    with pytest.raises(Problem) as other_body:
        await open_payment(sold_out, "small", "u1", "{}", again._replace(request_hash="other"))
    assert other_body.value.kind is Kind.KEY_REUSED
    with pytest.raises(Problem) as gone:
        await open_payment(sold_out, "small", "u1", "{}", again._replace(key="order-8"))
    assert gone.value.kind is Kind.PACKAGE_NOT_FOUND


async def test_a_refused_request_does_not_use_up_its_key(till: Till) -> None:
    headers = till.token("u1") | {"Idempotency-Key": "k"}
    refused = await till.client.post(URL, json={"package_id": "huge"}, headers=headers)
    assert refused.status == 404
    made = await till.client.post(URL, json={"package_id": "small"}, headers=headers)
    assert made.status == 201


async def test_the_same_key_at_the_same_time_makes_one_payment(till: Till) -> None:
    headers = till.token("u1") | {"Idempotency-Key": "k"}

    async def post() -> tuple[int, dict[str, Any]]:
        response = await till.client.post(URL, json={"package_id": "small"}, headers=headers)
        return response.status, await response.json(content_type=None)

    answers = await asyncio.gather(*(post() for _ in range(8)))
    assert {status for status, _ in answers} <= {201, 409}
    made = {body["payment_id"] for status, body in answers if status == 201}
    assert len(made) == 1
    assert {body["code"] for status, body in answers if status == 409} <= {"request-in-flight"}
    assert await till.database.read(next_index, till.keychain_id) == 1


async def test_a_key_in_flight_is_409(till: Till) -> None:
    headers = till.token("u1") | {"Idempotency-Key": "k"}
    till.derive_hold.clear()
    first = asyncio.create_task(till.client.post(URL, json={"package_id": "small"}, headers=headers))
    await wait_for_async(lambda: till.client.app[RUNNING])
    second = await till.client.post(URL, json={"package_id": "small"}, headers=headers)
    assert second.status == 409
    assert (await second.json(content_type=None))["code"] == "request-in-flight"
    till.derive_hold.set()
    made = await (await first).json()
    third = await till.client.post(URL, json={"package_id": "small"}, headers=headers)
    assert (third.status, await third.json()) == (201, made)


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_odd_keys_are_refused(till: Till, key: str) -> None:
    headers = till.token("u1") | {"Idempotency-Key": key}
    response = await till.client.post(URL, json={"package_id": "small"}, headers=headers)
    assert response.status == 422


async def test_too_many_open_payments(till: Till) -> None:
    for _ in range(3):
        last = await till.create("u1")
    response = await till.client.post(URL, json={"package_id": "small"}, headers=till.token("u1"))
    assert response.status == 429
    assert int(response.headers["Retry-After"]) >= 1
    assert (await response.json(content_type=None))["code"] == "too-many-open-payments"
    await till.create("u2")
    await till.pay(last["address"], 40_000)
    await till.create("u1")
