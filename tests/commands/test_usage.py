"""Wrong usage: exit code 2 and one line that names what is wrong, never a traceback."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands.log_output import JsonLines, Plain
from tests.commands.conftest import Run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "words, named",
    [
        (["nonsense"], "nonsense"),
        (["serve", "--nonsense"], "--nonsense"),
        (["serve", "--role", "nobody"], "--role"),
        (["serve", "--config", "missing.toml"], "missing.toml"),
        (["audit", "--nonsense"], "--nonsense"),
        (["audit", "--config", "missing.toml"], "missing.toml"),
        (["backup"], "FILE"),
        (["backup", "till.backup", "--config", "missing.toml"], "missing.toml"),
        (["restore"], "FILE"),
        (["restore", "till.backup", "--step-over", "some"], "--step-over"),
        (["keys", "create"], "--name"),
        (["keys", "create", "--name", "shop"], "--scope"),
        (["keys", "revoke"], "ID"),
        (["keys", "list", "--config", "missing.toml"], "missing.toml"),
        (["seed", "create"], "--out"),
        (["seed", "create", "--out", "s.json", "--words", "13"], "--words"),
        (["seed", "create", "--out", "s.json"], "--passphrase-file"),
        (["seed", "create", "--out", "s.json", "--passphrase-file", "missing"], "--passphrase-file"),
        (["seed", "verify"], "FILE"),
        (["seed", "show-xpub", "s.json", "--network", "testnet9"], "--network"),
        (["init"], "--network"),
        (["init", "--network", "moon"], "--network"),
        (["init", "--network", "regtest"], "--descriptor"),
        (["demo", "--port", "0"], "--port"),
        (["demo", "--port", "70000"], "--port"),
        (["demo", "--port", "many"], "--port"),
        (["bench", "nothing"], "nothing"),
    ],
    ids=" ".join,
)
def test_one_line_that_names_it(run: Run, words: list[str], named: str, tmp_path: Path) -> None:
    done = run(*words)
    assert named in done.complaint
    assert done.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [[], ["keys"], ["seed"]])
def test_nothing_said_shows_the_help(run: Run, words: list[str]) -> None:
    done = run(*words)
    assert done.code == 2
    assert "--help" in done.out + done.err


@pytest.mark.parametrize("words", [[], ["keys", "create"], ["seed", "import"], ["serve"], ["demo"], ["init"]])
def test_help_is_no_error(run: Run, words: list[str]) -> None:
    done = run(*words, "--help")
    assert (done.code, done.err) == (0, "")
    assert "--help" in done.out


def test_the_same_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "keys", "create"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "nodetill: Missing option '--name'; see nodetill keys create --help\n"


def test_log_lines_are_lines() -> None:
    """A user id is what the shop sends: it makes no lines of its own and does not speak to the terminal."""
    record = logging.LogRecord("nodetill", logging.INFO, "", 0, "user %s", ("eve\n12:00:00 info \x1b[31mred",), None)
    assert Plain().format(record).count("\n") == 0
    assert "\x1b" not in Plain().format(record)
    assert JsonLines().format(record).count("\n") == 0


@pytest.mark.parametrize("after", [0.1, 0.4, 0.8])
def test_ctrl_c_while_loading_says_nothing(after: float) -> None:
    command = [sys.executable, str(ROOT / "main.py"), "keys", "list", "--config", "nowhere.toml"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert "Traceback" not in said


def test_a_command_loads_nothing_but_itself() -> None:
    """Else each start, of the service too, would take a second more on a small machine."""
    script = "import main, sys; main.command_line('serve'); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "commands.serve" in loaded
    assert not loaded & {"commands.demo", "commands.keys", "bench", "regtest", "psycopg", "rich"}
