"""Errors that no handler raises on purpose: still problems, never a traceback, never HTML."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp import web

from api.app import BASE
from api.problem import Kind, problems
from api.schema import CreatePayment
from api.server import serving
from storage.errors import DatabaseBusy, DatabaseUnusable
from tests.api.conftest import ClientFactory
from tests.api.till import Till


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", f"{BASE}/nothing", 404, "not-found"),
        ("GET", f"{BASE}/packages/", 404, "not-found"),
        ("DELETE", f"{BASE}/payments", 405, "method-not-allowed"),
        ("PUT", f"{BASE}/payments/x", 405, "method-not-allowed"),
        ("GET", f"{BASE}/status", 405, "method-not-allowed"),
        ("POST", "/demo/buy", 404, "not-found"),
    ],
)
async def test_aiohttp_s_own_refusals(till: Till, method: str, path: str, status: int, code: str) -> None:
    response = await till.client.request(method, path, headers={"Accept": "text/html"})
    problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["status"], problem["code"]) == (status, status, code)
    assert ("Allow" in response.headers) == (status == 405)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Server"] == "nodetill"


@pytest.mark.parametrize(
    ("error", "status"),
    [(DatabaseBusy("busy"), 503), (DatabaseUnusable("gone"), 503), (KeyError("hunter2"), 500)],
)
async def test_what_goes_wrong_inside(
    aiohttp_client: ClientFactory, caplog: pytest.LogCaptureFixture, error: Exception, status: int
) -> None:
    async def broken(request: web.Request) -> web.Response:
        raise error

    app = web.Application(middlewares=[problems])
    app.router.add_get("/", broken)
    client = await aiohttp_client(app)
    with caplog.at_level(logging.WARNING):
        response = await client.get("/")
    problem = await response.json(content_type="application/problem+json")
    assert response.status == status
    assert "hunter2" not in str(problem)
    assert "Traceback" not in str(problem)
    if status == 500:
        assert problem["request_id"] == response.headers["X-Request-Id"]
        assert problem["request_id"] in caplog.text
        assert "hunter2" in caplog.text
    else:
        assert "Retry-After" in response.headers


async def raw(till: Till, request: bytes, *, end: bool = False) -> bytes:
    """Sends bytes over a socket; the answer, up to its end or the first few kB."""
    server = till.client.server
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    try:
        if end:
            return b""
        async with asyncio.timeout(5):
            return await reader.read(4096)
    finally:
        writer.close()
        await writer.wait_closed()


POST = b"POST /api/v1/bitcoin/status HTTP/1.1\r\nHost: till\r\nContent-Type: application/json\r\n"


async def test_a_promised_giant_is_refused_before_it_comes(till: Till) -> None:
    answer = await raw(till, POST + b"Content-Length: 99999999999\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_never_ends_is_given_up(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.body.BODY_SECONDS", 0.1)
    answer = await raw(till, POST + b"Content-Length: 100\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"request-timeout" in answer


async def test_a_caller_that_hangs_up_is_no_error(till: Till, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await raw(till, POST + b"Content-Length: 100\r\n\r\n{", end=True)
        assert (await till.client.get("/healthz")).status == 200
        await asyncio.sleep(0.05)
    assert caplog.records == []


async def test_noise_is_answered_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with serving(web.Application(), "127.0.0.1", 0) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nAccept: text/html\r\nBad Header\r\n\r\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
    assert b" 400 " in answer
    assert b"Traceback" not in answer
    assert b"<" not in answer
    assert caplog.records == []


async def test_every_problem_is_explained(till: Till) -> None:
    page = await (await till.client.get("/docs/problems")).text()
    codes = [kind.code for kind in Kind]
    assert len(set(codes)) == len(codes)
    for kind in Kind:
        assert f'id="{kind.type.partition("#")[2]}"' in page


def test_bodies_do_not_print_what_they_hold() -> None:
    with pytest.raises(ValueError, match="package_id") as caught:
        CreatePayment.model_validate({"package_id": "\nhunter2"})
    assert "hunter2" not in str(caught.value)
