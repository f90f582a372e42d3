"""What the signer has signed within the last 24 hours: for its daily cap, and to say the same again when asked again.

JSON lines, each with a hash over itself and the line before it. A line is on the disk before its signature leaves.
Everything in it is public once it is broadcast; there are no keys in it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node_watcher.signing.exposure import refuse_exposed_file
from node_watcher.signing.file_lock import FileLock, Held
from payments.model import OutPoint

WINDOW_MS: Final = 24 * 60 * 60 * 1000
_FORMAT: Final = "nodetill-signer-journal"
_WRITE: Final = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_SUPERFLUOUS: Final = 64
"""So many forgotten lines make it worth writing the file anew."""


class JournalError(Exception):
    """The journal cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One signed sweep. `request` is a hash of the question, `coins` the value in satoshi of each input."""

    at: int
    request: str
    coins: Mapping[OutPoint, int]
    raw: bytes


class Journal:
    """One file, and one process that writes it."""

    def __init__(self, path: Path, *, patience: float = 0.0) -> None:
        """Read it, or begin one. `patience` in seconds for an earlier signer that is just ending.

        Raises `JournalError`, or `Exposed`.
        """
        self.path = path
        try:
            self._lock = FileLock(path.with_name(f"{path.name}.lock"), patience)
        except Held:
            raise JournalError(f"another signer that runs writes the journal {path}: end it first") from None
        except OSError as error:
            raise JournalError(f"the journal {path} cannot be locked: {error.strerror}") from error
        try:
            self._entries: list[Entry] = []
            self._forgotten = 0
            self._torn = False
            self._file, self._link, self._size = -1, "", 0
            self.newest = 0
            self._read()
        except OSError as error:
            self._lock.release()
            raise JournalError(f"the journal {path} cannot be read or written: {error.strerror}") from error
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        os.close(self._file)
        self._lock.release()

    # ------------------------------------------------------------------ asking

    def signed(self, request: str, now: int) -> bytes | None:
        """The bytes with which this very question was answered within the window."""
        return next((entry.raw for entry in self._living(now) if entry.request == request), None)

    def counted(self, now: int) -> dict[OutPoint, int]:
        """The value of each coin signed for within the window. A coin counts once, however often it is signed for:
        with the highest value that was claimed for it, since only the true one makes a good signature."""
        found: dict[OutPoint, int] = {}
        for entry in self._living(now):
            for outpoint, value in entry.coins.items():
                found[outpoint] = max(value, found.get(outpoint, 0))
        return found

    def _living(self, now: int) -> Iterable[Entry]:
        return (entry for entry in self._entries if entry.at > now - WINDOW_MS)

    # ------------------------------------------------------------------ writing

    def append(self, entry: Entry) -> None:
        """Have it on the disk. Raises `JournalError`, and then the signature must not leave."""
        try:
            if self._torn:
                os.ftruncate(self._file, self._size)
                self._torn = False
            self._forget(entry.at)
            line, link = _line(_written(entry), self._link)
            self._torn = True  # until all of it is there; what stands there half is cut off before the next line
            _write_all(self._file, line)
            os.fsync(self._file)
            self._torn = False
        except OSError as error:
            raise JournalError(f"the journal {self.path} cannot be written: {error.strerror}") from error
        self._link, self._size = link, self._size + len(line)
        self._entries.append(entry)
        self.newest = max(self.newest, entry.at)

    def _forget(self, now: int) -> None:
        kept = list(self._living(now))
        self._forgotten += len(self._entries) - len(kept)
        self._entries = kept
        if self._forgotten >= _SUPERFLUOUS:
            self._write_anew()

    def _write_anew(self) -> None:
        """The lines of the window alone, in a new file that takes the old one's place."""
        beside = self.path.with_name(f"{self.path.name}.new")
        line, link = _line({"format": _FORMAT, "version": 1, "newest": self.newest}, "")
        content = [line]
        for entry in self._entries:
            line, link = _line(_written(entry), link)
            content.append(line)
        file = os.open(beside, _WRITE | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.fchmod(file, 0o600)
            _write_all(file, b"".join(content))
            os.fsync(file)
            os.replace(beside, self.path)
        except OSError:
            os.close(file)
            raise
        _sync_folder(self.path.parent)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._link, self._size, self._forgotten = file, link, sum(map(len, content)), 0

    # ------------------------------------------------------------------ reading

    def _read(self) -> None:
        if not os.path.lexists(self.path):
            self._write_anew()
            return
        refuse_exposed_file(self.path, "the signer's journal", secret=True)
        content = self.path.read_bytes()
        # A line without its end was being written when the power went: its signature never left.
        whole = content[: content.rfind(b"\n") + 1]
        link = ""
        for number, line in enumerate(whole.splitlines(keepends=True), 1):
            try:
                said = json.loads(line)
                body = {name: value for name, value in said.items() if name != "link"}
                again, link = _line(body, link)
                if again != line:
                    raise ValueError("its hash is wrong")
                if number == 1:
                    self._begin(body)
                else:
                    self._entries.append(entry := _entry(body))
                    self.newest = max(self.newest, entry.at)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise self._damaged(number) from error
        if link == "":
            raise self._damaged(1)
        self._link, self._size = link, len(whole)
        self._file = os.open(self.path, _WRITE)
        if len(whole) != len(content):
            os.ftruncate(self._file, len(whole))

    def _begin(self, body: Mapping[str, Any]) -> None:
        if body["format"] != _FORMAT or body["version"] != 1:
            raise ValueError("another format")
        self.newest = int(body["newest"])

    def _damaged(self, line: int) -> JournalError:
        return JournalError(
            f"the journal {self.path} is damaged in line {line}, so what was signed today is not known: find out who "
            "changed it; to begin with an empty one, as if nothing had been signed today, move it away"
        )


def _written(entry: Entry) -> dict[str, Any]:
    coins = [[outpoint.txid, outpoint.vout, value] for outpoint, value in entry.coins.items()]
    return {"at": entry.at, "request": entry.request, "coins": coins, "raw": entry.raw.hex()}


def _entry(body: Mapping[str, Any]) -> Entry:
    coins = {OutPoint(str(txid), int(vout)): int(value) for txid, vout, value in body["coins"]}
    return Entry(int(body["at"]), str(body["request"]), coins, bytes.fromhex(body["raw"]))


def _line(body: Mapping[str, Any], before: str) -> tuple[bytes, str]:
    """The line, and its link: a hash over it and the link before."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    link = hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()[:32]
    return (json.dumps({**body, "link": link}, sort_keys=True, separators=(",", ":")) + "\n").encode(), link


def _write_all(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
