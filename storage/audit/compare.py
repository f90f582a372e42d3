"""The audit of one snapshot: everything that must agree, compared."""

from __future__ import annotations

from storage.audit.chain import chain_differences
from storage.audit.decisions import decision_differences
from storage.audit.deposits import deposits
from storage.audit.ledger import hash_chain, newest, sums
from storage.audit.payments import payment_differences
from storage.audit.question import Findings, Question
from storage.audit.sweeps import sweep_differences
from storage.chain import cursor
from storage.till import health
from storage.tx import Tx

RECENT_TRANSFERS = 10_000
"""How much of the hash chain an audit of the recent window computes again."""


def compare(tx: Tx, question: Question) -> Findings:
    """Compare chain, facts and ledger as this snapshot holds them.

    Where our cursor is not in the chain that was read, nothing can be said of what follows from the
    chain: `comparable` is False then, and only the ledger itself was looked at.
    """
    findings = Findings(cursor(tx))
    findings.newest_transfer, findings.ledger_hash = newest(tx)
    report = health(tx)
    findings.frozen = bool(report.get("credits_frozen", report.get("reasons")))
    findings.alive_at = report["health_at"]
    after = 0 if question.full else findings.newest_transfer - RECENT_TRANSFERS
    findings.transfers, broken = hash_chain(tx, after, question.step)
    findings.differences += [*broken, *sums(tx)]
    question.step("ledger", 1, 1)
    findings.differences += [*deposits(tx), *decision_differences(tx)]
    question.step("ledger", 1, 1)
    at = findings.cursor
    findings.comparable = at is None or question.scanned.hash_at(at.height) == at.hash
    if not findings.comparable:
        return findings
    if at is not None:
        findings.differences += chain_differences(tx, question.scanned.until(at.height), at)
        question.step("blocks", 1, 1)
    payment_differences(tx, question, findings)
    findings.differences += sweep_differences(tx, question)
    return findings
