"""`seed`: the words are said once, the passphrase never."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import stat
import sys
from pathlib import Path

import pytest

from node_watcher.signing import seed as seeds
from payments.descriptor import RangedDescriptor
from regtest.command_line import ROOT
from tests.commands.conftest import Run

PASSPHRASE = "correct horse battery"
WORDS = "abandon " * 11 + "about"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(PASSPHRASE + "\n")
    return path


def test_created_verified_shown(run: Run, secret: Path, tmp_path: Path) -> None:
    file = tmp_path / "seed.json"
    made = run("seed", "create", "--out", file, "--passphrase-file", secret, "--json")
    words = json.loads(made.out)["mnemonic"]
    assert len(words.split()) == 12
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert words not in file.read_text()
    checked = run("seed", "verify", file, "--passphrase-file", secret, "--with-words", typed=words.upper() + "\n")
    assert checked.code == 0
    assert "the words are the same" in checked.out
    shown = run("seed", "show-xpub", file, "--network", "regtest", "--passphrase-file", secret, "--json")
    descriptor = json.loads(shown.out)["descriptor"]
    assert RangedDescriptor.parse(descriptor, "regtest").derive(0)[1].startswith("bcrt1q")
    assert json.loads(shown.out)["fingerprint"] in checked.out
    for said in (made, checked, shown):
        assert PASSPHRASE not in said.out + said.err


def test_imported_words_give_the_known_account(run: Run, secret: Path, tmp_path: Path) -> None:
    """BIP 84's own test vector."""
    file = tmp_path / "seed.json"
    done = run("seed", "import", "--out", file, "--passphrase-file", secret, typed=WORDS + "\n")
    assert done.code == 0
    assert "abandon" not in done.out + done.err
    shown = run("seed", "show-xpub", file, "--network", "main", "--passphrase-file", secret)
    assert "[73c5da0a/84h/0h/0h]" in shown.out
    first = RangedDescriptor.parse(shown.out.strip(), "main").derive(0)[1]
    assert first == "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"


def test_passphrase_from_the_environment(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODETILL_WALLET__SEED_PASSPHRASE", PASSPHRASE)
    assert run("seed", "create", "--out", tmp_path / "seed.json").code == 0
    assert run("seed", "verify", tmp_path / "seed.json").code == 0


def test_wrong_passphrase_is_a_found_problem(run: Run, secret: Path, tmp_path: Path) -> None:
    file = tmp_path / "seed.json"
    assert run("seed", "create", "--out", file, "--passphrase-file", secret).code == 0
    (tmp_path / "other").write_text("another passphrase")
    for command in (("verify",), ("show-xpub",)):
        done = run("seed", *command, file, "--passphrase-file", tmp_path / "other")
        assert (done.code, done.out) == (1, "")
        assert len(done.err.splitlines()) == 1


def test_other_words_than_on_paper(run: Run, secret: Path, tmp_path: Path) -> None:
    file = tmp_path / "seed.json"
    run("seed", "create", "--out", file, "--passphrase-file", secret)
    done = run("seed", "verify", file, "--passphrase-file", secret, "--with-words", typed=WORDS + "\n")
    assert done.code == 1


@pytest.mark.parametrize("content", [b"short", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", b""])
def test_unusable_passphrase_files(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad").write_bytes(content)
    assert run("seed", "create", "--out", tmp_path / "seed.json", "--passphrase-file", tmp_path / "bad").complaint
    assert not (tmp_path / "seed.json").exists()


def test_bad_words(run: Run, secret: Path, tmp_path: Path) -> None:
    done = run("seed", "import", "--out", tmp_path / "s", "--passphrase-file", secret, typed="abandon " * 12 + "\n")
    assert "abandon" not in done.complaint
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("command", ["create", "import"])
def test_existing_file_is_refused_before_anything_is_asked(
    run: Run, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seed.json").write_text("{}")

    done = run("seed", command, "--out", tmp_path / "seed.json")
    assert "--out" in done.complaint
    assert "never overwritten" in done.complaint


# ------------------------------------------------------------------ on a terminal


class Terminal:
    """`seed create` as somebody at a terminal has it, who reads the screen and types."""

    def __init__(self, out: Path, secret: Path) -> None:
        self.screen = ""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.execv(
                sys.executable,
                [
                    sys.executable,
                    str(ROOT / "main.py"),
                    "seed",
                    "create",
                    "--out",
                    str(out),
                    "--passphrase-file",
                    str(secret),
                ],
            )

    def until(self, pattern: str) -> re.Match[str]:
        """Read on until the screen shows something new that matches; what comes after it stays unread."""
        while (found := re.search(pattern, self.screen)) is None:
            ready, _, _ = select.select([self._terminal], [], [], 30)
            assert ready, f"waited for {pattern}: {self.screen}"
            try:
                self.screen += os.read(self._terminal, 1024).decode()
            except OSError:  # the other side has ended
                raise AssertionError(f"ended before {pattern}: {self.screen}") from None
        self.screen = self.screen[found.end() :]
        return found

    def type(self, text: str) -> None:
        os.write(self._terminal, f"{text}\n".encode())

    def end(self) -> int:
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._terminal)
        return code

    def shown(self) -> list[str]:
        """The words, and they were read."""
        words = [self.until(rf"\s{number}\s+([a-z]+)\s").group(1) for number in range(1, 13)]
        self.until("Press Enter")
        self.type("")
        return words


def test_on_a_terminal_some_words_are_asked_back(secret: Path, tmp_path: Path) -> None:
    file = tmp_path / "seed.json"
    terminal = Terminal(file, secret)
    words = terminal.shown()
    for turn in range(3):
        number = int(terminal.until(r"Word (\d+)").group(1))
        if turn == 0:
            terminal.type("zoo" if words[number - 1] != "zoo" else "zone")
            terminal.until("Look at the paper again")
            assert int(terminal.until(r"Word (\d+)").group(1)) == number
        terminal.type(words[number - 1].upper())
    terminal.until("Right. Wrote")
    assert terminal.end() == 0
    assert seeds.verify(file, PASSPHRASE, " ".join(words))


@pytest.mark.parametrize("how", ["wrong words", "Ctrl-C", "Ctrl-C at the screen"])
def test_a_seed_that_is_not_on_paper_is_taken_back(secret: Path, tmp_path: Path, how: str) -> None:
    file = tmp_path / "seed.json"
    terminal = Terminal(file, secret)
    if how == "Ctrl-C at the screen":
        terminal.until("Press Enter")
        terminal.type("\x03")
        assert terminal.end() in (2, 130)
        assert not file.exists()
        return
    terminal.shown()
    terminal.until(r"Word \d+")
    if how == "Ctrl-C":
        terminal.type("\x03")
        assert terminal.end() in (2, 130)
    else:
        for _ in range(3):
            terminal.type("nothing")
            terminal.until("Look at the paper again")
        terminal.type("nothing")
        terminal.until("was removed again")
        assert terminal.end() == 2
    assert not file.exists()
