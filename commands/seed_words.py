"""The words of a new seed on a terminal: shown once, taken away again, and asked for."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import typer
from rich.console import Console

from commands.console import refuse

_ASKED: Final = 3
_TRIES: Final = 3


def show_and_confirm(mnemonic: str, file: Path) -> None:
    """Show the words, wait until they are on paper, and ask for some of them. A seed whose paper is wrong is taken
    back: nothing was paid to it yet. So is one whose owner goes away in the middle."""
    confirmed = False
    try:
        confirmed = _confirmed(mnemonic)
    finally:
        if not confirmed:
            file.unlink(missing_ok=True)
    if not confirmed:
        refuse(f"the words were not those that were shown; {file} was removed again. Start anew, with paper and pen.")
    print(f"Right. Wrote {file}; the paper is the only other copy.")


def _confirmed(mnemonic: str) -> bool:
    words = mnemonic.split()
    screen = Console(highlight=False)
    with screen.screen(
        hide_cursor=False
    ):  # the terminal's second page: gone afterwards, and not in what can be scrolled
        screen.print("Write these words on paper, in this order. They are shown this once.\n")
        for number, word in enumerate(words, 1):
            screen.print(f"  {number:2}  {word}")
        typer.prompt("\nPress Enter when they are on the paper", default="", show_default=False)
    return asked_back(words, lambda question: str(typer.prompt(question, hide_input=False)))


def asked_back(words: list[str], ask: Callable[[str], str]) -> bool:
    """Whether somebody who is asked for three of the words, by their numbers, has them. Three slips are forgiven."""
    slips = 0
    for number in sorted(secrets.SystemRandom().sample(range(len(words)), _ASKED)):
        while ask(f"Word {number + 1}").strip().lower() != words[number]:
            slips += 1
            if slips > _TRIES:
                return False
            print(f"That is not word {number + 1}. Look at the paper again.")
    return True
