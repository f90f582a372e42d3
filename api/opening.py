"""Opens a payment: for POST /payments, and for the button of the demo shop."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any, NamedTuple

from api.index_floor import CatchingUp
from api.problem import Kind, Problem
from api.shop import Shop
from payments.amount import btc_text
from payments.record import PaymentRecord
from payments.view import payment_view
from storage.idempotency import KeyReused, StoredAnswer, store_answer, stored_answer
from storage.payments import NewPayment, TooManyOpen, create
from storage.till import step_over
from storage.tx import Tx

log = logging.getLogger("nodetill")
_CATCHING_UP = (
    "nodetill reads the blocks that came while it was away; payments can be opened once it has read the last."
)
_OTHER_BODY = "This Idempotency-Key was sent before with another body."


class Repeatable(NamedTuple):
    """A request that may come again: `key` is the Idempotency-Key of this `caller`."""

    caller: str
    key: str
    request_hash: str


class Opened(NamedTuple):
    """The answer's text; `record` is None when the answer is a stored one."""

    text: str
    record: PaymentRecord | None


def request_hash(body: dict[str, Any]) -> str:
    """Two bodies that mean the same have the same hash: order and spaces do not count."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def open_in(tx: Tx, shop: Shop, wanted: NewPayment, again: Repeatable | None, now: int, floor: int) -> Opened:
    """Transaction body: the payment, its event, and the answer under its key, or none of them. Its address has
    index `floor` or a higher one."""
    if again is not None and (stored := stored_answer(tx, *again)) is not None:
        return Opened(stored.body, None)
    if floor:
        step_over(tx, shop.keychain_id, floor)
    record = create(tx, wanted, shop.keychain_id, shop.derive, now)
    text = json.dumps(payment_view(record, shop.public_url))
    if again is not None:
        store_answer(tx, *again, StoredAnswer(201, text), now)
    return Opened(text, record)


async def _answered(shop: Shop, again: Repeatable) -> StoredAnswer | None:
    try:
        return await shop.database.read(stored_answer, *again)
    except KeyReused:
        raise Problem(Kind.KEY_REUSED, _OTHER_BODY) from None


async def open_payment(
    shop: Shop, package_id: str, user_id: str, metadata: str, again: Repeatable | None = None
) -> Opened:
    """Open a payment of `package_id` for `user_id`. Raises `Problem` 404, 422 or 429."""
    package = shop.package(package_id)
    if package is None and again is not None and (stored := await _answered(shop, again)) is not None:
        return Opened(stored.body, None)  # it was on sale when the request first came
    if package is None:
        known = ", ".join(package.id for package in shop.packages)
        raise Problem(Kind.PACKAGE_NOT_FOUND, f"There is no package {package_id}; on sale are: {known}.")
    try:
        floor = await shop.index_floor.get(shop.database, shop.keychain_id, shop.check_now)
    except CatchingUp:
        raise Problem(Kind.UNAVAILABLE, _CATCHING_UP, headers={"Retry-After": "5"}) from None
    now = shop.now_ms()
    wanted = NewPayment(
        user_id=user_id,
        package_id=package.id,
        metadata=metadata,
        terms=shop.offer.terms(package, now),
        max_open=shop.offer.max_open_per_user,
    )
    try:
        opened = await shop.database.write(open_in, shop, wanted, again, now, floor)
    except KeyReused:
        raise Problem(Kind.KEY_REUSED, _OTHER_BODY) from None
    except TooManyOpen as error:
        # A window is what frees a place, so waiting for a part of it is a fair guess.
        wait = str(max(1, min(60, shop.offer.window_ms // 1000)))
        raise Problem(Kind.TOO_MANY_OPEN, str(error), headers={"Retry-After": wait}) from None
    if opened.record is not None:
        log.info(
            "Created Bitcoin payment %s for user %s: %s BTC",
            opened.record.id,
            user_id,
            btc_text(package.price_sat),
        )
    return opened
