"""What the log says when a payment's status moves."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from payments.model import Status
from storage.evaluation import Change

log = logging.getLogger("nodetill")


def tell(changes: Iterable[Change]) -> None:
    """One line for each payment whose status changed."""
    for change in changes:
        level = logging.WARNING if change.after is Status.FAILED else logging.INFO
        log.log(level, "Payment %s: %s -> %s", change.payment_id, change.before.value, change.after.value)
