"""What an audit asks of the database, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from payments.difference import Difference
from payments.model import BlockId
from payments.scanned import ScannedChain

Step = Callable[[str, int, int], None]
"""`(what, done, of)`, called every now and then: it may tell somebody, rest a moment, or raise to give up."""

Derive = Callable[[int], tuple[bytes, str]]
"""Index of an address in a keychain -> `(script_pubkey, address)`. Raises `ValueError`."""


def no_step(what: str, done: int, of: int) -> None:
    """Neither tell nor rest."""


@dataclass(frozen=True, slots=True)
class Question:
    """The chain as it was read, and how much of the rest is looked at.

    Not `full` means: the newest payments and transfers, and what the blocks that were read touch.
    `opened` makes the addresses of a keychain out of its descriptor; `script_of` the script of an address.
    `destination` is where sweeps go by the settings, None in watch-only mode.
    """

    scanned: ScannedChain
    full: bool
    opened: Callable[[str], Derive]
    script_of: Callable[[str], bytes]
    destination: str | None = None
    step: Step = no_step


@dataclass(slots=True)
class Findings:
    """What one comparison found. `notes` are sentences that a person should know and that are no difference."""

    cursor: BlockId | None
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    transfers: int = 0
    payments: int = 0
    newest_transfer: int = 0
    ledger_hash: str = ""
    alive_at: int = 0
    """When the service last said how it is (ms)."""
    frozen: bool = False
    """The service gives no credit just now, and has told why."""
    comparable: bool = True
    """False when our cursor is not in the chain that was read: one of the two has moved."""
