"""`nodetill doctor`: look at everything the service stands on, change nothing, and say what to mend."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from commands.console import DEFAULT_CONFIG, ConfigOption, JsonOption, print_json, settings_from
from commands.finding import Colour, Finding
from commands.keychain import open_keychain
from commands.machine_checkup import look_at_machine
from commands.node_checkup import look_at_node
from commands.signer_checkup import look_at_signer
from config.settings import Settings

_MARK = {Colour.GREEN: "ok", Colour.YELLOW: "look", Colour.RED: "MEND"}


def doctor(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Check node, chain, permissions, ZMQ, wallet, database, clock and disk, read-only. Exit code 1: mend something."""
    settings = settings_from(config)
    found = asyncio.run(_look(settings))
    if as_json:
        print_json({"ok": not _sick(found), "findings": [asdict(finding) for finding in found]})
    else:
        _show(found)
    raise typer.Exit(1 if _sick(found) else 0)


async def _look(settings: Settings) -> list[Finding]:
    keychain = open_keychain(settings)
    with Console(stderr=True).status("Looking at the node, and listening to ZMQ for some seconds …"):
        return [
            *await look_at_node(settings, keychain.descriptor),
            *await look_at_signer(settings, keychain),
            *await look_at_machine(settings),
        ]


def _sick(found: list[Finding]) -> bool:
    return any(finding.colour is Colour.RED for finding in found)


def _show(found: list[Finding]) -> None:
    out = Console(soft_wrap=True, highlight=False)
    if out.is_terminal:
        table = Table("", "what", "how it is", show_lines=True)
        for finding in found:
            table.add_row(f"[{finding.colour}]{_MARK[finding.colour]}[/]", finding.check, escape(finding.detail))
        Console(highlight=False).print(table)
    else:
        for finding in found:
            out.print(f"{_MARK[finding.colour]:<5}{finding.check:<15}{escape(finding.detail)}")
    reds = sum(finding.colour is Colour.RED for finding in found)
    out.print(f"{reds} to mend." if reds else "Nothing to mend.")
