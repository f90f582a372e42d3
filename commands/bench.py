"""`nodetill bench`: measures itself on a private regtest node."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench.block import block
from bench.creates import creates
from bench.detection import detection
from bench.figures import Figure, Progress
from bench.memory import memory
from commands.console import JsonOption, print_json, refuse

Measurement = Callable[[str, Progress], Awaitable[list[Figure]]]


def _measurements(quick: bool) -> dict[str, Measurement]:
    """The issue's sizes, or a tenth of them."""
    share = 10 if quick else 1
    return {
        "detection": lambda folder, progress: detection(folder, 200 // share, progress),
        "block": lambda folder, progress: block(folder, 4_000 // share, 10_000 // share, progress),
        "create": lambda folder, progress: creates(folder, 5_000 // share, progress),
        "memory": lambda folder, progress: memory(folder, 100_000 // share, progress),
    }


def bench(
    name: Annotated[str | None, typer.Argument(help="detection, block, create or memory; all without a name.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the work, for a first look.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure detection, block, creation and memory on this machine."""
    known = _measurements(quick)
    if name is not None and name not in known:
        refuse(f"bench {name}: choose from {', '.join(known)}.")
    chosen = known if name is None else {name: known[name]}
    results: dict[str, list[Figure]] = {}
    for title, measure in chosen.items():
        with tempfile.TemporaryDirectory(prefix="nodetill-bench-") as folder:
            results[title] = asyncio.run(_run(measure, folder, partial(_tell, title, time.monotonic())))
    if as_json:
        print_json({t: [{"name": f.name, "value": f.value, "unit": f.unit} for f in fs] for t, fs in results.items()})
        return
    table = Table("measurement", "figure", "value")
    for title, figures in results.items():
        for figure in figures:
            table.add_row(title, figure.name, f"{figure.value:,.2f} {figure.unit}")
    Console().print(table)


async def _run(measure: Measurement, folder: str, progress: Progress) -> list[Figure]:
    return await measure(folder, progress)


def _tell(title: str, began: float, line: str) -> None:
    print(f"[{time.monotonic() - began:6.1f} s] {title}: {line}", file=sys.stderr, flush=True)
