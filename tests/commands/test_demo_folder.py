"""Folders of demos that were killed, and of demos that live."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.demo_folder import demo_folder

ROOT = Path(__file__).resolve().parents[2]
OTHER = """
from commands.demo_folder import demo_folder
with demo_folder() as folder:
    (folder / "node").mkdir()
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # asked for anew
    return tmp_path


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another demo with its folder."""
    command = [sys.executable, "-c", OTHER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_is_removed_at_the_end(temporary: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), demo_folder() as folder:
        assert folder.parent == temporary
        (folder / "node").mkdir()
        raise KeyboardInterrupt
    assert list(temporary.iterdir()) == []


def test_of_a_killed_demo_goes_with_the_next(other: tuple[subprocess.Popen[str], Path], temporary: Path) -> None:
    process, its_folder = other
    process.kill()
    process.wait()
    assert (its_folder / "node").exists()
    with demo_folder() as folder:
        assert list(temporary.iterdir()) == [folder]


def test_of_a_living_demo_stays(other: tuple[subprocess.Popen[str], Path], temporary: Path) -> None:
    process, its_folder = other
    with demo_folder() as folder:
        assert {folder, its_folder} == set(temporary.iterdir())
    assert (its_folder / "node").exists()
    process.communicate("\n", timeout=20)
    assert list(temporary.iterdir()) == []


def test_what_is_no_folder_of_ours_stays(temporary: Path) -> None:
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    link, file = temporary / "nodetill-demo-link", temporary / "nodetill-demo-file"
    link.symlink_to(elsewhere)
    file.touch()
    with demo_folder():
        assert elsewhere.exists()
    assert {link, file, elsewhere} == set(temporary.iterdir())
