"""How many payments a second the API opens."""

from __future__ import annotations

import asyncio
import time

import aiohttp

from bench.figures import Figure, Progress, spread
from regtest.node import RegtestNode
from regtest.service import BASE, RunningService

_CLIENTS = 32


async def creates(folder: str, payments: int, progress: Progress) -> list[Figure]:
    """`payments` POSTs from 32 clients at once; each answer is durable. The client shares the machine."""
    with RegtestNode() as node:
        node.mine(1)
        with RunningService(node, f"sqlite:///{folder}/creates.db") as till:
            progress(f"opening {payments} payments with {_CLIENTS} clients")
            key = await asyncio.to_thread(lambda: till.key)
            headers = {"Authorization": f"Bearer {key}"}
            url = f"{till.url}{BASE}/payments"
            waits: list[float] = []
            numbers = iter(range(payments))

            async def client(session: aiohttp.ClientSession) -> None:
                for number in numbers:
                    began = time.perf_counter()
                    body = {"package_id": "small", "user_id": f"u{number}"}
                    async with session.post(url, json=body, headers=headers) as response:
                        if response.status != 201:
                            raise RuntimeError(await response.text())
                        await response.read()
                    waits.append((time.perf_counter() - began) * 1000)

            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_CLIENTS)) as session:
                began = time.perf_counter()
                await asyncio.gather(*(client(session) for _ in range(_CLIENTS)))
                took = time.perf_counter() - began
    return [Figure("payments opened", payments / took, "/s"), *spread("POST /payments", waits, "ms")]
