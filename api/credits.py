"""Credits over HTTP: read a statement, spend."""

from __future__ import annotations

from aiohttp import web

from api.answer import answer
from api.auth import caller_of
from api.body import read_model
from api.caller import Caller, Scope
from api.problem import FieldError, Kind, Problem, invalid
from api.query import cursor_for, cursor_of, limit_of, parameters
from api.schema import SpendCredits, check_name
from api.shop import SHOP
from storage.credits import balance_of, entries_of
from storage.spends import InsufficientCredits, ReferenceReused, spend_credits
from storage.tx import Tx


def _user_of(request: web.Request, caller: Caller) -> str:
    """The user in the path, if this caller may know of them. Raises `Problem` 401 or 404."""
    caller.require_known()
    user_id: str = request.match_info["user_id"]
    try:
        check_name(user_id)
    except ValueError:
        user_id = ""
    if not user_id or (caller.user_id is not None and not caller.is_user(user_id)):
        raise Problem(Kind.USER_NOT_FOUND, "There is no such user.")
    return user_id


def _statement(tx: Tx, user_id: str, before: int | None, limit: int) -> tuple[int, list[dict[str, object]]]:
    return balance_of(tx, user_id), entries_of(tx, user_id, before, limit)


async def get_credits(request: web.Request) -> web.Response:
    """GET /users/{user_id}/credits, newest entry first."""
    shop, caller = request.app[SHOP], await caller_of(request)
    user_id = _user_of(request, caller)
    if caller.user_id is None:
        caller.require(Scope.CREDITS_READ)
    found = parameters(request, ("cursor", "limit"))
    limit, before = limit_of(found), cursor_of(found)
    balance, entries = await shop.database.read(_statement, user_id, before, limit + 1)
    shown = entries[:limit]
    more = len(entries) > limit
    return answer(
        {
            "user_id": user_id,
            "balance": balance,
            "entries": shown,
            "next_cursor": cursor_for(int(str(shown[-1]["id"]))) if more else None,
        }
    )


async def spend(request: web.Request) -> web.Response:
    """POST /users/{user_id}/credits/spend: once for a reference, whatever is repeated."""
    shop, caller = request.app[SHOP], await caller_of(request)
    user_id = _user_of(request, caller)
    caller.require(Scope.CREDITS_WRITE)
    body, _ = await read_model(request, SpendCredits)
    try:
        done = await shop.database.write(spend_credits, user_id, body.amount, body.reference, shop.now_ms())
    except InsufficientCredits as error:
        raise Problem(Kind.INSUFFICIENT, str(error), balance=error.balance) from None
    except ReferenceReused:
        raise invalid(
            "This reference was used for another amount; each spend needs its own.",
            FieldError("was used for another amount", pointer="/reference"),
        ) from None
    headers = {"Idempotency-Replayed": "true"} if done.repeated else {}
    return answer({"user_id": user_id, "balance": done.balance, "entry": done.entry}, headers=headers)
