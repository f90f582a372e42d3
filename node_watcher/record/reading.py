"""A record, read line by line. Texts of their own are kept by where they stand in the file, not in memory."""

from __future__ import annotations

import base64
import json
import zlib
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from node_watcher.record.lines import FORMAT, BadRecord
from node_watcher.record.list_change import changed


class Line(NamedTuple):
    """`number` counts from 1, as an editor does."""

    number: int
    said: dict[str, Any]


class Reading:
    """The lines of one file in their order. Raises `BadRecord` where it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._lines = path.open("rb")
            self._aside = path.open("rb")
            self.size = path.stat().st_size
        except OSError as error:
            raise BadRecord(f"{path} cannot be read ({error.strerror}); name a file of `serve --record`.") from error
        self._where: dict[int, int] = {}
        self._ahead: deque[Line] = deque()
        self._number = 0
        self.good_bytes = 0
        """Length of what was read without a cut last line."""
        self.cut = False
        """Whether the last line was cut off, as a kill does."""
        self.text_at = lru_cache(maxsize=64)(self._text_at)
        try:
            first = self.peek()
            if first is None or "run" not in first.said:
                raise BadRecord(f"{path} is no record of nodetill; name a file that `serve --record` has written.")
        except BadRecord:
            self.close()
            raise

    @property
    def newest_text(self) -> int:
        """The highest number of a text so far."""
        return max(self._where, default=0)

    def close(self) -> None:
        self._lines.close()
        self._aside.close()

    def peek(self, place: int = 0) -> Line | None:
        """The line that comes next, or `place` lines after it."""
        while len(self._ahead) <= place:
            if (line := self._read()) is None:
                return None
            self._ahead.append(line)
        return self._ahead[place]

    def take(self) -> Line | None:
        line = self.peek()
        if line is not None:
            self._ahead.popleft()
        return line

    def __iter__(self) -> Iterator[Line]:
        while (line := self.take()) is not None:
            yield line

    def whole(self, value: Any) -> Any:
        """What a line says, with a text of its own put in its place, and numbers with a point as they were."""
        if isinstance(value, dict):
            if value.keys() == {"see"}:
                return self.text_at(value["see"])
            if value.keys() == {"decimal"}:
                return Decimal(value["decimal"])
            return {key: self.whole(inner) for key, inner in value.items()}
        return [self.whole(inner) for inner in value] if isinstance(value, list) else value

    def _text_at(self, number: int) -> Any:
        self._aside.seek(self._where[number])
        said = json.loads(self._aside.readline())
        if "like" in said:
            return changed(self.text_at(said["like"]), said)
        return self.whole(json.loads(zlib.decompress(base64.b64decode(said["z"]))))

    def _read(self) -> Line | None:
        while data := self._lines.readline():
            self._number += 1
            said = self._parsed(data)
            if said is None:
                return None
            self.good_bytes += len(data)
            if "run" in said:
                self._begin_run(said)
            if "text" in said:
                self._where[said["text"]] = self.good_bytes - len(data)
            elif "hint" not in said:
                return Line(self._number, said)
        return None

    def _begin_run(self, said: dict[str, Any]) -> None:
        if said["run"] != FORMAT:
            raise BadRecord(
                f"{self.path} has format {said['run']!r} of a record in line {self._number}, this nodetill reads "
                f"{FORMAT}; replay it with the nodetill that wrote it ({said.get('nodetill', 'unknown')})."
            )

    def _parsed(self, data: bytes) -> dict[str, Any] | None:
        """The line, or None for the last one of a file where it was cut."""
        try:
            said = json.loads(data)
            if not isinstance(said, dict):
                raise ValueError("no object")
        except ValueError:
            if self._number > 1 and not data.endswith(b"\n"):
                self.cut = True
                return None
            raise BadRecord(
                f"{self.path} is no record of nodetill, or was changed: line {self._number} cannot be read; "
                "name a file that `serve --record` has written."
            ) from None
        if not data.endswith(b"\n"):
            self.cut = True
            return None
        return said
