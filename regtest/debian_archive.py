"""Which Debian archive this machine already uses, and the keys that prove its lists."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

_KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
)


class PackagesUnavailable(RuntimeError):
    """Debian's packages cannot be had here; the message says why."""


def keyring() -> str:
    """Debian's archive keys. Raises `PackagesUnavailable` where there are none (Ubuntu, for one)."""
    for path in _KEYRINGS:
        if os.access(path, os.R_OK):
            return path
    raise PackagesUnavailable("this machine has no Debian archive keys (package debian-archive-keyring)")


def archives() -> list[str]:
    """Base addresses of the Debian archives in this machine's apt set-up, best first; may be empty."""
    found: list[str] = []
    listing = _output(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages"])
    for line in listing.splitlines():
        origin, label, address = line.split("|", 2)
        if origin == label == "Debian":
            found.append(address.rstrip("/") + "/")
    if not found:
        found = _archives_without_lists()
    return list(dict.fromkeys(found))


def _archives_without_lists() -> list[str]:
    """The same where the package lists were thrown away (slim images): ask apt what it would fetch."""
    with tempfile.TemporaryDirectory() as lists:
        (Path(lists) / "partial").mkdir()
        # Not -qq: it silences --print-uris.
        listing = _output(
            [
                "apt-get",
                "update",
                "--print-uris",
                "-o",
                f"Dir::State::lists={lists}",
                "-o",
                "Debug::NoLocking=1",
            ]
        )
    bases = re.findall(r"^'?(\S+?)/dists/(\S+?)/InRelease", listing, re.M)
    # What is not Debian's fails the check of signatures later; names that end in /debian save those tries.
    bases.sort(key=lambda base: not base[0].endswith("/debian"))
    return [f"{base}/" for base, suite in bases if "security" not in base + suite]


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
