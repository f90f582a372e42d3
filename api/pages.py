"""Pages for people: plain HTML that works without scripts. The address of a page is its reload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.packages import package_json
from api.payments import find_payment
from api.problem import Kind
from api.shop import SHOP, Shop
from payments.model import Flag, Status
from payments.record import PaymentRecord
from payments.view import payers_view

_HERE = Path(__file__).parent
_STYLE = (_HERE / "static" / "till.css").read_bytes()

PAGES = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

_SENTENCES = {
    Status.PENDING: "Waiting for your payment.",
    Status.CONFIRMING: "Your payment was seen. Waiting for confirmations; you may close this page.",
    Status.CONFIRMED: "Paid. Your credits are on your account.",
    Status.FORWARDED: "Paid. Your credits are on your account.",
    Status.EXPIRED: "The time for this payment is over. If you have paid, it will still be seen; "
    "otherwise do not pay now.",
    Status.FAILED: "This payment needs the help of the shop. Please get in touch with it.",
}
_RELOAD_SECONDS = {
    Status.PENDING: 3,
    Status.CONFIRMING: 3,
    Status.CONFIRMED: 5,
    Status.EXPIRED: 30,
    Status.FAILED: 30,
}


def page(name: str, status: int = 200, **values: Any) -> web.Response:
    """A page from `templates/`."""
    text = PAGES.get_template(name).render(**values)
    return web.Response(text=text, status=status, content_type="text/html")


def sentence_for(record: PaymentRecord) -> str:
    """What the payer needs to know first."""
    state = record.state
    if Flag.UNDERPAID in state.flags and state.status is Status.PENDING:
        return "A part of the amount was seen. Please send the rest to the same address."
    return _SENTENCES[state.status]


async def landing(request: web.Request) -> web.Response:
    """`/` outside the demo: says what this is, and nothing about the shop."""
    return page("landing.html", network=request.app[SHOP].network)


async def checkout(request: web.Request) -> web.Response:
    """`/pay/{id}`."""
    shop = request.app[SHOP]
    record = await find_payment(shop, request.match_info["payment_id"])
    return page(
        "pay.html",
        payment=payers_view(record, shop.public_url),
        package=_package_name(shop, record.package_id),
        sentence=sentence_for(record),
        reload_seconds=_RELOAD_SECONDS.get(record.state.status),
        network=shop.network,
        demo=shop.demo is not None,
    )


def _package_name(shop: Shop, package_id: str) -> str:
    package = shop.package(package_id)
    return package.name if package is not None else package_id


async def style(request: web.Request) -> web.Response:
    """The one style sheet."""
    headers = {"Cache-Control": "public, max-age=300"}
    return web.Response(body=_STYLE, content_type="text/css", headers=headers)


async def problem_list(request: web.Request) -> web.Response:
    """`/docs/problems`: what each `type` of a problem means."""
    return page("problems.html", kinds=list(Kind))


def package_rows(shop: Shop) -> list[dict[str, Any]]:
    """Packages for a page."""
    return [package_json(package) for package in shop.packages]
