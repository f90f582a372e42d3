"""Query parameters, read as strictly as bodies: nothing unknown, nothing twice."""

from __future__ import annotations

import base64
import binascii
import re

from aiohttp import web

from api.problem import FieldError, Problem, invalid

MAX_LIMIT = 100
DEFAULT_LIMIT = 50
_BIGGEST = 2**62


def parameters(request: web.Request, known: tuple[str, ...]) -> dict[str, str]:
    """The query's non-empty parameters. Raises `Problem` 422."""
    found: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            raise wrong_parameter(name[:40], f"is not a known parameter; known are {', '.join(known)}")
        if name in found:
            raise wrong_parameter(name, "may be given once")
        if not value.isprintable():
            raise wrong_parameter(name, "must be printable text")
        if value:
            found[name] = value
    return found


def limit_of(found: dict[str, str]) -> int:
    """`limit`, 1 to 100, 50 when it is not given."""
    return whole(found, "limit", default=DEFAULT_LIMIT, least=1, most=MAX_LIMIT)


def whole(found: dict[str, str], name: str, *, default: int, least: int, most: int = _BIGGEST) -> int:
    """A whole number. Raises `Problem` 422."""
    text = found.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,19}", text) or not least <= int(text) <= most:
        size = f"{least} to {most}" if most < _BIGGEST else f"{least} or more"
        raise wrong_parameter(name, f"must be a whole number, {size}")
    return int(text)


def cursor_of(found: dict[str, str]) -> int | None:
    """The row number inside `cursor`. Raises `Problem` 422."""
    text = found.get("cursor")
    if text is None:
        return None
    try:
        inside = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if re.fullmatch(rb"n[0-9]{1,18}", inside):
            return int(inside[1:])
    except (binascii.Error, ValueError):
        pass
    raise wrong_parameter("cursor", "is not one of ours; send next_cursor of the answer before, unchanged")


def cursor_for(number: int) -> str:
    """An opaque cursor that goes on below the row `number`."""
    return base64.urlsafe_b64encode(b"n%d" % number).decode().rstrip("=")


def wrong_parameter(name: str, detail: str) -> Problem:
    """422 for one query parameter."""
    return invalid(f"The query parameter {name} {detail}.", FieldError(detail, parameter=name))
