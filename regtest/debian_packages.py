"""Programs of Debian packages without root: unpacked into a folder, never installed.

apt fetches and checks signatures and hashes, with a state of its own in a temporary folder: an
empty list of installed packages makes it offer every library, so the programs bring their own C
library and run on an older (or other) Debian. The archive is the one this machine already uses.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from regtest.debian_archive import PackagesUnavailable, archives, keyring

__all__ = ["PackageSet", "PackagesUnavailable", "unpack"]

Progress = Callable[[str], None]

# Besides what was asked for only shared libraries are needed to run; scripts of the packages never run.
_LIBRARY = re.compile(r"^lib(?!c-|.*-perl$|perl)")
_USELESS = ("usr/share/doc", "usr/share/locale", "usr/share/man", "usr/share/lintian")

_APT_CONF = """
Dir::State "{0}"; Dir::State::lists "{0}/lists"; Dir::State::status "{0}/status";
Dir::State::extended_states "{0}/extended"; Dir::Log "{0}";
Dir::Cache "{0}"; Dir::Cache::archives "{0}/archives";
Dir::Etc::SourceList "/dev/null"; Dir::Etc::SourceParts "{0}/sources";
Dir::Etc::Preferences "/dev/null"; Dir::Etc::PreferencesParts "/dev/null";
Acquire::Languages "none"; APT::Install-Recommends "0"; APT::Default-Release "{1}";
Debug::NoLocking "1"; APT::Sandbox::User "";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
"""


@dataclass(frozen=True, slots=True)
class PackageSet:
    """What to unpack.

    `suites` are tried in turn, the first name of each is the packages' own, further names are for
    their libraries. `beside` only steers apt's choice of dependencies. `programs` are paths inside
    the packages (patterns allowed) that get a starter in `bin/`. `needless` names libraries that
    only parts nobody runs here would load.
    """

    name: str
    packages: tuple[str, ...]
    suites: tuple[tuple[str, ...], ...]
    programs: tuple[str, ...]
    beside: tuple[str, ...] = ()
    needless: tuple[str, ...] = ()


def unpack(wanted: PackageSet, folder: Path, progress: Progress = lambda _: None) -> Path:
    """Unpack into `folder` and return `folder/bin` with the starters; what is there already is kept.

    Two at once are safe: the second waits and finds the copy of the first.
    Raises `PackagesUnavailable` with every reason.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise PackagesUnavailable(f"{wanted.name} cannot be unpacked: {tool} is missing, so this is no Debian")
    key = keyring()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "manifest.json").exists():
            return folder / "bin"
        problems = []
        for archive in archives():
            for suites in wanted.suites:
                with tempfile.TemporaryDirectory(dir=folder, prefix="work-") as work:
                    try:
                        _unpack_suite(wanted, Path(work), folder, archive, suites, key, progress)
                        return folder / "bin"
                    except PackagesUnavailable as problem:
                        problems.append(f"{suites[0]}: {problem}")
                        progress(problems[-1])
    raise PackagesUnavailable("; ".join(problems) or "apt on this machine knows no Debian archive")


def _unpack_suite(
    wanted: PackageSet,
    work: Path,
    folder: Path,
    archive: str,
    suites: Sequence[str],
    key: str,
    progress: Progress,
) -> None:
    apt = _private_apt(work, archive, suites, key)
    progress(f"{wanted.name}: reading the package list of Debian {suites[0]}")
    _run([*apt, "update"])
    plan = _run([*apt, "install", "--print-uris", *wanted.packages, *wanted.beside])
    versions: dict[str, str] = {}
    size = 0
    for name, version, count in re.findall(r"^'[^']+' ([^_\s]+)_([^_\s]+)_\S+ (\d+)", plan, re.M):
        if name in wanted.packages or (_LIBRARY.match(name) and not name.startswith(wanted.needless)):
            versions[name] = version.replace("%3a", ":")
            size += int(count)
    if missing := set(wanted.packages) - set(versions):
        raise PackagesUnavailable(f"apt offers no {', '.join(sorted(missing))}")
    progress(f"{wanted.name}: fetching {len(versions)} packages, {size / 1e6:.0f} MB")
    (work / "debs").mkdir()
    _run([*apt, "download", *(f"{name}={version}" for name, version in versions.items())], cwd=work / "debs")
    progress(f"{wanted.name}: unpacking")
    root = work / "root"
    root.mkdir()
    for deb in sorted((work / "debs").glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(deb), str(root)])
    for useless in _USELESS:
        shutil.rmtree(root / useless, ignore_errors=True)
    final = folder / "root"
    shutil.rmtree(final, ignore_errors=True)
    root.rename(final)
    _make_starters(wanted, final, folder / "bin")
    manifest = json.dumps({"suite": suites[0], "packages": versions}, indent=1)
    # Last and in one step: its presence says that all of the above is there.
    (work / "manifest.json").write_text(manifest)
    (work / "manifest.json").replace(folder / "manifest.json")


def _private_apt(work: Path, archive: str, suites: Sequence[str], key: str) -> list[str]:
    """apt-get with a state of its own in `work` and one source."""
    for name in ("lists/partial", "archives/partial", "sources"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources" / "own.sources").write_text(
        f"Types: deb\nURIs: {archive}\nSuites: {' '.join(suites)}\nComponents: main\n"
        f"Targets: Packages\nSigned-By: {key}\n"
    )
    # Read with -c after the machine's own settings, so its proxies and certificates stay in force.
    (work / "apt.conf").write_text(_APT_CONF.format(work, suites[0]))
    return ["apt-get", "-c", str(work / "apt.conf"), "-qq", "-y"]


def _make_starters(wanted: PackageSet, root: Path, folder: Path) -> None:
    """Replace each program by a script that runs it with the packages' own loader and libraries.

    The script stands in the program's place, because PostgreSQL's programs look for their files
    beside their own path; `folder` gets links to the scripts.
    """
    folders = {
        f"{root}/{path.parent.relative_to(root)}"
        for top in ("lib", "usr/lib")
        for path in root.glob(f"{top}/*-gnu/lib*.so.*")
    }
    libraries = ":".join(sorted(folders))
    folder.mkdir(exist_ok=True)
    for pattern in wanted.programs:
        found = sorted(root.glob(pattern))
        if not found:
            raise PackagesUnavailable(f"the packages hold no {pattern}")
        for program in found:
            named = interpreter(program)
            # Debian's merged /usr: packages may ship the loader as /usr/lib64/… or /lib64/….
            loader = next((place for place in (f"{root}{named}", f"{root}/usr{named}") if os.path.lexists(place)), None)
            if loader is None:
                raise PackagesUnavailable(f"the packages hold no {named}")
            real = program.with_name(f".{program.name}.real")
            program.rename(real)
            words = [loader, "--argv0", str(program), "--library-path", libraries, str(real)]
            program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            program.chmod(0o755)
            link = folder / program.name
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(program, folder))


def interpreter(program: Path) -> str:
    """The loader that a 64-bit little-endian ELF file asks for (its PT_INTERP segment)."""
    with program.open("rb") as file:
        head = file.read(1 << 16)
    if head[:6] != b"\x7fELF\x02\x01":
        raise PackagesUnavailable(f"{program.name} is not a 64-bit little-endian program")
    (table,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    for index in range(count):
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", head, table + index * size)
        if kind == 3:
            return head[offset : offset + length].rstrip(b"\0").decode()
    raise PackagesUnavailable(f"{program.name} names no loader")


def _run(command: Sequence[str], cwd: Path | None = None) -> str:
    """Output of a command that must succeed; its last line of complaint is the error otherwise."""
    environment: Mapping[str, str] = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, check=False)
    if done.returncode:
        complaint = done.stderr.strip().splitlines() or [f"{command[0]} ended with {done.returncode}"]
        raise PackagesUnavailable(complaint[-1])
    return done.stdout
