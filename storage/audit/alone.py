"""What of an audit needs neither node nor keys: the ledger against itself and against the facts."""

from __future__ import annotations

from payments.difference import Difference
from storage.audit.deposits import deposits
from storage.audit.ledger import contradictions, newest
from storage.audit.question import Step
from storage.tx import Tx


def audit_alone(tx: Tx, step: Step) -> tuple[str, list[Difference]]:
    """The newest hash of the ledger, and what differs, from the first transfer on."""
    return newest(tx)[1], [*contradictions(tx, step), *deposits(tx)]
