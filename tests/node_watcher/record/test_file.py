"""The file of a record: what is written is read again; what is none is refused with what to do."""

from __future__ import annotations

import json
import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_watcher.record.lines import FORMAT, BadRecord, RecordWriter
from node_watcher.record.reading import Reading

HEADER = {"run": FORMAT, "nodetill": "0.1.0"}


def written(path: Path, *values: Any, like: str = "", secrets: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Write values as answers; the lines that a reader sees, made whole."""
    writer = RecordWriter(path, secrets)
    writer.write(HEADER)
    for value in values:
        writer.write({"got": writer.text_of(value, like)})
    writer.close()
    return read(path)


def read(path: Path) -> list[dict[str, Any]]:
    reading = Reading(path)
    try:
        return [reading.whole(said) for _, said in reading]
    finally:
        reading.close()


def test_numbers_texts_and_lists_come_back_as_they_were(tmp_path: Path) -> None:
    values = [Decimal("0.00001000"), 7, None, ["ab" * 2000, {"fee": Decimal("1E-8")}], {"a": {"b": ["x" * 300]}}]
    assert [said["got"] for said in written(tmp_path / "r", *values)[1:]] == values


def test_a_long_text_is_written_once(tmp_path: Path) -> None:
    block = "".join(f"{n:08x}" for n in range(2000))
    written(tmp_path / "once", block)
    written(tmp_path / "often", *[block] * 50)
    assert (tmp_path / "often").stat().st_size < (tmp_path / "once").stat().st_size + 50 * 40


def test_a_list_that_grows_is_written_as_what_came(tmp_path: Path) -> None:
    txids = [f"{n:064x}" for n in range(400)]
    lists = [txids[: 200 + n] for n in range(200)]
    found = written(tmp_path / "r", *lists, like="getrawmempool")
    assert [said["got"] for said in found[1:]] == lists
    assert (tmp_path / "r").stat().st_size < 200 * 64 + 200 * 400


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    written(tmp_path / "r")
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o600


def test_secrets_are_removed_wherever_they_stand(tmp_path: Path) -> None:
    secrets = ('pass"word-1', "sécret-2")
    found = written(tmp_path / "r", f"short {secrets[0]}", f"{'long ' * 100}{secrets[1]}", secrets=secrets)
    assert found[1]["got"] == "short [removed]"
    assert found[2]["got"].endswith("[removed]")


def test_a_cut_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "r"
    whole = written(path, 1, 2, 3)
    data = path.read_bytes()
    for length in range(len(data) - 1, data.rindex(b"\n", 0, -1), -1):
        path.write_bytes(data[:length])
        assert read(path) == whole[:-1]
    path.write_bytes(data[: data.index(b"\n") + 1])
    assert read(path) == whole[:1]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"hello\n", b'{"run": ', b"[1]\n", b'{"begin": "look 1"}\n', bytes(range(256)), b"SQLite format 3\0"],
)
def test_rubbish_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r").write_bytes(content)
    with pytest.raises(BadRecord, match=r"is no record of nodetill.*serve --record"):
        read(tmp_path / "r")


def test_a_line_that_was_changed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r"
    written(path, 1, 2, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"{oh}\n", *lines[3:]]))
    with pytest.raises(BadRecord, match="line 3 cannot be read"):
        read(path)


def test_another_format_names_the_nodetill_that_wrote_it(tmp_path: Path) -> None:
    (tmp_path / "r").write_text(json.dumps({"run": 99, "nodetill": "7.7"}) + "\n")
    with pytest.raises(BadRecord, match=r"format 99 .* this nodetill reads 1; .*\(7\.7\)"):
        read(tmp_path / "r")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="No such file"):
        Reading(tmp_path / "none")


def test_one_file_one_writer(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "r")
    with pytest.raises(BadRecord, match="another process"):
        RecordWriter(tmp_path / "r")
    writer.close()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match=r"--record: .* cannot be written"):
        RecordWriter(tmp_path / "none" / "r")


def test_a_full_disk_ends_the_record_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    writer = RecordWriter(Path("/dev/full"))
    with caplog.at_level(logging.ERROR, "nodetill"):
        for _ in range(3):
            writer.write(HEADER)
    writer.close()
    assert [record.getMessage() for record in caplog.records] == [
        "The record /dev/full ends here, it cannot be written: No space left on device. Payments go on."
    ]
