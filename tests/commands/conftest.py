"""The command line, run in this process: exit code, what it prints, what it complains about."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import main

DESCRIPTOR = (
    "wpkh(tpubDDNRbZGvdA33cgpY5uy2mmphT7sK4uciRjcQScSd64S5KRyZDxHcPuzs"
    "24or84Hywugb2JbEEt2jWH8fduiN9cmZzkSj8sSSx6txXkhXyZs/0/*)"
)


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on standard error of a refusal."""
        (line,) = self.err.splitlines()
        assert line.startswith("nodetill: "), line
        assert self.code == 2
        return line.removeprefix("nodetill: ")


Run = Callable[..., Done]


@contextmanager
def logging_as_it_was() -> Iterator[None]:
    """A command sets up logging for its process, which here is everybody's."""
    root, ours = logging.getLogger(), logging.getLogger("nodetill")
    before = list(root.handlers), root.level, list(ours.handlers), ours.level
    try:
        yield
    finally:
        root.handlers[:], ours.handlers[:] = before[0], before[2]
        root.setLevel(before[1])
        ours.setLevel(before[3])


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`run("keys", "list", typed="…")` in an empty folder, without a terminal."""
    monkeypatch.chdir(tmp_path)

    def go(*arguments: Any, typed: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with logging_as_it_was():
            code = main.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Done(code, said.out, said.err)

    return go


@pytest.fixture
def config(run: Run, tmp_path: Path) -> Path:
    """A settings file that `init` wrote."""
    path = tmp_path / "nodetill.toml"
    assert run("init", "--network", "regtest", "--descriptor", DESCRIPTOR, "--config", path).code == 0
    return path
