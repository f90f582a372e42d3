"""The documents, read the way a reader sees them: pages, tables, words in code, shell lines."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def pages() -> list[str]:
    """Every Markdown file of the project, as a path below the root."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


@cache
def text(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


@cache
def code_words(page: str) -> frozenset[str]:
    """What stands between single backquotes, outside of fenced blocks."""
    return frozenset(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)))


@cache
def shell(page: str) -> str:
    """All shell blocks together."""
    return "\n".join(re.findall(r"```sh\n(.*?)```", text(page), re.DOTALL))


def rows(page: str, first: str) -> list[list[str]]:
    """Cells of the tables whose first heading is `first`."""
    found: list[list[str]] = []
    inside = False
    for line in text(page).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0] == first:
            inside = True
        elif inside and not set(cells[0]) <= {"-"}:
            found.append(cells)
    return found
