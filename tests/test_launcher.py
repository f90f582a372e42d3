"""The launcher: from nothing, from half a set-up, twice at once, after a changed lock, from anywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAIN = "import os, sys, {module}; print(os.getcwd(), *sys.argv[1:], sep='|')\n"


def block_of(lock: str, package: str) -> str:
    """One pinned package with its hashes."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    found = re.search(rf"^{package}==.*(?:\n    --hash.*)+\n", text, re.M)
    assert found is not None
    return found.group()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small project with the real launcher and the locks of two small packages."""
    folder = tmp_path / "my till"
    (folder / "requirements").mkdir(parents=True)
    (folder / "nodetill").write_bytes((ROOT / "nodetill").read_bytes())
    (folder / "nodetill").chmod(0o755)
    (folder / "requirements/build.txt").write_bytes((ROOT / "requirements/build.txt").read_bytes())
    (folder / "requirements/runtime.txt").write_text(block_of("runtime", "annotated-types"))
    (folder / "main.py").write_text(MAIN.format(module="annotated_types"))
    return folder


def start(launcher: Path, *words: str, cwd: Path, shell: str = "sh", **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [shell, str(launcher), *words],
        cwd=cwd,
        env={**os.environ, "NODETILL_PYTHON": sys.executable, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=100)
    assert process.returncode == code, err
    return out, err


def test_sets_up_once_and_again_when_a_lock_changes(checkout: Path, tmp_path: Path) -> None:
    # What a Ctrl-C at the wrong moment leaves behind.
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").symlink_to(sys.executable)
    (checkout / ".venv.unfinished").touch()
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    link = tmp_path / "till"
    link.symlink_to(checkout / "nodetill")

    both = [start(link, "a b", cwd=elsewhere), start(checkout / "nodetill", "c", cwd=elsewhere)]
    (first, first_err), (second, second_err) = (finish(process) for process in both)
    assert first == f"{elsewhere}|a b\n"
    assert second == f"{elsewhere}|c\n"
    assert (first_err + second_err).count("making a Python environment") == 1

    again = finish(start(checkout / "nodetill", cwd=elsewhere))
    assert again == (f"{elsewhere}\n", ""), "the second start has nothing to do and says nothing"

    with (checkout / "requirements/runtime.txt").open("a") as lock:
        lock.write(block_of("test", "iniconfig"))
    (checkout / "main.py").write_text(MAIN.format(module="iniconfig"))
    out, err = finish(start(checkout / "nodetill", cwd=elsewhere))
    assert out == f"{elsewhere}\n"
    assert "making" not in err
    assert "installing runtime packages" in err


def test_a_wrong_hash_is_refused(checkout: Path) -> None:
    lock = checkout / "requirements/build.txt"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, lock.read_text()))
    _, err = finish(start(checkout / "nodetill", cwd=checkout), code=2)
    assert "installing the build packages failed" in err
    assert not (checkout / ".venv/.nodetill-runtime").exists()


def test_an_unsuitable_python_is_named(checkout: Path, tmp_path: Path) -> None:
    _, err = finish(start(checkout / "nodetill", cwd=checkout, NODETILL_PYTHON="/no/such/python"), code=2)
    assert "NODETILL_PYTHON=/no/such/python is no Python 3.11 or newer" in err

    # What Debian's python3 without python3-venv answers.
    bare = tmp_path / "python-without-venv"
    bare.write_text(
        f'#!/bin/sh\ncase $2 in *ensurepip*) exit 1 ;; esac\nexec "{sys.executable}" "$@"\n',
        encoding="utf-8",
    )
    bare.chmod(0o755)
    _, err = finish(start(checkout / "nodetill", cwd=checkout, NODETILL_PYTHON=str(bare)), code=2)
    assert "sudo apt install python3." in err
    assert not (checkout / ".venv").exists()
