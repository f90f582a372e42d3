"""The application: every route on one screen."""

from __future__ import annotations

from aiohttp import web

from api import credits, demo, events, health, metrics, packages, pages, payments, qr_codes
from api.body import MAX_BODY
from api.changes import CHANGES, Changes, stop_listening
from api.headers import secure
from api.key_use import KEY_USE, KeyUse
from api.problem import problems
from api.shop import SHOP, Shop

BASE = "/api/v1/bitcoin"


def make_app(shop: Shop) -> web.Application:
    """The service's HTTP side, for `api.server.serving`.

    Run `app[CHANGES].follow` and `app[KEY_USE].write_down` beside it.
    """
    app = web.Application(middlewares=[problems], client_max_size=MAX_BODY)
    app[SHOP] = shop
    app[CHANGES] = Changes()
    app[KEY_USE] = KeyUse()
    app[payments.RUNNING] = set()
    app.on_response_prepare.append(secure)
    app.on_shutdown.append(stop_listening)
    payment = BASE + "/payments/{payment_id}"
    user = BASE + "/users/{user_id}/credits"
    app.add_routes(
        [
            web.get(f"{BASE}/packages", packages.list_packages),
            web.post(f"{BASE}/payments", payments.create_payment),
            web.get(f"{BASE}/payments", payments.get_payments),
            web.get(payment, payments.get_payment),
            # A HEAD of a stream would wait for events that it may not send.
            web.get(f"{payment}/events", events.payment_events, allow_head=False),
            web.get(f"{payment}/qr.svg", qr_codes.qr_svg),
            web.get(f"{payment}/qr.png", qr_codes.qr_png),
            web.post(f"{BASE}/status", payments.post_status),
            web.post(BASE + "/confirm/{payment_id}", payments.confirm_payment),
            web.get(user, credits.get_credits),
            web.post(f"{user}/spend", credits.spend),
            web.get(f"{BASE}/events", events.get_events),
            web.get("/", demo.shop_page if shop.demo is not None else pages.landing),
            web.get("/pay/{payment_id}", pages.checkout),
            web.get("/docs/problems", pages.problem_list),
            web.get("/static/till.css", pages.style),
            web.get("/healthz", health.healthz),
            web.get("/readyz", health.readyz),
            web.get("/metrics", metrics.metrics),
        ]
    )
    if shop.demo is not None:
        app.add_routes(
            [
                web.post("/demo/buy", demo.buy),
                web.post("/demo/pay/{payment_id}", demo.pay),
                web.post("/demo/mine", demo.mine),
            ]
        )
    return app
