"""Reads a JSON body strictly: one meaning or none.

Duplicate keys, NaN, numbers beyond double range, bad UTF-8 and deep nesting are refused as 400;
what is JSON but not what was asked for is 422 with a pointer to each wrong field.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from api.problem import FieldError, Kind, Problem, invalid

MAX_BODY = 64 * 1024
"""Bytes; the application's client_max_size."""

BODY_SECONDS = 10
"""A body that takes longer is given up: slow senders would fill up the service."""

_MAX_DEPTH = 32

M = TypeVar("M", bound=BaseModel)


async def read_model(request: web.Request, model: type[M]) -> tuple[M, bytes]:
    """The body as `model`, and its bytes. Raises `Problem` 400, 408, 413, 415 or 422."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        # A few bytes can unpack to gigabytes.
        raise Problem(Kind.MEDIA_TYPE, "Send the body without Content-Encoding.")
    if "Content-Type" in request.headers and request.content_type != "application/json":
        raise Problem(
            Kind.MEDIA_TYPE,
            f"The body is {request.content_type}; send Content-Type: application/json.",
        )
    if (request.content_length or 0) > MAX_BODY:
        raise Problem(Kind.TOO_LARGE, Kind.TOO_LARGE.mend)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await request.read()
    except TimeoutError:
        raise Problem(Kind.TIMEOUT, Kind.TIMEOUT.mend, headers={"Connection": "close"}) from None
    return check(parse(raw), model), raw


def parse(raw: bytes) -> Any:
    """JSON of any shape. Raises `Problem` 400."""
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        # A lone surrogate is a str in Python, and nothing that can be stored or sent.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem(Kind.MALFORMED, f"The body is not JSON: {error.msg} ({where}).") from None
    except UnicodeError:
        raise Problem(Kind.MALFORMED, "The body is not valid UTF-8 text.") from None
    except RecursionError:
        raise Problem(Kind.MALFORMED, "The body is nested too deeply.") from None
    except ValueError as error:
        raise Problem(Kind.MALFORMED, f"The body is not JSON: {error}.") from None
    if _depth(value) > _MAX_DEPTH:
        raise Problem(Kind.MALFORMED, f"The body is nested deeper than {_MAX_DEPTH} levels.")
    return value


def check(value: Any, model: type[M]) -> M:
    """`value` as `model`. Raises `Problem` 422."""
    if not isinstance(value, dict):
        error = FieldError("must be a JSON object", pointer="")
        raise invalid("The body must be a JSON object.", error)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = [
            FieldError(_sentence(dict(item)), pointer=pointer(item["loc"]))
            for item in error.errors(include_url=False, include_input=False)
        ]
    names = ", ".join(dict.fromkeys(item.pointer or "/" for item in found))
    raise invalid(f"Not right: {names}.", *found)


def pointer(loc: Iterable[str | int]) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in loc)


_SENTENCES = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "dict_type": "must be an object",
}


def _sentence(item: dict[str, Any]) -> str:
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    return _SENTENCES.get(item["type"]) or str(item["msg"])


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has the same key twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    # Numbers with a point occur in metadata only; amounts and credits are whole numbers.
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _depth(value: Any) -> int:
    deepest, level = 0, [value]
    while level:
        deepest += 1
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = below
    return deepest
