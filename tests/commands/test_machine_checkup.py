"""What the doctor makes of the watcher's last word."""

from __future__ import annotations

from typing import Any

import pytest

from commands.machine_checkup import service_finding

NOW = 1_700_000_000_000
LEVEL = {"health_at": NOW - 5_000, "tip_height": 7}
BEHIND = LEVEL | {"reasons": [{"code": "syncing", "detail": "The node is still downloading."}]}


@pytest.mark.parametrize(
    ("report", "colour", "words"),
    [
        ({"health_at": 0}, "yellow", "does not run"),
        (LEVEL, "green", "height 7"),
        (BEHIND, "red", "still downloading"),
        (LEVEL | {"health_at": NOW - 21_000}, "yellow", "does not run"),
        (BEHIND | {"health_at": NOW - 21_000}, "yellow", "does not run"),
    ],
)
def test_the_watchers_last_word(report: dict[str, Any], colour: str, words: str) -> None:
    found = service_finding(report, NOW)
    assert (found.check, found.colour) == ("service", colour)
    assert words in found.detail
