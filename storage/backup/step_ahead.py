"""What must not be given a second time, because it may have been given since the backup (docs/decisions/0013)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from payments.events import EventType
from payments.view import rfc3339
from storage.backup.file_format import Header
from storage.events import append, newest_event
from storage.till import keychain, next_index, step_over
from storage.tx import Tx

EVENTS: Final = 1_000_000_000
"""So many numbers of events are left out: more than any till gives between a backup and its loss."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """The keychain of the settings, from which the next addresses will come."""

    fingerprint: str
    text: str
    watch_only: bool


@dataclass(frozen=True, slots=True)
class Stepped:
    """`next_index` of the descriptor of the settings, and the number of the event that tells of the restoring."""

    next_index: int
    event: int


def step_ahead(tx: Tx, backup: Header, descriptor: Descriptor, distance: int, now: int) -> Stepped:
    """Leave out `distance` addresses of each keychain, and numbers of events, and tell shops of it by an event."""
    # It may have come into use since the backup: then it is not in there, and its addresses are shown all the same.
    ours = keychain(tx, descriptor.fingerprint, descriptor.text, watch_only=descriptor.watch_only, now=now)
    for row in tx.all("SELECT id FROM keychain ORDER BY id"):
        step_over(tx, row["id"], next_index(tx, row["id"]) + distance)
    last = newest_event(tx)
    before = tx.one("SELECT count(*) AS n FROM event WHERE type = :kind", kind=EventType.TILL_RESTORED.value)
    data = {"backup_created_at": rfc3339(backup.created_at), "restored_at": rfc3339(now), "events_until": last}
    event = append(
        tx,
        EventType.TILL_RESTORED,
        data,
        now,
        payment_number=None,
        sequence=1 + (int(before["n"]) if before else 0),
        number=last + EVENTS,
    )
    return Stepped(next_index(tx, ours), event)
