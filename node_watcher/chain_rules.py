"""What the chain of a network must look like: `chain_identity.toml`, and what the operator adds to it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from payments.model import BlockId

_DATA = Path(__file__).with_name("chain_identity.toml")
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class RefusedSoftware:
    """Node software that follows other rules: `marker` and then a date (YYYYMMDD) of `since` or later."""

    name: str
    marker: str
    since: int
    why: str

    def is_meant_by(self, version: str) -> bool:
        """Whether a `subversion` such as `/Satoshi:29.5.0/Knots:20260508/` names it."""
        return any(int(date) >= self.since for date in re.findall(re.escape(self.marker) + r"(\d{8})", version))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRules:
    """The marks of one network's chain."""

    network: str
    genesis: str
    easiest_bits: int
    """nBits of the least difficulty that a block may have."""
    stale_after_ms: int | None
    """A newest block older than this freezes credits; None: never."""
    checkpoints: tuple[BlockId, ...]
    refused: tuple[RefusedSoftware, ...]
    accept_version: str | None = None
    """The one `subversion` that the operator takes all the same."""

    def refusal(self, version: str) -> RefusedSoftware | None:
        """The entry by which a node of that `subversion` is refused, if it is."""
        if version == self.accept_version:
            return None
        return next((software for software in self.refused if software.is_meant_by(version)), None)


def rules_of(
    network: str,
    *,
    checkpoints: Iterable[BlockId] = (),
    accept_version: str | None = None,
    stale_after_ms: int | None = None,
) -> ChainRules:
    """The rules shipped for `network`; the operator's own word, where there is one, goes over them."""
    shipped: dict[str, Any] = tomllib.loads(_DATA.read_text("utf-8"))[network]
    pinned = {item["height"]: BlockId(item["height"], item["hash"]) for item in shipped.get("checkpoints", ())}
    pinned |= {block.height: block for block in checkpoints}
    if stale_after_ms is None and "stale_after_minutes" in shipped:
        stale_after_ms = shipped["stale_after_minutes"] * _MINUTE_MS
    return ChainRules(
        network=network,
        genesis=shipped["genesis"],
        easiest_bits=int(shipped["easiest_bits"], 16),
        stale_after_ms=stale_after_ms,
        checkpoints=tuple(pinned[height] for height in sorted(pinned)),
        refused=tuple(RefusedSoftware(**entry) for entry in shipped.get("refused", ())),
        accept_version=accept_version,
    )
