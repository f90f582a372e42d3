"""Each record in this folder is played, and must come to what stands beside it.

`till.record` with `till.json`: any of the keys that `./nodetill replay till.record --json` prints, and below them any
of theirs. A record of a bug is played with `"mended": true`: it says what should have come.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node_watcher.record.player import Player
from node_watcher.record.reading import Reading
from node_watcher.record.replayed_till import ReplayedDatabase, ReplayedTill
from storage.recorded import ledger_shown
from storage.tx import Context
from tests.storage import invariants

INCIDENTS = sorted(Path(__file__).parent.glob("*.record"))


def agrees(expected: Any, shown: Any) -> bool:
    """Whether everything that is expected is there; what is not spoken of may be anything."""
    if isinstance(expected, dict):
        return isinstance(shown, dict) and all(agrees(expected[key], shown.get(key)) for key in expected)
    if isinstance(expected, list):
        return (
            isinstance(shown, list)
            and len(expected) == len(shown)
            and all(agrees(*pair) for pair in zip(expected, shown, strict=True))
        )
    return bool(expected == shown)


@pytest.mark.parametrize("record", INCIDENTS, ids=lambda path: path.stem)
async def test_incident(record: Path, tmp_path: Path) -> None:
    expected = json.loads(record.with_suffix(".json").read_text("utf-8"))
    mended = expected.pop("mended", False)
    reading = Reading(record)
    async with ReplayedDatabase(f"sqlite:///{tmp_path}/till.db", Context()) as database:
        player = Player(reading, ReplayedTill(database), mended=mended)
        await player.play()
        shown = await database.read(ledger_shown)
        await database.read(invariants.check)
    reading.close()
    assert not reading.cut
    for key, wanted in expected.items():
        assert agrees(wanted, shown[key]), json.dumps(shown[key], indent=1)


def test_records_are_small() -> None:
    assert INCIDENTS
    assert all(record.stat().st_size < 200_000 for record in INCIDENTS)
