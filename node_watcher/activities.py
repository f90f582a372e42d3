"""What the watcher does, as it sees it: three activities, each of which may also be recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from node_watcher.look import Looked
from payments.model import BlockId


class Looking(Protocol):
    """`Look`."""

    @property
    def believed_at(self) -> str | None: ...
    async def go(self, started: int) -> Looked: ...


class Hearing(Protocol):
    """The hearing half of `Mempool`."""

    async def hear(self, raws: Sequence[bytes], *, at: str | None = None) -> int: ...


class Comparing(Protocol):
    """`Witness`."""

    async def begin(self) -> None: ...
    async def prepare(self) -> None: ...
    async def compare(self, tip: BlockId) -> int: ...
