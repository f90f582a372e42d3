"""What the service keeps in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench.figures import Figure, Progress
from bench.shelf import stock
from regtest.node import RegtestNode
from regtest.service import RunningService


async def memory(folder: str, open_payments: int, progress: Progress) -> list[Figure]:
    """Resident memory of a fresh service, and with `open_payments` open."""
    return await asyncio.to_thread(_memory, folder, open_payments, progress)


def _memory(folder: str, open_payments: int, progress: Progress) -> list[Figure]:
    with RegtestNode() as node:
        node.mine(1)
        with RunningService(node, f"sqlite:///{folder}/memory.db") as till:
            idle = _resident(till.pid)
            till.stop()
            progress(f"opening {open_payments} payments")
            stock(till, open_payments)
            till.start()
            full = _resident(till.pid)
    return [
        Figure("resident, idle", idle, "MB"),
        Figure(f"resident, {open_payments} open payments", full, "MB"),
        Figure("per open payment", (full - idle) * 1_000_000 / open_payments, "bytes"),
    ]


def _resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise RuntimeError(f"process {pid} shows no VmRSS")
