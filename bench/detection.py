"""From the node's acceptance of a transaction to the changed answer of the API."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp
import zmq
import zmq.asyncio

from bench.figures import Figure, Progress, spread
from node_watcher.credentials import Credentials
from node_watcher.rpc_http import HttpRpc
from payments.address import script_pubkey
from payments.tx import decode
from regtest.free_coins import free_coins
from regtest.node import RegtestNode
from regtest.service import BASE, RunningService


async def detection(folder: str, payments: int, progress: Progress) -> list[Figure]:
    """`payments` payments one after the other: `sendrawtransaction` called → SSE shows `confirming`.

    Beside it, in the same run, when the node's own rawtx reached a bare ZMQ subscriber.
    """
    with RegtestNode() as node:
        progress("making coins")
        await asyncio.to_thread(node.fund)
        coins = await asyncio.to_thread(free_coins, node, payments)
        settings = {"payments": {"max_open_per_user": 1_000_000}}
        with RunningService(node, f"sqlite:///{folder}/detection.db", settings=settings) as till:
            made = await asyncio.to_thread(_open, till, payments)
            rpc = HttpRpc(node.rpc_url, Credentials(cookie_file=node.cookie_file))
            raw_ms: list[float] = []
            api_ms: list[float] = []
            try:
                async with aiohttp.ClientSession() as session:
                    for number, (payment, coin) in enumerate(zip(made, coins, strict=True), start=1):
                        script = script_pubkey(payment["address"], "regtest")
                        raw = coin.spend(script, payment["amount_sat"])
                        url = f"{till.url}{BASE}/payments/{payment['payment_id']}/events"
                        heard, shown = await _one(session, rpc, node.zmq_rawtx, url, raw)
                        raw_ms.append(heard)
                        api_ms.append(shown)
                        if number % 50 == 0:
                            progress(f"{number} of {payments} payments")
            finally:
                await rpc.close()
    return spread("ZMQ rawtx at a bare subscriber", raw_ms, "ms") + spread("API shows confirming", api_ms, "ms")


def _open(till: RunningService, payments: int) -> list[dict[str, Any]]:
    return [till.create("small", f"u{number}") for number in range(payments)]


async def _one(session: aiohttp.ClientSession, rpc: HttpRpc, endpoint: str, url: str, raw: str) -> tuple[float, float]:
    context = zmq.asyncio.Context()
    sock = context.socket(zmq.SUB)
    sock.subscribe(b"rawtx")
    sock.connect(endpoint)
    wanted = decode(bytes.fromhex(raw)).txid

    async def heard() -> float:
        while True:
            frames = await sock.recv_multipart()
            if decode(frames[1]).txid == wanted:
                return time.perf_counter()

    async def shown(stream: aiohttp.ClientResponse) -> float:
        async for line in stream.content:
            if line.startswith(b"data: ") and json.loads(line[6:])["status"] == "confirming":
                return time.perf_counter()
        raise RuntimeError("the stream ended")

    try:
        async with session.get(url) as stream:
            listening = asyncio.create_task(heard())
            looking = asyncio.create_task(shown(stream))
            await asyncio.sleep(0.05)  # the subscription must have reached the node
            began = time.perf_counter()
            await rpc.call("sendrawtransaction", raw)
            async with asyncio.timeout(30):
                return (await listening - began) * 1000, (await looking - began) * 1000
    finally:
        sock.close(linger=0)
        context.term()
