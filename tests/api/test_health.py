"""Health, figures, pages, and the address it all listens on."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from aiohttp import ClientSession, web
from prometheus_client.parser import text_string_to_metric_families

from api.server import CannotListen, serving
from node_watcher.meter import Meter
from storage.errors import DatabaseUnusable
from storage.till import report_health
from storage.tx import Tx
from tests.api.till import BASE, Till


async def reported(till: Till, health: dict[str, Any], ago_ms: int = 0) -> tuple[int, dict[str, Any]]:
    now = time.time_ns() // 1_000_000 - ago_ms
    await till.database.write(report_health, health, now, now)
    response = await till.client.get("/readyz")
    return response.status, await response.json()


async def test_ready_or_why_not(till: Till) -> None:
    assert (await till.client.get("/healthz")).status == 200
    response = await till.client.get("/readyz")
    assert response.status == 503
    assert (await response.json())["reasons"][0]["code"] == "starting"
    down = {"code": "node-down", "detail": "The node does not answer at http://127.0.0.1:18443."}
    status, body = await reported(till, {"reasons": [down]})
    assert (status, body["reasons"]) == (503, [down])
    status, body = await reported(till, {"reasons": []})
    assert (status, body["status"], body["tip_height"]) == (200, "ready", 100)
    status, body = await reported(till, {"reasons": []}, ago_ms=600_000)
    assert (status, body["reasons"][0]["code"]) == (503, "watcher")


async def test_not_ready_while_nothing_can_be_written(till: Till) -> None:
    """The watcher cannot write that either: its last word was that all is well."""

    def onto_a_full_disk(tx: Tx) -> None:
        raise DatabaseUnusable("database or disk is full")

    assert (await reported(till, {"reasons": []}))[0] == 200
    with pytest.raises(DatabaseUnusable):
        await till.database.write(onto_a_full_disk)
    response = await till.client.get("/readyz")
    assert response.status == 503
    assert (await response.json())["reasons"] == [{"code": "database", "detail": "database or disk is full"}]
    assert (await reported(till, {"reasons": []}))[0] == 200


async def test_creates_work_while_not_ready(till: Till) -> None:
    await reported(till, {"reasons": [{"code": "node-down", "detail": ""}]})
    await till.create()


async def test_metrics(till: Till) -> None:
    await reported(till, {})
    payment = await till.create("a")
    await till.create("b")
    await till.pay(payment["address"], 40_000)
    await till.mine(3)
    response = await till.client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain")
    figures = {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(await response.text())
        for sample in family.samples
    }
    assert figures["nodetill_payments_total", ("pending",)] == 1
    assert figures["nodetill_payments_total", ("forwarded",)] == 1
    assert figures["nodetill_payments_total", ("failed",)] == 0
    assert figures["nodetill_payments_open", ()] == 1
    assert figures["nodetill_tip_height", ()] == 103
    assert 0 <= figures["nodetill_seconds_since_complete", ()] < 60


async def test_pages_hold_no_script_and_nothing_foreign(till: Till) -> None:
    payment = await till.create("<b>u1</b>", metadata={"note": "<script>"})
    await till.pay(payment["address"], 10_000)
    for path in ("/", f"/pay/{payment['payment_id']}", "/docs/problems"):
        response = await till.client.get(path)
        page = await response.text()
        assert (response.status, response.content_type) == (200, "text/html")
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "script-src" not in policy
        assert "unsafe" not in policy
        for foreign in ("<script", "style=", "http:", "https:", "u1", "onload"):
            assert foreign not in page
    page = await (await till.client.get(f"/pay/{payment['payment_id']}")).text()
    for shown in (payment["address"], payment["uri"], "0.00040000 BTC", "qr.svg", "30000 sat missing"):
        assert shown in page
    assert 'http-equiv="refresh"' in page
    await till.pay(payment["address"], 30_000)
    await till.mine(3)
    page = await (await till.client.get(f"/pay/{payment['payment_id']}")).text()
    assert "Your credits are on your account" in page
    assert 'http-equiv="refresh"' not in page
    assert (await till.client.get("/pay/" + "0" * 32)).status == 404
    assert (await till.client.get("/static/till.css")).content_type == "text/css"


async def test_security_headers_everywhere(till: Till) -> None:
    payment = await till.create()
    for path in (
        "/",
        "/healthz",
        "/metrics",
        f"{BASE}/packages",
        "/x",
        f"{BASE}/payments/{payment['payment_id']}",
    ):
        headers = (await till.client.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        assert "aiohttp" not in headers["Server"]


async def test_serving_and_a_taken_port() -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    async with serving(app, "127.0.0.1", 0) as port:
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as response:
            assert await response.text() == "hello"
        with pytest.raises(CannotListen, match=f"api.port: {port} is taken"):
            async with serving(web.Application(), "127.0.0.1", port):
                pass
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    with pytest.raises(CannotListen, match=r"api\.host: 192\.0\.2\.1"):
        async with serving(web.Application(), "192.0.2.1", 0):
            pass


async def test_metrics_show_what_the_watcher_counted(till: Till) -> None:
    meter = Meter()
    meter.rpc("getblockheader", "ok", 0.25)
    meter.rpc("getblockheader", "unavailable", 0.5)
    meter.forward("broadcast")
    meter.unreadable()
    meter.detection.observe(0.004)
    meter.confirmation.observe(1_700)
    report = {
        "reasons": [{"code": "ledger-difference", "detail": ""}],
        "credits_frozen": False,
        "audit": {"finished_at": time.time_ns() // 1_000_000 - 90_000, "differences": 2, "difference_sat": 40_007},
        "tip_lag": 2,
        "zmq": {"topics": {"rawtx": {"gaps_total": 3}}},
        "meter": meter.snapshot(),
    }
    now = time.time_ns() // 1_000_000
    await till.database.write(report_health, report, now, now)
    text = (await (await till.client.get("/metrics")).text()).splitlines()
    (since,) = [line for line in text if line.startswith("nodetill_seconds_since_audit ")]
    assert 90 <= float(since.split()[1]) < 100
    for line in (
        "nodetill_tip_lag_blocks 2.0",
        'nodetill_zmq_gaps_total{topic="rawtx"} 3.0',
        'nodetill_rpc_requests_total{method="getblockheader",result="ok"} 1.0',
        'nodetill_rpc_requests_total{method="getblockheader",result="unavailable"} 1.0',
        'nodetill_rpc_seconds_count{method="getblockheader"} 2.0',
        'nodetill_rpc_seconds_sum{method="getblockheader"} 0.75',
        'nodetill_forwards_total{result="broadcast"} 1.0',
        "nodetill_transactions_unreadable_total 1.0",
        'nodetill_detection_seconds_bucket{le="0.002"} 0.0',
        'nodetill_detection_seconds_bucket{le="0.005"} 1.0',
        'nodetill_confirmation_seconds_bucket{le="1800"} 1.0',
        'nodetill_confirmation_seconds_bucket{le="+Inf"} 1.0',
        "nodetill_forward_backlog_sat 0.0",
        "nodetill_ledger_difference_sat 40007.0",
        "nodetill_ledger_differences 2.0",
        "nodetill_credits_frozen 0.0",
    ):
        assert line in text
