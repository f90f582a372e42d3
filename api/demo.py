"""The demo's shop on `/`: buy, pay with one press, mine. Only on a private regtest."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from aiohttp import web

from api.opening import open_payment
from api.pages import package_rows, page
from api.payments import find_payment
from api.problem import Kind, Problem
from api.shop import SHOP, DemoNode, Shop
from payments.view import payment_view
from storage.credits import balance_of
from storage.payments import list_payments

BUYER = "demo"
"""The one user of the demo."""

_SHOWN = 10


def _node(shop: Shop) -> DemoNode:
    if shop.demo is None:
        raise Problem(Kind.NOT_FOUND, "This is no demo.")
    return shop.demo


def _own_form(request: web.Request) -> None:
    """Refuses forms of other sites: a page anywhere could post to a till on this machine."""
    origin = request.headers.get("Origin")
    elsewhere = request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")
    if elsewhere or (origin is not None and urlsplit(origin).netloc != request.host):
        raise Problem(Kind.FORBIDDEN, "This form was not sent from this page.")


async def shop_page(request: web.Request) -> web.Response:
    """`/` in the demo."""
    shop = request.app[SHOP]
    records = await shop.database.read(list_payments, user_id=BUYER, status=None, before=None, limit=_SHOWN)
    return page(
        "shop.html",
        packages=package_rows(shop),
        payments=[payment_view(record, shop.public_url) for record in records],
        balance=await shop.database.read(balance_of, BUYER),
        buyer=BUYER,
        network=shop.network,
    )


async def buy(request: web.Request) -> web.Response:
    """The Buy button."""
    _own_form(request)
    shop = request.app[SHOP]
    _node(shop)
    form = await request.post()
    opened = await open_payment(shop, str(form.get("package_id", "")), BUYER, "{}")
    raise web.HTTPSeeOther(f"/pay/{json.loads(opened.text)['payment_id']}")


async def pay(request: web.Request) -> web.Response:
    """The Pay button: exactly what is still missing."""
    _own_form(request)
    shop = request.app[SHOP]
    node = _node(shop)
    record = await find_payment(shop, request.match_info["payment_id"])
    if record.state.remaining_sat > 0:
        await node.pay(record.address, record.state.remaining_sat)
        await shop.check_soon()
    raise web.HTTPSeeOther(f"/pay/{record.id}")


async def mine(request: web.Request) -> web.Response:
    """The Mine button: one block."""
    _own_form(request)
    shop = request.app[SHOP]
    await _node(shop).mine(1)
    await shop.check_soon()
    form = await request.post()
    back = str(form.get("payment_id", ""))
    raise web.HTTPSeeOther(f"/pay/{(await find_payment(shop, back)).id}" if back else "/")
