"""GET /packages."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from api.answer import answer
from api.shop import SHOP
from payments.amount import btc_text
from payments.model import Package


def package_json(package: Package) -> dict[str, Any]:
    """One package as everybody sees it."""
    return {
        "id": package.id,
        "name": package.name,
        "credits": package.credits,
        "price_sat": package.price_sat,
        "price_btc": btc_text(package.price_sat),
    }


async def list_packages(request: web.Request) -> web.Response:
    """What is on sale."""
    return answer({"packages": [package_json(p) for p in request.app[SHOP].packages]})
