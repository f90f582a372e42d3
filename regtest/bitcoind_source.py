"""Where a bitcoind comes from: this machine, a container image, or Debian's package unpacked."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from regtest.cache import cache_folder
from regtest.debian_packages import PackageSet, PackagesUnavailable, unpack

Progress = Callable[[str], None]

# Debian has no Bitcoin Core; Knots is the same RPC, ZMQ and wallet code with stricter relay rules.
KNOTS = PackageSet(
    name="bitcoin-knots",
    packages=("bitcoin-knots",),
    # apt would otherwise answer the package's "systemd | systemd-standalone-sysusers" with all of systemd.
    beside=("systemd-standalone-sysusers",),
    suites=(("trixie-backports", "trixie"), ("testing",), ("unstable",)),
    programs=("usr/bin/bitcoind", "usr/bin/bitcoin-cli"),
)

# The datadir is mounted under its own path, so the command line means the same inside and outside.
_CONTAINER = """#!/bin/sh
mount=
for word in "$@"; do
  case "$word" in -datadir=*) mount=${{word#-datadir=}} ;; esac
done
if [ -n "$mount" ]; then set -- -v "$mount:$mount" --entrypoint {program} {image} "$@"
else set -- --entrypoint {program} {image} "$@"; fi
exec {engine} run --rm --init --network host --user "$(id -u):$(id -g)" "$@"
"""


class BitcoindNotFound(RuntimeError):
    """No bitcoind here and none to be had; the message says what was tried and what to set."""


@dataclass(frozen=True, slots=True)
class BitcoindPrograms:
    """A bitcoind that was seen to run, and its bitcoin-cli."""

    bitcoind: Path
    bitcoin_cli: Path
    version: str
    source: str


def find_bitcoind(progress: Progress = lambda _: None, *, offline: bool = False) -> BitcoindPrograms:
    """The first of $BITCOIND, PATH, cache, $BITCOIND_IMAGE, Debian's package that runs.

    `progress` gets short lines for people. Nothing is downloaded when `offline`.
    Raises `BitcoindNotFound`.
    """
    if given := os.environ.get("BITCOIND"):
        programs = _try(Path(given), "$BITCOIND")
        if programs is None:  # an explicit choice is never replaced by another
            raise BitcoindNotFound(
                f"BITCOIND={given} does not run or has no bitcoin-cli: correct the path, or unset BITCOIND"
            )
        return programs
    folder = cache_folder() / KNOTS.name
    on_path = shutil.which("bitcoind")
    if on_path and (programs := _try(Path(on_path), "PATH")):
        return programs
    if programs := _try(folder / "bin" / "bitcoind", "cache"):
        return programs
    problems: list[str] = []
    if offline:
        problems.append("downloads are switched off")
    else:
        if image := os.environ.get("BITCOIND_IMAGE"):
            try:
                return _from_image(image, progress)
            except BitcoindNotFound as problem:
                problems.append(str(problem))
        try:
            unpack(KNOTS, folder, progress)
            if programs := _try(folder / "bin" / "bitcoind", "Debian package"):
                return programs
            problems.append("the unpacked Debian package does not start here")
        except PackagesUnavailable as problem:
            problems.append(str(problem))
    raise BitcoindNotFound(
        f"no bitcoind found ({'; '.join(problems)}). Install Bitcoin Core or Knots so that bitcoind and "
        "bitcoin-cli are on PATH, or set BITCOIND=/path/to/bitcoind, or BITCOIND_IMAGE to a container image"
    )


def _try(bitcoind: Path, source: str) -> BitcoindPrograms | None:
    """The programs if they run, else None."""
    beside = bitcoind.with_name("bitcoin-cli")
    cli = str(beside) if beside.exists() else shutil.which("bitcoin-cli")
    if cli is None or not bitcoind.exists():
        return None
    try:
        done = subprocess.run([bitcoind, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode or "version" not in done.stdout:
        return None
    return BitcoindPrograms(bitcoind, Path(cli), done.stdout.splitlines()[0].strip(), source)


def _from_image(image: str, progress: Progress) -> BitcoindPrograms:
    """Small scripts that run the programs of a container image with the host's network."""
    engine = next((name for name in ("docker", "podman") if _daemon_answers(name)), None)
    if engine is None:
        raise BitcoindNotFound(f"BITCOIND_IMAGE={image}, but neither docker nor podman answers")
    progress(f"taking bitcoind from the image {image} by {engine}")
    folder = cache_folder() / "container"
    folder.mkdir(parents=True, exist_ok=True)
    for program in ("bitcoind", "bitcoin-cli"):
        script = folder / program
        script.write_text(_CONTAINER.format(program=program, image=shlex.quote(image), engine=engine))
        script.chmod(0o755)
    programs = _try(folder / "bitcoind", f"image {image}")
    if programs is None:
        raise BitcoindNotFound(f"BITCOIND_IMAGE={image} holds no bitcoind that runs")
    return programs


def _daemon_answers(engine: str) -> bool:
    if shutil.which(engine) is None:
        return False
    try:
        return subprocess.run([engine, "info"], capture_output=True, timeout=20, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main() -> int:
    """`python -m regtest.bitcoind_source`: print where the programs are, as JSON."""
    try:
        found = find_bitcoind(lambda line: print(line, file=sys.stderr))
    except BitcoindNotFound as problem:
        print(problem, file=sys.stderr)
        return 1
    print(
        json.dumps(
            {
                "bitcoind": str(found.bitcoind),
                "bitcoin_cli": str(found.bitcoin_cli),
                "version": found.version,
                "source": found.source,
            }
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
