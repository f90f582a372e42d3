"""What a purchase shows, held against what it must show, step by step."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regtest.child_process import last_lines
from regtest.expected_payment import wrong_fields
from regtest.node import RegtestNode
from regtest.person import Person, Wrong

ROW = "  {:<47} {:<10} {:>4} {:>9} {:>9} {:>8}  {}"


class Checklist(Person):
    """Looks at one payment as a person would, prints a line for each step, and raises `Wrong` at a wrong field."""

    def __init__(self, node: RegtestNode, mode: str, port: int, folder: Path) -> None:
        super().__init__(node, port, folder)
        self.mode, self.log = mode, folder / "service.log"
        self.owner = f"owner-{secrets.token_hex(3)}"
        self.fields: dict[str, Any] = {}
        """Every field that the payment must show now."""
        self.checked = 0

    def until(self, what: str, condition: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise Wrong(f"waited {seconds:g} s for {what}; the log ends with\n{last_lines(self.log)}")
            time.sleep(0.1)

    def get(self, path: str) -> Any:
        status, _, text = self.curl("GET", path)
        if status != 200:
            raise Wrong(f"GET {path} answered {status}: {text}")
        return json.loads(text)

    def same(self, what: str, shown: Any, expected: Any) -> None:
        if wrong := wrong_fields({what: shown}, {what: expected}):
            raise Wrong("; ".join(wrong))
        self.checked += 1

    def step(self, title: str, **changes: Any) -> dict[str, Any]:
        """Wait until the payment shows the step's status and depth, then compare every field of it."""
        self.fields |= changes
        path = f"payments/{self.fields['payment_id']}"
        names = ("status", "confirmations", "credited")
        shown: dict[str, Any] = {}

        def there() -> bool:
            shown.update(self.get(path))
            return all(shown[name] == self.fields[name] for name in names)

        try:
            self.until(f"{[self.fields[name] for name in names]}", there, seconds=30)
        except Wrong as slow:
            raise Wrong(f"{title}: {'; '.join(wrong_fields(shown, self.fields))}; {slow}") from None
        if self.mode == "forwarding" and shown["status"] == "forwarded" and "forwarding_tx_hash" not in changes:
            self.fields["forwarding_tx_hash"] = self.until_swept(shown)
        self.compare(title, shown)
        return shown

    def until_swept(self, shown: dict[str, Any]) -> str:
        """The txid of the sweep, as the owner's own wallet tells it."""
        told = [row["txid"] for row in self.cli(f"-rpcwallet={self.owner}", "listtransactions")]
        if shown["forwarding_tx_hash"] not in told:
            raise Wrong(f"forwarding_tx_hash is {shown['forwarding_tx_hash']}, the owner's wallet knows {told}")
        return str(shown["forwarding_tx_hash"])

    def compare(self, title: str, shown: dict[str, Any]) -> None:
        if wrong := wrong_fields(shown, self.fields):
            raise Wrong(f"{title}: " + "; ".join(wrong))
        self.checked += len(self.fields)
        figures = (shown["status"], f"{shown['confirmations']}/{shown['confirmations_required']}")
        sums = (shown["received_sat"], shown["confirmed_sat"], shown["credited"])
        print(ROW.format(title, *figures, *sums, f"{len(self.fields)} fields right"), flush=True)

    def say(self, title: str, result: str) -> None:
        print(f"  {title:<47} {result}", flush=True)
