"""One transaction that somebody sent us: whatever its bytes are, the loop that reads it goes on."""

from __future__ import annotations

import logging

from node_watcher.meter import Meter
from node_watcher.watchlist import Watchlist
from payments.model import IncomingTx
from payments.tx import MalformedTransaction, match

log = logging.getLogger("nodetill")


def of_ours(raw: bytes | str, watchlist: Watchlist, meter: Meter) -> IncomingTx | None:
    """A transaction, raw or as hex, if it pays us or spends what was ours.

    One that cannot be read is counted and skipped: were it a payment, the block that holds it would tell,
    and a block is never skipped.
    """
    try:
        return match(bytes.fromhex(raw) if isinstance(raw, str) else raw, watchlist.scripts, watchlist.prevouts)
    except MalformedTransaction as error:
        why: object = error
    except ValueError:
        why = "its hex is none"
    # Anybody who reaches our ZMQ socket can send them without end: one line of the log is enough.
    level = logging.WARNING if meter.unreadable() == 1 else logging.DEBUG
    log.log(level, "A transaction could not be read and was skipped: %s (further ones are only counted)", why)
    return None
