"""Answers of the API: JSON, never cached."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web


def answer(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return as_sent(json.dumps(body), status, headers)


def as_sent(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer whose JSON text is already there (a stored one)."""
    return web.Response(body=text.encode(), status=status, content_type="application/json", headers=headers)
