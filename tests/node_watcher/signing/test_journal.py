"""The journal: on the disk, private, one writer, forgetful, and never guessed at when it is damaged."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from node_watcher.signing.exposure import Exposed
from node_watcher.signing.journal import WINDOW_MS, Entry, Journal, JournalError
from payments.model import OutPoint

START = 1_800_000_000_000


def entry(number: int, at: int = START) -> Entry:
    return Entry(at, f"request {number}", {OutPoint(f"{number:064x}", 1): 1_000 + number}, b"\x02" * 40)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "journal"
    journal = Journal(path)
    for number in range(3):
        journal.append(entry(number, START + number))
    journal.close()
    return path


def reopened(path: Path, now: int = START) -> dict[OutPoint, int]:
    journal = Journal(path)
    try:
        return journal.counted(now)
    finally:
        journal.close()


def test_what_was_written_is_there_again(file: Path) -> None:
    journal = Journal(file)
    assert journal.counted(START) == {OutPoint(f"{n:064x}", 1): 1_000 + n for n in range(3)}
    assert journal.signed("request 1", START) == b"\x02" * 40
    assert journal.signed("request 9", START) is None
    assert journal.newest == START + 2
    journal.close()


def test_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Journal(tmp_path / "journal").close()
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_an_exposed_one_is_refused(file: Path) -> None:
    file.chmod(0o644)
    with pytest.raises(Exposed, match="chmod 600"):
        Journal(file)


def test_a_second_writer_is_refused_and_one_that_ends_is_waited_for(file: Path) -> None:
    first = Journal(file)
    with pytest.raises(JournalError, match="another signer"):
        Journal(file)
    first.close()
    Journal(file).close()


@pytest.mark.parametrize("cut", [1, 7, 60])
def test_half_a_line_at_the_end_is_a_signature_that_never_left(file: Path, cut: int) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-cut])
    assert len(reopened(file)) == 2
    journal = Journal(file)
    journal.append(entry(2, START + 2))
    journal.close()
    assert file.read_bytes() == content


def changed(line: int, old: str, new: str) -> Callable[[str], str]:
    def change(content: str) -> str:
        lines = content.splitlines(keepends=True)
        assert old in lines[line]
        lines[line] = lines[line].replace(old, new, 1)
        return "".join(lines)

    return change


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (changed(1, "1000]", "1]"), 2),
        (changed(2, str(START + 1), str(START - 10**9)), 3),
        (changed(0, '"newest":0', '"newest":1'), 1),
        (lambda content: "".join(content.splitlines(keepends=True)[:1] + content.splitlines(keepends=True)[2:]), 2),
        (lambda content: "".join(content.splitlines(keepends=True)[1:]), 1),
        (lambda content: content + "rubbish\n", 5),
        (lambda content: content + "[" * 100_000 + "\n", 5),
        (lambda content: "", 1),
        (lambda content: "\n", 1),
        (lambda content: content.replace("signer-journal", "other"), 1),
    ],
)
def test_a_damaged_one_is_refused(file: Path, change: Callable[[str], str], line: int) -> None:
    file.write_text(change(file.read_text()))
    with pytest.raises(JournalError, match=f"damaged in line {line}, .*move it away"):
        Journal(file)


def test_it_forgets_what_is_older_than_a_day(file: Path) -> None:
    journal = Journal(file)
    for number in range(100):
        journal.append(entry(number, START + number))
    journal.append(entry(200, START + 50 + WINDOW_MS))
    assert set(journal.counted(START + 50 + WINDOW_MS)) == {OutPoint(f"{n:064x}", 1) for n in (*range(51, 100), 200)}
    journal.append(entry(201, START + 200 + WINDOW_MS))
    journal.close()
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line.get("request") for line in kept] == [None, "request 200", "request 201"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(reopened(file, START + 200 + WINDOW_MS)) == 2
    assert sorted(os.listdir(file.parent)) == ["journal", "journal.lock"]


def test_where_it_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be locked"):
        Journal(tmp_path / "no folder" / "journal")
    (tmp_path / "folder").mkdir()
    with pytest.raises((JournalError, Exposed)):
        Journal(tmp_path / "folder")
