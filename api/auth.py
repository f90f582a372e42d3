"""Bearer credentials: API keys `ntk_<id>_<secret>` and the site's user tokens (JWT, HS256)."""

from __future__ import annotations

import hmac

import jwt
from aiohttp import web

from api.caller import Caller, unauthenticated
from api.key_use import KEY_USE
from api.schema import check_name
from api.shop import SHOP, Shop
from storage.api_keys import ApiKey, find_key, secret_hash

_NOT_VALID = "The API key is unknown or revoked."


async def caller_of(request: web.Request) -> Caller:
    """Who is asking; nobody when there is no Authorization header. Raises `Problem` 401."""
    headers = request.headers.getall("Authorization", [])
    if not headers:
        return Caller()
    scheme, _, credentials = headers[0].strip().partition(" ")
    credentials = credentials.strip()
    if len(headers) > 1 or scheme.lower() != "bearer" or not credentials:
        raise unauthenticated("Write the header as `Authorization: Bearer <key>`.", "invalid_request")
    shop = request.app[SHOP]
    if credentials.startswith("ntk_"):
        key = await _of_key(shop, credentials)
        request.app[KEY_USE].note(key.id, shop.now_ms())
        return Caller(key_id=key.id, scopes=key.scopes)
    return _of_token(shop, credentials)


async def _of_key(shop: Shop, credentials: str) -> ApiKey:
    parts = credentials.split("_", 2)
    if len(parts) != 3 or not credentials.isascii() or "\0" in credentials:
        raise unauthenticated(_NOT_VALID, "invalid_token")
    key = await shop.database.read(find_key, parts[1])
    # Only hashes are compared, in constant time; an unknown id is no different from a wrong secret.
    expected = key.secret_hash if key is not None else bytes(32)
    good = hmac.compare_digest(secret_hash(parts[2]), expected)
    if key is None or not good or key.revoked_at is not None:
        raise unauthenticated(_NOT_VALID, "invalid_token")
    return key


def _of_token(shop: Shop, credentials: str) -> Caller:
    if shop.user_token_secret is None:
        raise unauthenticated(
            "This is no API key, and user tokens are not set up here (api.user_token_secret).",
            "invalid_token",
        )
    try:
        # One fixed algorithm: what the token itself names is never followed. The secret is for this
        # service alone, so an audience that the site likes to add is not looked at. Nor is when it was
        # made: the site's clock may be a second ahead of ours.
        claims = jwt.decode(
            credentials,
            shop.user_token_secret,
            algorithms=["HS256"],
            options={"require": ["exp", "sub"], "verify_aud": False, "verify_iat": False},
        )
        user_id = check_name(claims["sub"])
    except jwt.ExpiredSignatureError:
        raise unauthenticated("The user token has expired.", "invalid_token") from None
    except jwt.MissingRequiredClaimError as error:
        raise unauthenticated(f"The user token has no `{error.claim}`.", "invalid_token") from None
    except (jwt.InvalidTokenError, ValueError):
        raise unauthenticated("The user token is not valid.", "invalid_token") from None
    return Caller(user_id=user_id)
