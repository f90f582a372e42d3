"""What clients get wrong: each answer is a problem that says what, and nothing is made of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from regtest.conftest import MakeTill
from regtest.http_json import Answer
from regtest.node import RegtestNode
from regtest.service import RunningService

GOOD = {"package_id": "small", "user_id": "u1"}


@pytest.fixture(scope="module")
def till(node: RegtestNode, make_till: MakeTill) -> Iterator[RunningService]:
    service = make_till(node, settings={"payments": {"max_open_per_user": 3}})
    yield service
    service.stop()


def problem(answer: Answer, status: int, *pointers: str) -> dict[str, Any]:
    """The problem document of an answer, checked against RFC 9457 and the contract."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
    shown: dict[str, Any] = answer.json()
    assert (shown["status"], type(shown["type"]), type(shown["title"])) == (status, str, str)
    assert shown["detail"]
    assert b"Traceback" not in answer.body
    assert b"<html" not in answer.body.lower()
    assert [error["pointer"] for error in shown.get("errors", []) if "pointer" in error] == list(pointers)
    return shown


MALFORMED = {
    "nothing": b"",
    "cut off": b'{"package_id": "small", "user_id": ',
    "not JSON": b"package_id=small",
    "single quotes": b"{'package_id': 'small'}",
    "a NaN": b'{"package_id": "small", "user_id": "u1", "metadata": {"x": NaN}}',
    "a key twice": b'{"package_id": "small", "package_id": "large", "user_id": "u1"}',
    "latin-1": '{"package_id": "small", "user_id": "ü"}'.encode("latin-1"),
    "too deep": b'{"package_id": "small", "user_id": "u1", "metadata": ' + b"[" * 5000 + b"]" * 5000 + b"}",
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_json_is_400(till: RunningService, raw: bytes) -> None:
    problem(till.ask("POST", "payments", raw=raw), 400)


WRONG: dict[str, tuple[Any, list[str]]] = {
    "a list": ([GOOD], [""]),
    "a number": (17, [""]),
    "nothing in it": ({}, ["/package_id"]),
    "package is a number": ({**GOOD, "package_id": 1}, ["/package_id"]),
    "package is null": ({**GOOD, "package_id": None}, ["/package_id"]),
    "user is a list": ({**GOOD, "user_id": ["u1"]}, ["/user_id"]),
    "user is empty": ({**GOOD, "user_id": ""}, ["/user_id"]),
    "user with a line break": ({**GOOD, "user_id": "a\nb"}, ["/user_id"]),
    "user is endless": ({**GOOD, "user_id": "u" * 5000}, ["/user_id"]),
    "metadata is a text": ({**GOOD, "metadata": "x"}, ["/metadata"]),
    "an amount of one's own": ({**GOOD, "amount_sat": 1}, ["/amount_sat"]),
    "a typing error": ({**GOOD, "packageid": "small"}, ["/packageid"]),
    "two at once": ({"package_id": 1, "user_id": 2}, ["/package_id", "/user_id"]),
    "without a user": ({"package_id": "small"}, ["/user_id"]),
}


@pytest.mark.parametrize(("body", "pointers"), WRONG.values(), ids=WRONG.keys())
def test_wrong_fields_are_422_with_pointers(till: RunningService, body: Any, pointers: list[str]) -> None:
    problem(till.ask("POST", "payments", body), 422, *pointers)


AMOUNTS: list[Any] = [1.0, 1.5, "1", "1.0", True, None, 0, -1, 10**30, [1]]


@pytest.mark.parametrize("amount", AMOUNTS, ids=repr)
def test_amounts_are_whole_numbers(till: RunningService, amount: object) -> None:
    answer = till.ask("POST", "users/u1/credits/spend", {"amount": amount, "reference": "r"})
    problem(answer, 422, "/amount")


def test_an_oversize_body_is_413(till: RunningService) -> None:
    raw = json.dumps({**GOOD, "metadata": {"x": "y" * 200_000}}).encode()
    problem(till.ask("POST", "payments", raw=raw), 413)


def test_another_media_type_is_415(till: RunningService) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    problem(till.ask("POST", "payments", raw=b"package_id=small", headers=form), 415)


def test_unknown_things_are_404(till: RunningService) -> None:
    problem(till.ask("POST", "payments", {**GOOD, "package_id": "giant"}), 404)
    for path in ("payments/" + "0" * 32, "payments/x", "payments/%2e%2e%2fetc", "payments/' OR 1=1", "nothing"):
        problem(till.ask("GET", path.replace(" ", "%20"), key=None), 404)
    problem(till.ask("POST", "status", {"payment_id": "f" * 32}, key=None), 404)
    problem(till.ask("POST", f"confirm/{'f' * 32}"), 404)
    problem(till.ask("GET", f"payments/{'f' * 32}/qr.svg", key=None), 404)
    problem(till.ask("GET", f"payments/{'f' * 32}/events", key=None), 404)


def test_a_wrong_method_is_405(till: RunningService) -> None:
    answer = till.ask("DELETE", "payments")
    problem(answer, 405)
    assert set(answer.headers["allow"].replace(" ", "").split(",")) >= {"GET", "POST"}


def test_without_a_key_is_401(till: RunningService) -> None:
    for method, path, body in (
        ("POST", "payments", GOOD),
        ("GET", "payments", None),
        ("GET", "events", None),
        ("GET", "users/u1/credits", None),
        ("POST", "users/u1/credits/spend", {"amount": 1, "reference": "r"}),
        ("POST", f"confirm/{'f' * 32}", None),
    ):
        answer = till.ask(method, path, body, key=None)
        problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_wrong_credentials_are_401(till: RunningService) -> None:
    now = int(time.time())
    good = till.user_token_secret
    claims = {"sub": "u1", "exp": now + 60}
    tokens = {
        "unknown key": "ntk_000000000000_" + "0" * 64,
        "half a key": "ntk_",
        "changed key": till.key[:-1] + ("0" if till.key[-1] != "0" else "1"),
        "nonsense": "a.b.c",
        "another secret": jwt.encode(claims, "x" * 32, "HS256"),
        "another algorithm": jwt.encode(claims, good, "HS512"),
        "no signature": jwt.encode(claims, "", "none"),
        "expired": jwt.encode({**claims, "exp": now - 60}, good, "HS256"),
        "for ever": jwt.encode({"sub": "u1"}, good, "HS256"),
        "nobody's": jwt.encode({"exp": now + 60}, good, "HS256"),
    }
    for name, token in tokens.items():
        answer = till.ask("GET", "users/u1/credits", key=token)
        assert (name, answer.status) == (name, 401)
        problem(answer, 401)
    problem(till.ask("GET", "users/u1/credits", key=None, headers={"Authorization": "Basic dTpw"}), 401)


def test_a_missing_scope_is_403(till: RunningService) -> None:
    reader, writer = till.new_key("payments:read"), till.new_key("payments:write")
    problem(till.ask("POST", "payments", GOOD, key=reader), 403)
    problem(till.ask("GET", "events", key=writer), 403)
    problem(till.ask("GET", "payments", key=writer), 403)
    problem(till.ask("GET", "users/u1/credits", key=reader), 403)
    problem(till.ask("POST", "users/u1/credits/spend", {"amount": 1, "reference": "r"}, key=reader), 403)
    assert till.ask("GET", "events", key=till.new_key("admin")).status == 200


def test_what_is_somebody_elses_is_404(till: RunningService) -> None:
    mine = till.post("payments", {"package_id": "small"}, key=till.user_token("me"), status=201)
    other = till.user_token("you")
    problem(till.ask("POST", f"confirm/{mine['payment_id']}", key=other), 404)
    problem(till.ask("GET", "users/me/credits", key=other), 404)
    problem(till.ask("GET", "payments?user_id=me", key=other), 404)
    problem(till.ask("POST", "payments", {**GOOD, "user_id": "me"}, key=other), 422, "/user_id")
    problem(till.ask("POST", "users/you/credits/spend", {"amount": 1, "reference": "r"}, key=other), 403)


def test_wrong_parameters_are_422(till: RunningService) -> None:
    for query in ("limit=0", "limit=1e3", "limit=-1", "limit=101", "status=paid", "cursor=abc", "order=asc"):
        answer = till.ask("GET", f"payments?{query}")
        problem(answer, 422)
        assert answer.json()["errors"][0]["parameter"] == query.split("=")[0]
    problem(till.ask("GET", "events?after=-1"), 422)


def test_too_many_open_payments_are_429(till: RunningService) -> None:
    for _ in range(3):
        till.create("small", "hoarder")
    problem(till.ask("POST", "payments", {**GOOD, "user_id": "hoarder"}), 429)
    till.create("small", "somebody else")


def test_nothing_came_of_any_of_it(till: RunningService) -> None:
    assert till.get("payments?user_id=u1")["payments"] == []
    assert till.entries("u1") == []
    assert [line for line in till.log() if line["level"] in ("error", "critical") or "exception" in line] == []
