"""GET /healthz and /readyz."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from api.answer import answer
from api.shop import SHOP, Shop
from storage.errors import StorageError
from storage.till import health

_RECENT_SECONDS = 20.0
"""The watcher writes every five seconds, and a write is tried for three."""


async def healthz(request: web.Request) -> web.Response:
    """The process lives and answers. Says nothing about the node."""
    return answer({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """200 when everything works, else 503 with the reasons."""
    shop = request.app[SHOP]
    now = shop.now_ms()
    try:
        report = await shop.database.read(health)
    except StorageError as error:
        return _not_ready([_reason("database", str(error))])
    reasons = reasons_of(shop, report, now)
    # What the watcher says of itself stands in that very database, so it is old when nothing can be written.
    if (why := shop.database.cannot_write(_RECENT_SECONDS)) is not None:
        reasons = [_reason("database", why), *reasons]
    if reasons:
        return _not_ready(reasons)
    return answer({"status": "ready", "network": shop.network, "tip_height": report["tip_height"]})


def reasons_of(shop: Shop, report: dict[str, Any], now: int) -> list[dict[str, str]]:
    """Why the service is not ready: what the watcher said, and its silence.

    The watcher's report holds `reasons`, a list of `{"code", "detail"}`; empty when all is well.
    """
    if not report["health_at"]:
        return [_reason("starting", "The watcher has not reported yet.")]
    silent = now - int(report["health_at"])
    if silent > shop.stale_after_ms:
        text = f"The watcher has not reported for {silent // 1000} seconds; is it running?"
        return [_reason("watcher", text)]
    return [
        _reason(str(item.get("code", "watcher")), str(item.get("detail", ""))) for item in report.get("reasons", [])
    ]


def _reason(code: str, detail: str) -> dict[str, str]:
    return {"code": code, "detail": detail}


def _not_ready(reasons: list[dict[str, str]]) -> web.Response:
    body = {"status": "not ready", "reasons": reasons}
    return answer(body, status=503, headers={"Retry-After": "5"})
