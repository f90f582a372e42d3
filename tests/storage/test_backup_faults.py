"""Backup and restore are killed, and the disk is full: there is nothing, or all of it, and the next try goes well."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.database import Database
from storage.till import DISTANCE
from tests.storage import invariants
from tests.storage.conftest import CONTEXT, MakeUrl
from tests.storage.small_shop import SmallShop
from tests.storage.test_audit import busy
from tests.storage.test_backup import everything, many_blocks, put_back, saved
from tests.storage.test_bad_backups import nothing_there

CHILD = """
import os, resource, signal, sys
from pathlib import Path
from storage.backup import place, save
from storage.errors import StorageError
from tests.storage.test_backup import put_back, saved, wanted
from storage.backup.backup_file import BackupFile
from storage.backup.restore import restore

what, when, url, file = sys.argv[1:]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def step(said, done, of):
    if when.isdigit() and said == "rows" and done >= int(when):
        die()

if when == "before the name":
    place.put_in_place = save.put_in_place = die
if when == "a full disk":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    if what == "save":
        save.save(url, Path(file), network="regtest", now=1, step=step)
    else:
        with BackupFile(Path(file)) as backup:
            restore(backup, wanted(url), step)
except StorageError as error:
    print(error)
    sys.exit(2)
"""


def child(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD, *words], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
async def shop(tmp_path: Path) -> SmallShop:
    async with Database(f"sqlite:///{tmp_path / 'till.db'}", CONTEXT) as database:
        shop = await busy(await SmallShop(database).open())
        await database.write(many_blocks)
    return shop


@pytest.mark.parametrize("when", ["1", "1500", "2500", "before the name"])
@pytest.mark.parametrize("to", ["sqlite", "postgres"])
async def test_a_killed_restore(to: str, when: str, shop: SmallShop, empty: MakeUrl, tmp_path: Path) -> None:
    if (to, when) == ("postgres", "before the name"):
        return  # there is no file
    file, url = saved(f"sqlite:///{tmp_path / 'till.db'}", tmp_path / "till.backup"), empty(to)
    killed = child("restore", when, url, str(file))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if to == "sqlite":
        assert (tmp_path / "restored.db.restoring").exists(), "it was killed too early"
        assert not (tmp_path / "restored.db").exists()
    assert put_back(file, url).next_index == 5 + DISTANCE
    async with Database(url, CONTEXT) as database:
        assert len((await database.read(everything))["block"]) == len(shop.blocks) + 2_503
        await database.read(invariants.check)
    assert not list(tmp_path.glob("*restoring*"))


async def test_a_full_disk_leaves_nothing(shop: SmallShop, empty: MakeUrl, tmp_path: Path) -> None:
    source, url = f"sqlite:///{tmp_path / 'till.db'}", empty("sqlite")
    refused = child("save", "a full disk", source, str(tmp_path / "full.backup"))
    assert (refused.returncode, refused.stderr) == (2, "")
    assert "full.backup cannot be written: File too large. There is no backup." in refused.stdout
    assert not list(tmp_path.glob("*full*"))
    refused = child("restore", "a full disk", url, str(saved(source, tmp_path / "till.backup")))
    assert (refused.returncode, refused.stderr) == (2, ""), refused
    assert "SQLite answers" in refused.stdout
    assert refused.stdout.count("\n") == 1
    assert nothing_there(url)


@pytest.mark.parametrize("when", ["1000", "before the name"])
async def test_a_killed_backup(shop: SmallShop, when: str, empty: MakeUrl, tmp_path: Path) -> None:
    source, file = f"sqlite:///{tmp_path / 'till.db'}", tmp_path / "till.backup"
    killed = child("save", when, source, str(file))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not file.exists()
    (left,) = tmp_path.glob(".till.backup.*.partial")
    assert left.stat().st_mode & 0o777 == 0o600
    put_back(saved(source, file), empty("sqlite"))
