"""Both transports, on real nodes: the same answers and the same words for the same trouble."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from node_watcher.credentials import Credentials
from node_watcher.rpc import (
    NodeForbids,
    NodeRefusesLogin,
    NodeUnavailable,
    Rpc,
    RpcError,
    feerate,
    sat,
)
from node_watcher.rpc_http import HttpRpc
from node_watcher.rpc_patience import CHUNK
from node_watcher.rpc_proxy import ProxyRpc
from regtest.free_ports import free_port
from regtest.node import RegtestNode
from regtest.node_rpc import rpcauth
from tests.waiting import wait_for_async

MakeNode: TypeAlias = Callable[..., RegtestNode]
Connect: TypeAlias = Callable[..., Rpc]
NOBODYS_TXID = "ab" * 32


@pytest.fixture(params=[HttpRpc, ProxyRpc])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """`connect(node, timeout=…, observe=…)` by one of the transports, closed at the end."""
    made: list[Rpc] = []

    def make(node: RegtestNode | str, credentials: Credentials | None = None, **options: Any) -> Rpc:
        url = node if isinstance(node, str) else node.rpc_url
        if credentials is None:
            assert isinstance(node, RegtestNode)
            credentials = Credentials(cookie_file=node.cookie_file)
        made.append(request.param(url, credentials, **options))
        return made[-1]

    yield make
    for rpc in made:
        await rpc.close()
    gc.collect()  # a connection left open would warn here, and a warning is an error


async def test_calls_and_numbers(node: RegtestNode, connect: Connect) -> None:
    rpc = connect(node)
    assert await rpc.call("getblockhash", node.height) == node.tip
    mempool = await rpc.call("getmempoolinfo")
    assert isinstance(mempool["mempoolminfee"], Decimal)
    assert feerate(mempool["mempoolminfee"]) >= Decimal("0.1")


async def test_what_the_node_refuses(node: RegtestNode, connect: Connect) -> None:
    rpc = connect(node)
    for call, code in [
        (("getblockheader", NOBODYS_TXID), -5),
        (("getblockheader", "zz"), -8),
        (("nosuchmethod",), -32601),
        (("getblockhash", "one"), -3),
    ]:
        with pytest.raises(RpcError) as caught:
            await rpc.call(*call)
        assert (caught.value.method, caught.value.code) == (call[0], code)
        assert call[0] in str(caught.value)
        assert str(code) in str(caught.value)


async def test_a_batch_keeps_its_order_and_its_refusals(node: RegtestNode, connect: Connect) -> None:
    rpc = connect(node)
    heights = [height % node.height for height in range(CHUNK + 30)]
    answers = await rpc.batch(
        [
            *[("getblockhash", height) for height in heights],
            ("getmempoolentry", NOBODYS_TXID),
            ("nosuchmethod",),
        ]
    )
    hashes = {height: node.rpc("getblockhash", height) for height in set(heights)}
    assert answers[:-2] == [hashes[height] for height in heights]
    assert [(refusal.method, refusal.code) for refusal in answers[-2:]] == [
        ("getmempoolentry", -5),
        ("nosuchmethod", -32601),
    ]
    assert await rpc.batch([]) == []
    assert await rpc.batch([("getblockhash", 0)]) == [hashes[0]]


async def test_wallets_and_exact_amounts(node: RegtestNode, connect: Connect) -> None:
    rpc = connect(node)
    name = f"a wallet/50% #ü? of {type(rpc).__name__}"
    await rpc.call("createwallet", name, True, True)
    assert (await rpc.call("getwalletinfo", wallet=name))["walletname"] == name
    assert await rpc.batch([("listdescriptors",), ("listlabels",)], wallet=name) == [
        {"wallet_name": name, "descriptors": []},
        [],
    ]
    with pytest.raises(RpcError) as caught:
        await rpc.call("getwalletinfo", wallet="nobody's")
    assert caught.value.code == -18
    # As a float this would be 20999999.9769 and some dust.
    raw = await rpc.call("createrawtransaction", [], [{node.new_address(): Decimal("20999999.97690001")}])
    decoded = await rpc.call("decoderawtransaction", raw)
    assert sat(decoded["vout"][0]["value"]) == 2_099_999_997_690_001


async def test_many_at_once(node: RegtestNode, connect: Connect) -> None:
    rpc = connect(node)
    answers = await asyncio.gather(*[rpc.call("getblockhash", 0) for _ in range(100)])
    assert len(set(answers)) == 1


async def test_a_password_of_all_letters_and_a_whitelist(make_node: MakeNode, connect: Connect) -> None:
    password = "p@ss/wo:rd%41#?ü"
    node = make_node(
        extra_args=[rpcauth("till", password), "-rpcwhitelist=till:getblockcount", "-rpcwhitelistdefault=0"]
    )
    rpc = connect(node, Credentials(user="till", password=password))
    assert await rpc.call("getblockcount") == 0
    with pytest.raises(NodeForbids, match="rpcwhitelist=") as caught:
        await rpc.call("getblockhash", 0)
    assert caught.value.method == "getblockhash"
    with pytest.raises(NodeForbids, match="getblockhash"):
        await rpc.batch([("getblockcount",), ("getblockhash", 0)])

    wrong = connect(node, Credentials(user="till", password="wrong-secret"))
    with pytest.raises(NodeRefusesLogin, match=r"node\.rpc_user") as refused:
        await wrong.call("getblockcount")
    assert "wrong-secret" not in str(refused.value)


async def test_a_restart_brings_a_new_cookie(fresh_node: RegtestNode, connect: Connect) -> None:
    rpc = connect(fresh_node)
    await rpc.call("getblockcount")
    old = fresh_node.cookie_file.read_text()
    fresh_node.restart()
    assert fresh_node.cookie_file.read_text() != old
    assert await asyncio.gather(*[rpc.call("getblockcount") for _ in range(8)]) == [0] * 8
    assert await rpc.call("setmocktime", 0) is None  # not to be repeated, and yet: a 401 comes first


async def test_a_stale_cookie_is_a_refused_login(node: RegtestNode, connect: Connect, tmp_path: Path) -> None:
    cookie = tmp_path / ".cookie"
    cookie.write_text("__cookie__:of yesterday")
    with pytest.raises(NodeRefusesLogin, match=r"node\.rpc_cookie_file"):
        await connect(node, Credentials(cookie_file=cookie)).call("getblockcount")
    cookie.unlink()
    with pytest.raises(NodeUnavailable, match=r"node\.rpc_cookie_file is wrong"):
        await connect(node, Credentials(cookie_file=cookie)).call("getblockcount")


async def test_node_down_and_up_again(fresh_node: RegtestNode, connect: Connect) -> None:
    rpc = connect(fresh_node)
    await rpc.call("getblockcount")
    fresh_node.kill()  # the cookie file stays
    for _ in range(2):
        with pytest.raises(NodeUnavailable, match=r"node\.rpc_url"):
            await rpc.call("getblockcount")
    fresh_node.start()
    assert await rpc.call("getblockcount") == 0


async def test_a_starting_node_is_only_unavailable(fresh_node: RegtestNode, connect: Connect) -> None:
    fresh_node.mine(100)
    fresh_node.stop()
    rpc = connect(fresh_node)
    starter = threading.Thread(target=fresh_node.start)
    starter.start()
    said: list[str] = []

    async def answers() -> bool:
        try:
            await rpc.batch([("getblockcount",), ("getbestblockhash",)])
            return True
        except NodeUnavailable as error:  # anything else fails the test
            said.append(str(error))
            return False

    await wait_for_async(answers)
    starter.join()
    assert any("is starting: " in words for words in said)


async def test_a_hanging_node_costs_no_more_than_the_time_limit(fresh_node: RegtestNode, connect: Connect) -> None:
    rpc = connect(fresh_node, timeout=0.5)
    await rpc.call("getblockcount")
    fresh_node.suspend()
    started = time.monotonic()
    try:
        for limit in (None, 0.2):
            questions = [rpc.call("getblockcount", timeout=limit) for _ in range(10)]
            answers = await asyncio.gather(*questions, return_exceptions=True)
            assert [type(answer) for answer in answers] == [NodeUnavailable] * 10
            assert "did not answer getblockcount within" in str(answers[0])
        assert time.monotonic() - started < 3
    finally:
        fresh_node.resume()
    assert await wait_for_async(lambda: rpc.call("uptime", timeout=5))


async def test_an_idle_connection_is_no_trouble(make_node: MakeNode, connect: Connect) -> None:
    rpc = connect(make_node(extra_args=["-rpcservertimeout=1"]))
    for method in ("getblockcount", "setmocktime"):  # one that may be repeated, one that may not
        await rpc.call("getblockcount")
        await asyncio.sleep(1.5)  # the node hangs up meanwhile: this is what is tested
        await rpc.call(method, *([0] if method == "setmocktime" else []))


async def test_too_many_calls_waiting(make_node: MakeNode, connect: Connect) -> None:
    node = make_node(extra_args=["-rpcthreads=1", "-rpcworkqueue=1"])
    rpc = connect(node)
    waits = [asyncio.create_task(rpc.call("waitfornewblock", 1500)) for _ in range(4)]
    answers = await asyncio.gather(*waits, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert refused
    assert all(isinstance(one, NodeUnavailable) and "rpcworkqueue" in str(one) for one in refused)


@contextlib.asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server for as long as the block lasts; its URL. Leaves no connection behind."""
    serving: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            try:
                await serve(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@contextlib.asynccontextmanager
async def cutting_proxy(node: RegtestNode, cuts: list[int]) -> AsyncIterator[str]:
    """Passes on to the node; ends the n-th connection after `cuts[n]` bytes of answers. Its URL."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = cuts.pop(0) if cuts else 1_000_000
        from_node, to_node = await asyncio.open_connection("127.0.0.1", node.rpc_port)
        asking = asyncio.create_task(pump(reader, to_node))
        try:
            while data := await from_node.read(65536):
                writer.write(data[:left])
                left -= len(data)
                if left <= 0:
                    return
        finally:
            asking.cancel()
            to_node.close()
            await to_node.wait_closed()

    async with listening(serve) as url:
        yield url


@pytest.mark.parametrize("cut", [0, 20, 120])
async def test_a_cut_answer_is_asked_for_again_if_that_is_safe(node: RegtestNode, connect: Connect, cut: int) -> None:
    login = Credentials(cookie_file=node.cookie_file)
    async with cutting_proxy(node, [cut, cut]) as url:
        rpc = connect(url, login)
        assert (await rpc.call("getblockchaininfo"))["chain"] == "regtest"
        await rpc.close()
    async with cutting_proxy(node, [cut]) as url:
        rpc = connect(url, login)
        with pytest.raises(NodeUnavailable, match=r"in the middle|is not bitcoind"):
            await rpc.call("generatetodescriptor", 0, "raw(51)")
        await rpc.close()


ANSWERS = [
    b"<h1>It works!</h1>",
    b"[]",
    b"17",
    b'{"hello": 1}',
    b'{"result": null, "error": "boom", "id": 0}',
    b'{"result": null, "error": {"code": "x"}, "id": 0}',
    b"[" * 100_000,
]


@pytest.mark.parametrize(
    ("method", "result"),
    [
        ("getnetworkinfo", '"text"'),
        ("getbestblockhash", "{}"),
        ("gettxout", "[]"),
        ("gettxout", '{"value": 1}'),
        ("gettxout", '{"bestblock": "aa", "confirmations": 1, "scriptPubKey": {}, "value": "1"}'),
        ("getblockheader", "{}"),
        ("getblockheader", '{"hash": "aa", "height": "1", "confirmations": 1, "time": 1, "chainwork": "01"}'),
        ("getmempoolentry", '{"time": null}'),
        ("listsinceblock", '{"transactions": {}}'),
    ],
)
async def test_the_answer_to_another_question(method: str, result: str) -> None:
    """As from a proxy that mixes answers up: it is refused here, and no loop has to look at what it is made of."""
    page = b'{"result": %s, "error": null, "id": 0}' % result.encode()

    async def mixed_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(page) + page)
        await reader.read()

    async with listening(mixed_up) as url:
        rpc = HttpRpc(url, Credentials(user="u", password="p"))
        with pytest.raises(NodeUnavailable, match="is not bitcoind"):
            await rpc.call(method)
        await rpc.close()


@pytest.mark.parametrize("page", ANSWERS)
async def test_somebody_else_at_the_port(connect: Connect, page: bytes) -> None:
    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        kind = b"text/html" if page.startswith(b"<") else b"application/json"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(page) + page)
        await reader.read()

    async with listening(hello) as url:
        rpc = connect(url, Credentials(user="u", password="p"))
        with pytest.raises(NodeUnavailable, match=r"is not bitcoind.*node\.rpc_url"):
            await rpc.call("getblockcount")
        await rpc.close()
    rpc = connect(f"http://127.0.0.1:{free_port()}", Credentials(user="u", password="p"))
    with pytest.raises(NodeUnavailable, match="start the node"):
        await rpc.call("getblockcount")


async def test_close_ends_what_is_under_way(node: RegtestNode, connect: Connect) -> None:
    seen: list[str] = []
    rpc = connect(node, observe=lambda method, result, seconds: seen.append(result))
    waits = [asyncio.create_task(rpc.call("waitfornewblock", 2_000)) for _ in range(3)]
    await asyncio.sleep(0.2)  # under way; there is nothing to see it by
    await rpc.close()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(answer) for answer in answers] == [NodeUnavailable] * 3
    assert seen == ["unavailable"] * 3


async def test_a_cancelled_call_leaves_the_transport_usable(fresh_node: RegtestNode, connect: Connect) -> None:
    rpc = connect(fresh_node)
    for _ in range(5):  # more than there are connections
        wait = asyncio.create_task(rpc.call("waitfornewblock", 3_000))
        await asyncio.sleep(0.05)
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait
    assert await rpc.call("getblockcount", timeout=1) == 0


async def test_each_exchange_is_counted(node: RegtestNode, connect: Connect) -> None:
    seen: list[tuple[str, str]] = []

    def observe(method: str, result: str, seconds: float) -> None:
        assert 0 <= seconds < 30
        seen.append((method, result))

    rpc = connect(node, observe=observe)
    await rpc.call("getblockcount")
    with pytest.raises(RpcError):
        await rpc.call("getblockhash", -1)
    await rpc.batch([("getblockcount",), ("getblockcount",)])
    await rpc.batch([("getblockcount",), ("getblockhash", 0)])
    assert seen == [
        ("getblockcount", "ok"),
        ("getblockhash", "error"),
        ("getblockcount", "ok"),
        ("batch", "ok"),
    ]


def test_amounts_are_exact() -> None:
    assert sat(Decimal("0.29")) == 29_000_000
    assert sat("4.35") == 435_000_000
    assert sat(21_000_000) == 2_100_000_000_000_000
    for wrong in (Decimal("0.000000001"), Decimal("NaN"), "1e30"):
        with pytest.raises(ValueError, match=r"bitcoin|decimals"):
            sat(wrong)
    assert feerate(Decimal("0.00001000")) == 1
    assert feerate(Decimal("1E-6")) == Decimal("0.1")


def test_credentials_do_not_print_their_secret(tmp_path: Path) -> None:
    login = Credentials(user="till", password="very-secret")
    assert "very-secret" not in repr(login) + str(login) + login.source
    with pytest.raises(ValueError, match=r"node\.rpc_cookie_file"):
        Credentials()
    with pytest.raises(ValueError, match=r"node\.rpc_cookie_file"):
        Credentials(cookie_file=tmp_path, user="u", password="p")


def test_an_unreadable_cookie_names_the_mend(tmp_path: Path) -> None:
    cookie = tmp_path / ".cookie"
    cookie.touch(mode=0)
    user = os.geteuid()
    if user == 0:  # root may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(NodeRefusesLogin, match="rpccookieperms=group"):
            _ = Credentials(cookie_file=cookie).header
    finally:
        if user == 0:
            os.seteuid(0)
