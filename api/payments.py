"""Payments over HTTP: open, read, list, ask for the status, confirm."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from api.answer import answer, as_sent
from api.auth import caller_of
from api.body import read_model
from api.caller import Caller, Scope
from api.opening import Repeatable, open_payment, request_hash
from api.problem import FieldError, Kind, Problem, invalid
from api.query import cursor_for, cursor_of, limit_of, parameters, wrong_parameter
from api.schema import AskStatus, CreatePayment, Nothing, metadata_text
from api.shop import CHECK_SECONDS, SHOP, Asked, Shop
from payments.model import Status
from payments.record import PaymentRecord
from payments.view import payers_view, payment_view
from storage.payments import list_payments
from storage.records import payment_by_id

PAID = (Status.CONFIRMED, Status.FORWARDED)

_KNOWN_BEFORE = ", so this is what was known before; /readyz says how it is."
NOT_LOOKED = {
    Asked.LOOKED: "",
    Asked.NOT_POSSIBLE: f" The node could not be asked just now{_KNOWN_BEFORE}",
    Asked.TOO_SLOW: f" The watcher did not look at the node within {CHECK_SECONDS} seconds{_KNOWN_BEFORE}",
}
"""Ends the detail of an answer that had to come without the look that was asked for."""

RUNNING: web.AppKey[set[tuple[str, str]]] = web.AppKey("running", set)
"""(caller, Idempotency-Key) of the requests that are being answered now."""


async def create_payment(request: web.Request) -> web.Response:
    """POST /payments."""
    shop, caller = request.app[SHOP], await caller_of(request)
    if caller.user_id is None:
        caller.require(Scope.PAYMENTS_WRITE)
    body, raw = await read_model(request, CreatePayment)
    user_id = _for_whom(caller, body.user_id)
    again = None
    if (key := _idempotency_key(request)) is not None:
        again = Repeatable(caller.id, key, request_hash(json.loads(raw)))
    running = request.app[RUNNING]
    place = (caller.id, key or "")
    if again is not None and place in running:
        raise Problem(Kind.IN_FLIGHT, Kind.IN_FLIGHT.title + ".", headers={"Retry-After": "1"})
    if again is not None:
        running.add(place)
    try:
        metadata = metadata_text(body.metadata)
        opened = await open_payment(shop, body.package_id, user_id, metadata, again)
    finally:
        running.discard(place)
    payment_id = json.loads(opened.text)["payment_id"]
    headers = {"Location": f"/api/v1/bitcoin/payments/{payment_id}"}
    if opened.record is None:
        headers["Idempotency-Replayed"] = "true"
    return as_sent(opened.text, 201, headers)


def _for_whom(caller: Caller, asked: str | None) -> str:
    if caller.user_id is not None:
        if asked is not None:
            raise invalid(
                "user_id is not allowed with a user token: it acts for its own sub.",
                FieldError("is not allowed with a user token", pointer="/user_id"),
            )
        return caller.user_id
    if asked is None:
        raise invalid(
            "user_id is required with an API key.",
            FieldError("is required with an API key", pointer="/user_id"),
        )
    return asked


def _idempotency_key(request: web.Request) -> str | None:
    keys = request.headers.getall("Idempotency-Key", [])
    if not keys:
        return None
    key = keys[0]
    if len(keys) > 1 or not 1 <= len(key) <= 255 or not key.isprintable():
        raise invalid(
            "Idempotency-Key must be sent once, with 1 to 255 printable characters.",
            FieldError("must be 1 to 255 printable characters", parameter="Idempotency-Key"),
        )
    return key


async def find_payment(shop: Shop, payment_id: str) -> PaymentRecord:
    """The payment. Raises `Problem` 404."""
    record = None
    if payment_id.isascii() and payment_id.isalnum():
        record = await shop.database.read(payment_by_id, payment_id)
    if record is None:
        raise payment_not_found(payment_id)
    return record


def payment_not_found(payment_id: str) -> Problem:
    """404, also for a payment that the caller may not see."""
    shown = payment_id if payment_id.isascii() and payment_id.isalnum() else "with that id"
    return Problem(Kind.PAYMENT_NOT_FOUND, f"There is no payment {shown[:64]}.")


async def get_payment(request: web.Request) -> web.Response:
    """GET /payments/{id}: all for its user and for `payments:read`, the payer's view for others."""
    shop, caller = request.app[SHOP], await caller_of(request)
    record = await find_payment(shop, request.match_info["payment_id"])
    if caller.may(Scope.PAYMENTS_READ) or caller.is_user(record.user_id):
        return answer(payment_view(record, shop.public_url))
    return answer(payers_view(record, shop.public_url))


async def get_payments(request: web.Request) -> web.Response:
    """GET /payments, newest first."""
    shop, caller = request.app[SHOP], await caller_of(request)
    if caller.user_id is None:
        caller.require(Scope.PAYMENTS_READ)
    found = parameters(request, ("user_id", "status", "cursor", "limit"))
    if request.query.get("user_id") == "":
        # A variable that somebody forgot to fill in: without it the answer would be everybody's payments.
        raise wrong_parameter("user_id", "must not be empty; leave it out for all users")
    user_id = found.get("user_id", caller.user_id)
    if caller.user_id is not None and not caller.is_user(user_id or ""):
        raise Problem(Kind.USER_NOT_FOUND, "There is no such user.")
    status = None
    if "status" in found:
        try:
            status = Status(found["status"])
        except ValueError:
            known = ", ".join(status.value for status in Status)
            raise wrong_parameter("status", f"must be one of {known}") from None
    limit, before = limit_of(found), cursor_of(found)
    records = await shop.database.read(list_payments, user_id=user_id, status=status, before=before, limit=limit + 1)
    shown = records[:limit]
    return answer(
        {
            "payments": [payment_view(record, shop.public_url) for record in shown],
            "next_cursor": cursor_for(shown[-1].number) if len(records) > limit else None,
        }
    )


async def post_status(request: web.Request) -> web.Response:
    """POST /status: the payer's view."""
    shop = request.app[SHOP]
    body, _ = await read_model(request, AskStatus)
    record = await find_payment(shop, body.payment_id)
    return answer(payers_view(record, shop.public_url))


async def confirm_payment(request: web.Request) -> web.Response:
    """POST /confirm/{id}: ask the node now. Credits come from the watcher alone, once."""
    shop, caller = request.app[SHOP], await caller_of(request)
    caller.require_known()
    if request.body_exists:
        await read_model(request, Nothing)
    payment_id = request.match_info["payment_id"]
    record = await find_payment(shop, payment_id)
    if caller.user_id is None:
        caller.require(Scope.PAYMENTS_WRITE)
    elif not caller.is_user(record.user_id):
        raise payment_not_found(payment_id)
    if record.state.status in PAID:
        return _confirmed(shop, record, "Already processed")
    asked = await shop.check_soon()
    record = await find_payment(shop, payment_id)
    if record.state.status in PAID:
        return _confirmed(shop, record, "Payment confirmed")
    shown = payment_view(record, shop.public_url)
    raise Problem(Kind.NOT_CONFIRMED, _why_not(shown) + NOT_LOOKED[asked], payment=shown)


def _confirmed(shop: Shop, record: PaymentRecord, message: str) -> web.Response:
    return answer({**payment_view(record, shop.public_url), "message": message})


def _why_not(shown: dict[str, Any]) -> str:
    match shown["status"]:
        case Status.CONFIRMING:
            depth = f"{shown['confirmations']} of {shown['confirmations_required']}"
            return f"The full amount was seen and has {depth} confirmations."
        case Status.PENDING if shown["received_sat"]:
            return f"{shown['remaining_sat']} satoshi are still missing."
        case Status.PENDING:
            return "Nothing was seen on the payment's address yet."
        case Status.EXPIRED:
            return "The payment expired before the full amount came."
    return f"The payment is {shown['status']}: {shown['failure_reason']}."
