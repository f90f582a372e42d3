"""What the doctor found: one thing looked at, how it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Colour(StrEnum):
    """`RED` keeps money from being taken or counted; `YELLOW` only makes that later, or will one day."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` is its short name, the same on every machine; `detail` a sentence, with the mend where one is due."""

    check: str
    colour: Colour
    detail: str


def green(check: str, detail: str) -> Finding:
    return Finding(check, Colour.GREEN, detail)


def yellow(check: str, detail: str) -> Finding:
    return Finding(check, Colour.YELLOW, detail)


def red(check: str, detail: str) -> Finding:
    return Finding(check, Colour.RED, detail)
