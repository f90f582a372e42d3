"""Where PostgreSQL's server programs come from: this machine, or Debian's packages unpacked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from regtest.cache import cache_folder
from regtest.debian_packages import PackageSet, PackagesUnavailable, unpack

Progress = Callable[[str], None]


class PostgresNotFound(RuntimeError):
    """No PostgreSQL server here and none to be had; the message says what to install or set."""


def _packages(version: int, suite: str) -> PackageSet:
    return PackageSet(
        name="postgresql",
        packages=(f"postgresql-{version}",),
        suites=((suite,),),
        programs=tuple(f"usr/lib/postgresql/{version}/bin/{name}" for name in ("initdb", "postgres")),
        needless=("libllvm", "libz3"),  # the just-in-time compiler: more than all the rest
    )


DEBIAN = (_packages(17, "trixie"), _packages(15, "bookworm"))


def find_postgres(progress: Progress = lambda _: None) -> Path:
    """The folder of `initdb` and `postgres`.

    The first of $POSTGRES_BIN, PATH, the newest in /usr/lib, Debian's package unpacked.

    Raises `PostgresNotFound`.
    """
    if given := os.environ.get("POSTGRES_BIN"):
        if not _runs(Path(given)):
            raise PostgresNotFound(f"POSTGRES_BIN={given} holds no initdb and postgres that run: correct or unset it")
        return Path(given)
    for folder in _on_this_machine():
        if _runs(folder):
            return folder
    problems = []
    for wanted in DEBIAN:
        try:
            return _beside_its_files(unpack(wanted, unpacked_folder() / wanted.packages[0], progress))
        except PackagesUnavailable as problem:
            problems.append(str(problem))
    raise PostgresNotFound(
        f"no PostgreSQL server found ({'; '.join(problems)}). Install the package postgresql, "
        "or set POSTGRES_BIN to the folder of initdb and postgres"
    )


def unpacked_folder() -> Path:
    """Where a copy is unpacked. PostgreSQL refuses to run as root and root's home is closed to others."""
    if os.geteuid() == 0 and "XDG_CACHE_HOME" not in os.environ:
        return Path("/var/cache/nodetill")
    return cache_folder()


def _on_this_machine() -> Iterator[Path]:
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve().parent
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(installed, key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0), reverse=True)


def _beside_its_files(starters: Path) -> Path:
    """The real folder behind the links: PostgreSQL looks for its files relative to its own path."""
    folder = (starters / "initdb").resolve().parent
    if not _runs(folder):
        raise PackagesUnavailable("the unpacked PostgreSQL does not start here")
    return folder


def _runs(folder: Path) -> bool:
    try:
        return all(
            subprocess.run([folder / name, "--version"], capture_output=True, timeout=60, check=False).returncode == 0
            for name in ("initdb", "postgres")
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
