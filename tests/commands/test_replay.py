"""`nodetill replay` as a person types it: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regtest.command_line import ROOT, main

INCIDENT = ROOT / "tests" / "incidents" / "reorganised_after_spending.record"


def changed(folder: Path, old: str, new: str, *, times: int = 1) -> Path:
    """The incident with some words replaced."""
    text = INCIDENT.read_text("utf-8")
    assert old in text
    path = folder / "changed.record"
    path.write_text(text.replace(old, new, times))
    return path


def test_tables_for_people() -> None:
    done = main("replay", str(INCIDENT))
    assert (done.code, "nodetill:" in done.err) == (0, False)
    ledger_hash = json.loads(INCIDENT.with_suffix(".json").read_text("utf-8"))["ledger_hash"]
    for words in ("deposit", "reversal", "anna", "order 7", "-150", "ends as the record does", ledger_hash[:12]):
        assert words in done.out


def test_the_log_on_demand() -> None:
    assert "took 400 credits back from user anna" in main("replay", str(INCIDENT), "--log").err


def test_json_and_a_database_to_keep(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/kept.db"
    done = main("replay", str(INCIDENT), "--json", "--database", url)
    shown = json.loads(done.out)
    assert (done.code, shown["ok"], shown["runs"], len(shown["transfers"])) == (0, True, 2, 16)
    assert (tmp_path / "kept.db").exists()
    main("replay", str(INCIDENT), "--database", url).refused("--database", "is not empty")


def test_a_cut_record_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    data = INCIDENT.read_bytes()
    (tmp_path / "cut.record").write_bytes(data[: len(data) // 2])
    done = main("replay", str(tmp_path / "cut.record"), "--json")
    shown = json.loads(done.out)
    assert (done.code, shown["cut"], shown["compared_at_end"]) == (0, True, False)
    assert 0 < len(shown["transfers"]) < 16


@pytest.mark.parametrize(
    "old, new, words",
    [
        # a question that the record does not have
        ('"asked":[["getmempoolinfo"]]', '"asked":[["getmempoolentry"]]', ["asks [['getmempoolinfo']]", "line "]),
        # somebody else's act
        ('"credits":150', '"credits":151', ["database has other ledger than"]),
        ('{"spent"', '{"paid"', ["was not asked for"]),
        # an activity that ends otherwise
        ('"reasons":[]', '"reasons":["node"]', ["came to"]),
        ('"fee_sat":178', '"fee_sat":179', ["a fee of 179 sat"]),
    ],
)
def test_it_says_where_it_parts_from_the_record(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    done = main("replay", str(changed(tmp_path, old, new)), "--json")
    assert (done.code, json.loads(done.out)["ok"]) == (1, False)
    # A machine under load takes more than a second, and is told how far it is.
    (line,) = (line for line in done.err.splitlines() if not line.startswith("Reading the record"))
    assert "changed.record, line " in line
    assert all(word in line for word in words), line


def test_a_mended_till_may_come_to_something_else(tmp_path: Path) -> None:
    path = changed(tmp_path, '"credits":150', '"credits":151')
    done = main("replay", str(path), "--json", "--mended")
    shown = json.loads(done.out)
    assert (done.code, shown["compared_at_end"]) == (0, False)
    assert [row["credits"] for row in shown["transfers"] if row["kind"] == "spend"] == [-151]


def test_what_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "rubbish").write_text("hello\n")
    main("replay", str(tmp_path / "rubbish")).refused("is no record of nodetill", "serve --record")
    main("replay", str(tmp_path / "none")).refused("cannot be read", "No such file")
    main("replay", str(changed(tmp_path, '{"run":1', '{"run":2'))).refused("format 2", "0.1.0")
    main("replay", str(INCIDENT), "--database", "postgresql://x/y").refused("--database", "sqlite:///")
