"""GET /payments/{id}/qr.svg and qr.png: made when somebody looks, not when a payment is made."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from aiohttp import web

from api import qr
from api.payments import find_payment
from api.shop import SHOP
from payments.uri import payment_uri, qr_text


async def _draw(request: web.Request, make: Callable[[str], bytes], content_type: str) -> web.Response:
    shop = request.app[SHOP]
    record = await find_payment(shop, request.match_info["payment_id"])
    text = qr_text(payment_uri(record.address, record.facts.terms.amount_sat))
    tag = hashlib.sha256(text.encode()).hexdigest()[:16]
    # Address and amount of a payment never change, so neither does its symbol.
    headers = {"Cache-Control": "private, max-age=31536000, immutable", "ETag": f'"{tag}"'}
    if any(etag.value == tag for etag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    body = await asyncio.to_thread(make, text)
    return web.Response(body=body, content_type=content_type, headers=headers)


async def qr_svg(request: web.Request) -> web.Response:
    """The symbol as SVG."""
    return await _draw(request, qr.svg, "image/svg+xml")


async def qr_png(request: web.Request) -> web.Response:
    """The symbol as PNG."""
    return await _draw(request, qr.png, "image/png")
