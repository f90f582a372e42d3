"""Makes the record that `tests/incidents` plays: `python -m regtest.incident`, when the watcher asks otherwise.

A real service beside a real node: three purchases, a spend, a reorganisation that takes everything back, a kill -9 in
the middle of it, and the coins come again.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from regtest.bitcoind_source import find_bitcoind
from regtest.command_line import ROOT, main
from regtest.node import RegtestNode
from regtest.service import RunningService

NAME = "reorganised_after_spending"
FOLDER = ROOT / "tests" / "incidents"
_TOLD = {
    "transfers": ("kind", "user_id", "credits", "moved_sat"),
    "accounts": ("kind", "unit", "owner", "balance"),
    "payments": ("user_id", "status", "flags", "received_sat", "credits_posted"),
}


def happen(till: RunningService) -> None:
    """The story. Every sum is another, so that the figures say whose they are."""
    node = till.node
    wanted = {"anna": 40_000, "ben": 20_000, "cleo": 61_000}
    made = {user: till.create("small", user) for user in wanted}
    for user, sat in wanted.items():
        node.pay(made[user]["address"], sat)
    node.mine(3)
    for user in ("anna", "cleo"):
        till.wait_payment(made[user]["payment_id"], "forwarded")
    till.post("users/anna/credits/spend", {"amount": 150, "reference": "order 7"})
    node.disconnect_blocks(3)
    node.mine_empty(4)
    till.wait_payment(made["anna"]["payment_id"], "failed")
    till.kill()
    node.mine(3)
    till.start()
    for user in ("anna", "cleo"):
        till.wait_payment(made[user]["payment_id"], "forwarded")
    till.wait_level()
    till.stop()


def make() -> None:
    """Write the record, and beside it what is to come of it."""
    with tempfile.TemporaryDirectory() as folder, RegtestNode(find_bitcoind()) as node:
        node.fund(5)
        record = Path(folder) / "till.record"
        url = f"sqlite:///{folder}/till.db"
        home = Path(folder) / "till"
        home.mkdir()
        till = RunningService(node, url, mode="forwarding", folder=home, record=record)
        try:
            happen(till.start())
        finally:
            till.close()
        done = main("replay", str(record), "--json")
        if done.code:
            raise RuntimeError(done.err)
        shown: dict[str, Any] = json.loads(done.out)
        told = {part: [{key: row[key] for key in keys} for row in shown[part]] for part, keys in _TOLD.items()}
        told["ledger_hash"] = shown["ledger_hash"]
        (FOLDER / f"{NAME}.record").write_bytes(record.read_bytes())
        (FOLDER / f"{NAME}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make()
