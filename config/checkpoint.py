"""node.checkpoints: blocks that the operator knows to be in the right chain."""

from __future__ import annotations

import re

from pydantic import field_validator

from config.base import Section, Whole


class Checkpoint(Section):
    """The chain has the block `hash` at `height`."""

    height: Whole
    hash: str

    @field_validator("height")
    @classmethod
    def _height(cls, value: int) -> int:
        if value < 1:
            raise ValueError("must be a block's height, at least 1")
        return value

    @field_validator("hash")
    @classmethod
    def _hash(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
            raise ValueError("must be the 64 hex digits that `bitcoin-cli getblockhash HEIGHT` prints")
        return value.lower()
