"""Who may do what: every route with every kind of credentials."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from storage.api_keys import revoke_key
from tests.api.till import BASE, TOKEN_SECRET, Till, bearer

# What each caller gets; "own" is the token of the payment's user, "other" that of somebody else.
MATRIX = {
    ("POST", "payments"): {"nobody": 401, "own": 201, "other": 201, "payments:write": 201, "admin": 201},
    ("GET", "payments"): {"nobody": 401, "own": 200, "other": 200, "payments:read": 200, "admin": 200},
    ("GET", "payments/{id}"): {"nobody": 200, "own": 200, "other": 200, "*": 200},
    ("POST", "confirm/{id}"): {"nobody": 401, "own": 409, "other": 404, "payments:write": 409, "admin": 409},
    ("GET", "users/u1/credits"): {"nobody": 401, "own": 200, "other": 404, "credits:read": 200, "admin": 200},
    ("POST", "users/u1/credits/spend"): {
        "nobody": 401,
        "own": 403,
        "other": 404,
        "credits:write": 409,
        "admin": 409,
    },
    ("GET", "events"): {"nobody": 401, "own": 403, "other": 403, "payments:read": 200, "admin": 200},
    ("GET", "packages"): {"nobody": 200, "own": 200, "other": 200, "*": 200},
    ("GET", "payments/{id}/qr.svg"): {"nobody": 200, "own": 200, "other": 200, "*": 200},
}
CALLERS = (
    "nobody",
    "own",
    "other",
    "payments:read",
    "payments:write",
    "credits:read",
    "credits:write",
    "admin",
)


@pytest.mark.parametrize(("method", "path"), MATRIX)
async def test_matrix(till: Till, method: str, path: str) -> None:
    payment = await till.create("u1")
    expected = MATRIX[method, path]
    url = f"{BASE}/{path.replace('{id}', payment['payment_id'])}"
    for caller in CALLERS:
        if caller in ("own", "other"):
            headers = till.token("u1" if caller == "own" else "u2")
        else:
            headers = {} if caller == "nobody" else await till.key(caller)
        body: dict[str, Any] | None = None
        if path == "payments" and method == "POST":
            body = {"package_id": "small"} | ({} if caller in ("own", "other") else {"user_id": "u3"})
        elif path.endswith("spend"):
            body = {"amount": 1, "reference": "r"}
        response = await till.client.request(method, url, json=body, headers=headers)
        wanted = expected.get(caller, expected.get("*", 403))
        assert response.status == wanted, (caller, await response.text())
        if wanted in (401, 403):
            assert response.headers["WWW-Authenticate"].startswith("Bearer") or wanted == 403
            assert response.content_type == "application/problem+json"


def tokens() -> dict[str, str]:
    now = int(time.time())
    good: dict[str, Any] = {"sub": "u1", "exp": now + 60}
    return {
        "expired": jwt.encode({**good, "exp": now - 1}, TOKEN_SECRET, "HS256"),
        "no exp": jwt.encode({"sub": "u1"}, TOKEN_SECRET, "HS256"),
        "no sub": jwt.encode({"exp": now + 60}, TOKEN_SECRET, "HS256"),
        "empty sub": jwt.encode({**good, "sub": ""}, TOKEN_SECRET, "HS256"),
        "sub with line break": jwt.encode({**good, "sub": "u1\n"}, TOKEN_SECRET, "HS256"),
        "not yet": jwt.encode({**good, "nbf": now + 60}, TOKEN_SECRET, "HS256"),
        "other secret": jwt.encode(good, "another secret that is long enough too", "HS256"),
        "other algorithm": jwt.encode(good, TOKEN_SECRET * 2, "HS512"),
        "unsigned": jwt.encode(good, "", "none"),
        "garbage": "abc.def.ghi",
        "unknown key": "ntk_0123456789ab_" + "0" * 64,
        "short key": "ntk_x",
        "key of zeros": "ntk__",
        "odd letters": "ntk_é_é",
    }


@pytest.mark.parametrize("case", tokens())
async def test_bad_credentials_are_401(till: Till, case: str) -> None:
    payment = await till.create("u1")
    credentials = tokens()[case]
    for path in ("payments", f"payments/{payment['payment_id']}"):
        response = await till.client.get(f"{BASE}/{path}", headers=bearer(credentials))
        problem = await response.json(content_type="application/problem+json")
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="nodetill", error="invalid_token"'
        assert credentials not in str(problem)


async def test_a_site_whose_clock_is_ahead(till: Till) -> None:
    """When a token was made decides nothing: only until when it is good."""
    token = till.token("u1", iat=int(time.time()) + 50)
    assert (await till.client.get(f"{BASE}/payments", headers=token)).status == 200


@pytest.mark.parametrize("header", ["Basic dTpw", "Bearer", "Bearer ", "ntk_x", "Token abc"])
async def test_other_schemes_are_401(till: Till, header: str) -> None:
    response = await till.client.get(f"{BASE}/payments", headers={"Authorization": header})
    assert response.status == 401


async def test_a_revoked_key_is_401_at_once(till: Till) -> None:
    headers = await till.key("payments:read")
    assert (await till.client.get(f"{BASE}/payments", headers=headers)).status == 200
    key_id = headers["Authorization"].split("_")[1]
    wrong = headers["Authorization"][:-1] + ("0" if headers["Authorization"][-1] != "0" else "1")
    response = await till.client.get(f"{BASE}/payments", headers={"Authorization": wrong})
    assert response.status == 401
    await till.database.write(revoke_key, key_id, 2)
    assert (await till.client.get(f"{BASE}/payments", headers=headers)).status == 401


async def test_an_audience_is_not_looked_at(till: Till) -> None:
    headers = till.token("u1", aud="shop.example.org")
    assert (await till.client.get(f"{BASE}/payments", headers=headers)).status == 200


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 409), (b"{}", 409), (b'{"x": 1}', 422), (b"{bad", 400), (b"[]", 422)]
)
async def test_confirm_takes_no_field(till: Till, body: bytes, status: int) -> None:
    payment_id = (await till.create("u1"))["payment_id"]
    headers = {**till.token("u1"), "Content-Type": "application/json"}
    response = await till.client.post(f"{BASE}/confirm/{payment_id}", data=body, headers=headers)
    assert response.status == status
