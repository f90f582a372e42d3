"""The last gate before a credit: the node is asked about the very output, then the ledger is written."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from node_watcher.clock import now_ms
from node_watcher.rpc import Rpc, RpcError, sat
from payments.facts import OutputFact
from payments.model import BlockId, OutPoint, Status
from payments.record import PaymentRecord
from payments.status import settled
from storage import chain as stored_chain
from storage import ledger
from storage.database import Database

log = logging.getLogger("nodetill")


class EvidenceMismatch(Exception):
    """The node describes an output otherwise than the block in which we found it."""


class Crediting:
    """Books what the derived state says is due, with the node's word as evidence."""

    def __init__(self, rpc: Rpc, database: Database) -> None:
        self._rpc = rpc
        self._database = database

    async def book_due(self, tip: BlockId) -> int:
        """Book every payment that is due at `tip`; how many were. What cannot be shown yet waits for
        the next pass."""
        booked = 0
        for record in await self._database.read(ledger.bookings_due):
            try:
                evidence = await self._evidence(record, tip)
            except (RpcError, EvidenceMismatch) as error:
                log.error("Error processing payment %s: %s", record.id, error)
                continue
            if evidence is None:
                continue
            done = await self._database.write(ledger.book, record.number, evidence, now_ms())
            if done is not None:
                booked += 1
                tell_bookings([done])
        return booked

    async def _evidence(self, record: PaymentRecord, tip: BlockId) -> dict[OutPoint, dict[str, Any]] | None:
        """The node's `gettxout` for each output to be booked; None when its tip is not ours any more."""
        terms = record.facts.terms
        asked = [o for o in record.facts.outputs if not o.booked and settled(o, terms, tip.height)]
        answers = await self._rpc.batch([("gettxout", *o.outpoint, False) for o in asked])
        evidence: dict[OutPoint, dict[str, Any]] = {}
        for output, answer in zip(asked, answers, strict=True):
            if isinstance(answer, RpcError):
                raise answer
            block_hash = await self._database.read(stored_chain.active_hash, output.height or 0)
            shown: dict[str, Any] = {"block_hash": block_hash, "block_height": output.height}
            if answer is None:
                # Spent by the owner's wallet already: the block is the evidence, if the node still has
                # it in its active chain.
                header = await self._rpc.call("getblockheader", block_hash)
                if header["confirmations"] < output.needs_depth(terms.confirmations_required):
                    return None
                shown |= {"spent": True, "confirmations": header["confirmations"]}
            else:
                if answer["bestblock"] != tip.hash:
                    return None
                _compare(output, answer)
                shown |= {"best_block": answer["bestblock"], "confirmations": answer["confirmations"]}
            evidence[output.outpoint] = shown | {"value_sat": output.value_sat}
        return evidence


def _compare(output: OutputFact, answer: dict[str, Any]) -> None:
    value = sat(answer["value"])
    if value != output.value_sat:
        raise EvidenceMismatch(
            f"{output.outpoint.txid}:{output.outpoint.vout} holds {output.value_sat} sat in the block we read, "
            f"but {value} sat by the node's gettxout; nothing is credited. Run bitcoind with -checkblocks, then doctor."
        )


def tell_bookings(bookings: Iterable[ledger.Booking]) -> None:
    """The log lines of what was credited and what was taken back."""
    for done in bookings:
        _tell(done)


def _tell(done: ledger.Booking) -> None:
    payment = done.payment
    if done.credits > 0:
        log.info("Payment %s confirmed! Auto-processing...", payment.id)
        log.info(
            "Auto-processed payment %s: Added %d credits to user %s",
            payment.id,
            done.credits,
            payment.user_id,
        )
    elif done.credits < 0:
        log.error(
            "Payment %s was undone by a reorganisation: took %d credits back from user %s",
            payment.id,
            -done.credits,
            payment.user_id,
        )
    elif payment.state.status is Status.FAILED and done.before is not Status.FAILED:
        log.warning("Payment %s needs the operator: %s", payment.id, payment.state.failure_reason)
