"""A backup that is damaged, cut off, somebody else's or of the future: one sentence, and nothing is changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from storage.database import Database
from storage.errors import BackupRefused
from tests.storage.conftest import CONTEXT, MakeUrl
from tests.storage.small_shop import SmallShop
from tests.storage.test_audit import busy
from tests.storage.test_backup import put_back, saved


def sealed(lines: list[bytes]) -> bytes:
    content = b"".join(lines)
    return content + json.dumps({"sha256": hashlib.sha256(content).hexdigest()}).encode() + b"\n"


def changed_header(content: bytes, **changed: Any) -> bytes:
    """Another first line, with a checksum that is right."""
    lines = content.splitlines(keepends=True)[:-1]
    return sealed([json.dumps({**json.loads(lines[0]), **changed}).encode() + b"\n", *lines[1:]])


def changed_line(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return sealed(content.replace(old, new, 1).splitlines(keepends=True)[:-1])


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a bit is another": (lambda c: c.replace(b"deposit", b"dEposit", 1), "damaged (its content is not what"),
    "in the header": (lambda c: c.replace(b'"transfers": 6', b'"transfers": 7', 1), "damaged (its content"),
    "the last line is missing": (lambda c: c[: c.rindex(b'{"sha256')], "damaged (its end is missing)"),
    "the half": (lambda c: c[: len(c) // 2], "damaged (its end is missing)"),
    "the last byte is missing": (lambda c: c[:-1], "damaged (its end is missing)"),
    "something after it": (lambda c: c + b"\n", "damaged (its end is missing)"),
    "a line less": (lambda c: c.replace(c.splitlines(keepends=True)[3], b"", 1), "damaged (its content"),
    "empty": (lambda c: b"", "is no backup of nodetill"),
    "foreign": (lambda c: b"SQLite format 3\0" + bytes(5_000), "is no backup of nodetill"),
    "JSON of somebody": (lambda c: b'{"hello": 1}\n' + c, "is no backup of nodetill"),
    "deep JSON": (lambda c: b"[" * 200_000 + c, "is no backup of nodetill"),
    "a newer format": (lambda c: changed_header(c, **{"nodetill-backup": 2}), "is a backup of format 2"),
    "a newer schema": (lambda c: changed_header(c, schema=999), "has schema 999, and this nodetill knows"),
    "schema 0": (lambda c: changed_header(c, schema=0), "has schema 0"),
    "another network": (
        lambda c: changed_header(c, network="main"),
        "is a backup of main, and node.network is regtest",
    ),
    "other tables": (lambda c: changed_header(c, rows={"spoons": 1}), "its tables are not those of schema"),
    "a strange column": (
        lambda c: changed_line(c, b'"created_at", "descriptor"', b'"created_at", "id); DROP TABLE payment; --"'),
        "its tables are not those of schema",
    ),
    "a row too few": (
        lambda c: sealed([ln for n, ln in enumerate(c.splitlines(keepends=True)[:-1]) if n != 2]),
        "it has not the rows",
    ),
    "a word for a number": (lambda c: changed_line(c, b'"deposit", ', b'"deposit", 1.5, '), "cannot be"),
    "a row that names nothing": (lambda c: changed_line(c, b'["block-1", "', b'["block-x", "'), "cannot be restored"),
}
"""By what was done to the file: how, and words of the sentence."""


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("to", ["sqlite", "postgres"])
async def test_a_bad_file_is_refused_and_changes_nothing(how: str, to: str, empty: MakeUrl, tmp_path: Path) -> None:
    damage, sentence = DAMAGES[how]
    source = f"sqlite:///{tmp_path / 'till.db'}"
    async with Database(source, CONTEXT) as database:
        await busy(await SmallShop(database).open())
        file = saved(source, tmp_path / "till.backup")
    file.write_bytes(damage(file.read_bytes()))
    url = empty(to)
    with pytest.raises(BackupRefused) as refused:
        put_back(file, url)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert nothing_there(url)


def nothing_there(url: str) -> bool:
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        return not list(path.parent.glob(f"{path.name}*"))
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchall() == []
