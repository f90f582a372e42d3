"""What a person has at hand: the launcher, curl and bitcoin-cli."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from regtest.command_line import ROOT, clean_environment
from regtest.node import RegtestNode

LAUNCHER = str(ROOT / "nodetill")


class Wrong(Exception):
    """Something is not as the contract says."""


class Person:
    """Types commands in `folder`, against the service on `port` and the node."""

    def __init__(self, node: RegtestNode, port: int, folder: Path) -> None:
        self.node, self.port, self.folder = node, port, folder
        self.key = ""

    def launcher(self, *words: str) -> str:
        done = subprocess.run(
            [LAUNCHER, *words], capture_output=True, text=True, timeout=300, check=False, env=clean_environment()
        )
        if done.returncode:
            raise Wrong(f"./nodetill {' '.join(words[:2])} ended with code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def curl(self, method: str, path: str, body: object = None, *, key: bool = True) -> tuple[int, str, str]:
        """Status, content type and body."""
        path = path if path.startswith("/") else f"/api/v1/bitcoin/{path}"
        words = ["curl", "-sS", "-o", str(self.folder / "body"), "-w", "%{http_code} %{content_type}", "-X", method]
        if key:
            words += ["-H", f"Authorization: Bearer {self.key}"]
        if body is not None:
            words += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        words.append(f"http://127.0.0.1:{self.port}{path}")
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=_no_proxy())
        if done.returncode:
            return 0, "", done.stderr
        status, _, kind = done.stdout.partition(" ")
        return int(status), kind, (self.folder / "body").read_bytes().decode("utf-8", "replace")

    def cli(self, *words: str) -> Any:
        return self.node.cli(*words)


def _no_proxy() -> dict[str, str]:
    return {**os.environ, "no_proxy": "127.0.0.1"}
