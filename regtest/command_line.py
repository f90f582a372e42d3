"""The command line as a process of its own, run to its end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Ended:
    """A run of the command line: its exit code and what it said."""

    code: int
    out: str
    err: str

    def refused(self, *words: str) -> None:
        """Raise `AssertionError` unless it ended with code 2 and said all these words in one line, and no other."""
        lines = [line for line in self.err.splitlines() if line.startswith("nodetill: ")]
        short = self.code == 2 and self.out == "" and len(lines) == 1 and "Traceback" not in self.err
        if not short or not all(word in lines[0] for word in words):
            raise AssertionError(
                f"expected exit code 2 and one line with {words}, got {self.code}: {self.out}{self.err}"
            )


def main(*words: str, environ: Mapping[str, str] | None = None, timeout: float = 60.0, given: str = "") -> Ended:
    """Run `main.py WORDS…` to its end, with no setting from our own environment, and `given` on standard input."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *words],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        input=given,
        cwd=ROOT,
        env=clean_environment(environ),
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without anybody's settings of nodetill, and then `more`."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("NODETILL_", "BITCOIN_"))}
    return {**ours, **(more or {})}
