"""Looks at the node that another process asks for: two counters in the row of `till`.

Who wants a look raises the first and waits until the second has reached his number. Who watches
looks once for all that wait. A raise rings `CHANNEL` (a trigger, on PostgreSQL): a hint to look
here sooner, nothing more.
"""

from __future__ import annotations

from storage.tx import Tx

CHANNEL = "look_wanted"
"""Named in storage/migrations/0001_initial.postgres.sql, too."""


def want(tx: Tx) -> int:
    """Ask for a look; its number, to be compared with `done`."""
    tx.execute("UPDATE till SET look_wanted = look_wanted + 1 WHERE only_row = 1")
    row = tx.one("SELECT look_wanted FROM till WHERE only_row = 1")
    assert row is not None  # noqa: S101 - a till is claimed before anything is asked of it
    return int(row["look_wanted"])


def due(tx: Tx) -> int | None:
    """Number of the newest look that is wanted, None when all are done. Read it *before* looking."""
    row = tx.one("SELECT look_wanted FROM till WHERE only_row = 1 AND look_wanted > look_done")
    return int(row["look_wanted"]) if row else None


def finish(tx: Tx, number: int) -> None:
    """Looks up to this number are done: one began after they were wanted, and has ended."""
    tx.execute("UPDATE till SET look_done = :number WHERE only_row = 1 AND look_done < :number", number=number)


def done(tx: Tx) -> int:
    """Number of the newest look that is done."""
    row = tx.one("SELECT look_done FROM till WHERE only_row = 1")
    return int(row["look_done"]) if row else 0
