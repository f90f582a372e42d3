"""Looks at the node that another process asks for: three counters in the row of `till`.

Who wants a look raises the first and waits until one of the others has reached his number: the looks
that were done, or those that failed. Who watches looks once for all that wait. A raise rings
`CHANNEL` (a trigger, on PostgreSQL): a hint to look here sooner, nothing more.
"""

from __future__ import annotations

from typing import NamedTuple

from storage.tx import Tx

CHANNEL = "look_wanted"
"""Named in storage/migrations/0001_initial.postgres.sql, too."""


class Told(NamedTuple):
    """Numbers of the newest look that was done and of the newest that failed."""

    done: int
    failed: int


def want(tx: Tx) -> int:
    """Ask for a look; its number, to be compared with what is `told`."""
    tx.execute("UPDATE till SET look_wanted = look_wanted + 1 WHERE only_row = 1")
    row = tx.one("SELECT look_wanted FROM till WHERE only_row = 1")
    assert row is not None  # noqa: S101 - a till is claimed before anything is asked of it
    return int(row["look_wanted"])


def due(tx: Tx) -> int | None:
    """Number of the newest look that is wanted, None when all were told. Read it *before* looking."""
    row = tx.one(
        "SELECT look_wanted FROM till WHERE only_row = 1 AND look_wanted > look_done AND look_wanted > look_failed"
    )
    return int(row["look_wanted"]) if row else None


def finish(tx: Tx, number: int) -> None:
    """Looks up to this number are done: one began after they were wanted, and has ended."""
    tx.execute("UPDATE till SET look_done = :number WHERE only_row = 1 AND look_done < :number", number=number)


def fail(tx: Tx, number: int) -> None:
    """The node could not be asked for who wanted a look up to this number. The next may try again."""
    tx.execute("UPDATE till SET look_failed = :number WHERE only_row = 1 AND look_failed < :number", number=number)


def told(tx: Tx) -> Told:
    """Up to which number looks are done, and up to which they failed."""
    row = tx.one("SELECT look_done, look_failed FROM till WHERE only_row = 1")
    return Told(row["look_done"], row["look_failed"]) if row else Told(0, 0)
