"""The last gate before a credit: the node is asked about the very output, then the ledger is written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from node_watcher.clock import Clock, now_ms
from node_watcher.meter import Meter
from node_watcher.rpc import Rpc, RpcError, sat
from payments.facts import OutputFact
from payments.model import BlockId, OutPoint, Status
from payments.record import PaymentRecord
from payments.status import settled
from storage import chain as stored_chain
from storage import ledger
from storage.database import Database

log = logging.getLogger("nodetill")
_AT_ONCE = 200
_BLOCK_PRUNED = "Block not available"
_MEND = "Run bitcoind with -checkblocks, and report it if the node finds its blocks in order."

Evidence = dict[OutPoint, dict[str, Any]]
"""What the node answered about each output that is to be booked."""


class EvidenceMismatch(Exception):
    """The node describes an output otherwise than the block in which we found it."""


class Crediting:
    """Books what the derived state says is due, with the node's word as evidence."""

    def __init__(self, rpc: Rpc, database: Database, meter: Meter | None = None, *, clock: Clock = now_ms) -> None:
        self._rpc = rpc
        self._database = database
        self._meter = meter or Meter()
        self._clock = clock

    async def book_due(self, tip: BlockId) -> int:
        """Book every payment that is due at `tip`; how many were. What cannot be shown yet waits for
        the next pass, and holds up nobody behind it."""
        booked = 0
        tried: set[int] = set()
        while due := await self._untried(tried):
            tried |= {record.number for record in due}
            shown = await self._evidence(due, tip)
            for done in await asyncio.gather(
                *(
                    self._database.write(ledger.book, number, evidence, self._clock())
                    for number, evidence in shown.items()
                )
            ):
                if done is not None:
                    booked += 1
                    self._measure(done)
                    tell_bookings([done])
        return booked

    def _measure(self, done: ledger.Booking) -> None:
        detected, confirmed = done.payment.state.detected_at, done.payment.confirmed_at
        if done.credits > 0 and detected is not None and confirmed is not None:
            self._meter.confirmation.observe((confirmed - detected) / 1000)

    async def _untried(self, tried: set[int]) -> list[PaymentRecord]:
        due = await self._database.read(ledger.bookings_due, len(tried) + _AT_ONCE)
        return [record for record in due if record.number not in tried]

    async def _evidence(self, due: Sequence[PaymentRecord], tip: BlockId) -> dict[int, Evidence]:
        """By payment number, the node's `gettxout` of each output to be booked. Payments of which the node does not
        speak from our tip are left out; of those of which it speaks otherwise nothing is shown."""
        asked = [
            (record, output)
            for record in due
            for output in record.facts.outputs
            if not output.booked and settled(output, record.facts.terms, tip.height)
        ]
        answers = await self._rpc.batch([("gettxout", *output.outpoint, False) for _, output in asked])
        found: dict[int, Evidence] = {record.number: {} for record in due}
        unshown: set[int] = set()
        for (record, output), answer in zip(asked, answers, strict=True):
            if record.number not in found:
                continue  # another output of it could not be shown
            try:
                proof = await self._proof(record, output, answer, tip)
            except (RpcError, EvidenceMismatch) as error:
                log.error("Error processing payment %s: %s", record.id, error)
                unshown.add(record.number)
                continue
            if proof is None:
                del found[record.number]
            else:
                found[record.number][output.outpoint] = proof
        return {number: {} if number in unshown else proofs for number, proofs in found.items()}

    async def _proof(
        self, record: PaymentRecord, output: OutputFact, answer: Any, tip: BlockId
    ) -> dict[str, Any] | None:
        """What the ledger keeps as evidence for one output; None when the node's tip is not ours any more."""
        if isinstance(answer, RpcError):
            raise answer
        block_hash = await self._database.read(stored_chain.active_hash, output.height or 0)
        proof: dict[str, Any] = {
            "block_hash": block_hash,
            "block_height": output.height,
            "value_sat": output.value_sat,
        }
        if answer is None:
            # Spent by the owner's wallet already: the block is the evidence, if the node still has it in
            # its active chain.
            depth = await self._depth_in_its_block(record, output, block_hash)
            if depth < output.needs_depth(record.facts.terms.confirmations_required):
                return None
            return proof | {"spent": True, "confirmations": depth}
        if answer["bestblock"] != tip.hash:
            return None
        _compare(record, output, answer)
        if answer["confirmations"] != output.depth(tip.height):
            raise EvidenceMismatch(
                f"{output.outpoint.txid}:{output.outpoint.vout} is {output.depth(tip.height)} deep by the blocks we "
                f"read, but {answer['confirmations']} by the node's gettxout; nothing is credited. {_MEND}"
            )
        return proof | {"best_block": answer["bestblock"], "confirmations": answer["confirmations"]}

    async def _depth_in_its_block(self, record: PaymentRecord, output: OutputFact, block_hash: str | None) -> int:
        """Confirmations of a spent output by the node, which must describe it as we do; 0 outside its active chain."""
        try:
            mined = await self._rpc.call("getrawtransaction", output.outpoint.txid, True, block_hash)
        except RpcError as error:
            if _BLOCK_PRUNED not in error.message:  # its code is that of any trouble (RPC_MISC_ERROR)
                raise
            # We have read the block when it was there, with its work and its merkle root: whether it still
            # counts is all that is asked.
            return max(0, int((await self._rpc.call("getblockheader", block_hash))["confirmations"]))
        if not mined["in_active_chain"]:
            return 0
        _compare(record, output, mined["vout"][output.outpoint.vout])
        return int(mined["confirmations"])


def _compare(record: PaymentRecord, output: OutputFact, answer: dict[str, Any]) -> None:
    """The node's description of an output, `value` and `scriptPubKey`, against ours."""
    value, address = sat(answer["value"]), answer["scriptPubKey"].get("address")
    if (value, address) != (output.value_sat, record.address):
        raise EvidenceMismatch(
            f"{output.outpoint.txid}:{output.outpoint.vout} pays {output.value_sat} sat to {record.address} in the "
            f"block we read, but {value} sat to {address} by the node; nothing is credited. {_MEND}"
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
