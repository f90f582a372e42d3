"""The file of a record: JSON lines, written as things happen and complete after `kill -9` up to the last line.

A long text (a block, a transaction, the mempool's list) stands in a line of its own, compressed, and once in
a run: `{"text": 17, "z": "…"}`; where it is meant stands `{"see": 17}`. A long list that is much like the one
before it, as the mempool is, says only how it differs.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import json
import logging
import os
import threading
import zlib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from node_watcher.record.list_change import change_between

log = logging.getLogger("nodetill")
FORMAT: Final = 1
_LONG: Final = 160
"""Characters from which a text is put on a line of its own."""

_CHANGES: Final = 50
"""So many changes of a list stand one on the other; then it is written down whole again."""

_SHORTEST_SECRET: Final = 6
_REMOVED: Final = "[removed]"


class BadRecord(Exception):
    """The file is no record, or none for this till; the message says what to do."""


def dumps(value: Any) -> str:
    """One line of JSON. A `Decimal` becomes `{"decimal": "0.00001"}`, exactly."""
    return json.dumps(value, default=_plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"a record cannot hold {type(value).__name__}")


class RecordWriter:
    """Appends to the record. What cannot be written ends the recording, never the service."""

    def __init__(self, path: Path, secrets: Iterable[str] = ()) -> None:
        """`secrets` are removed wherever they should show up. Raises `BadRecord`."""
        self.path = path
        # As they would stand within JSON. Removing a very short one would only spoil figures.
        texts = (json.dumps(secret)[1:-1] for secret in secrets if len(secret) >= _SHORTEST_SECRET)
        self._secrets = sorted(set(texts), key=len, reverse=True)
        self._lock = threading.Lock()
        self._texts: dict[bytes, int] = {}
        self._lists: dict[str, tuple[int, list[Any], int]] = {}
        self._full = False
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadRecord(f"--record: {path} is being written by another process; name another file.") from None
        except OSError as error:
            raise BadRecord(f"--record: {path} cannot be written ({os.strerror(error.errno or 0)}).") from error
        self._count = os.fstat(self._file).st_size  # so that no two runs in one file give a text the same number

    def continue_after(self, length: int, newest_text: int) -> None:
        """Begin a new run after the first `length` bytes; what is behind them is a cut line. No text gets a
        number up to `newest_text`."""
        self._count = max(self._count, newest_text)
        os.ftruncate(self._file, length)

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one line, from any thread."""
        with self._lock:
            self._append(self._clean(dumps(line)))

    def text_of(self, value: Any, like: str = "") -> Any:
        """`value`, or where it stands when it is long. `like` names what a list is to be compared with."""
        text = self._clean(dumps(value))
        if len(text) < _LONG:
            return value
        with self._lock:
            key = hashlib.sha256(text.encode()).digest()
            if (number := self._texts.get(key)) is None:
                self._count += 1
                self._texts[key] = number = self._count
                self._append(dumps({"text": number} | self._content(value, text, like, number)))
        return {"see": number}

    def _content(self, value: Any, text: str, like: str, number: int) -> dict[str, Any]:
        if like and isinstance(value, list):
            before, self._lists[like] = self._lists.get(like), (number, value, 0)
            if before is not None and before[2] < _CHANGES and (change := change_between(before[1], value)) is not None:
                self._lists[like] = (number, value, before[2] + 1)
                return {"like": before[0], **change}
        return {"z": base64.b64encode(zlib.compress(text.encode(), 6)).decode()}

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _REMOVED)
        return text

    def _append(self, text: str) -> None:
        if self._full:
            return
        data = text.encode() + b"\n"
        try:
            if os.write(self._file, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._full = True
            log.error("The record %s ends here, it cannot be written: %s. Payments go on.", self.path, error.strerror)

    def close(self) -> None:
        with self._lock:
            self._full = True
            os.close(self._file)
