"""A database with one keychain and a chain of made-up blocks, driven as the watcher drives it.

Everything goes through the real storage; the blocks are only names. Transactions are told by one
word, which is their txid. After each step the invariants are checked in one snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from payments.model import (
    BlockHeader,
    BlockId,
    ExcessPolicy,
    IncomingTx,
    LatePolicy,
    OutPoint,
    PaidOutput,
    Status,
    Terms,
)
from payments.record import PaymentRecord
from payments.scanned import ScannedBlock, ScannedChain
from storage import chain, evaluation, incoming, ledger, payments, till
from storage.audit.compare import compare
from storage.audit.question import Findings, Question
from storage.database import Database
from storage.records import payment_by_number
from tests.storage import invariants

BIRTH = BlockId(100, "genesis")
START = 1_700_000_000_000
MINUTE = 60_000
FULL = 40_000


def derive(index: int) -> tuple[bytes, str]:
    """Stands for the owner's descriptor: a script and an address that no other index has."""
    return b"\x00\x14" + index.to_bytes(20, "big"), f"address-{index}"


def promise(now: int, **changed: Any) -> Terms:
    """40,000 sat for 400 credits at 3 confirmations within an hour."""
    wanted: dict[str, Any] = {
        "amount_sat": FULL,
        "credits": 400,
        "confirmations_required": 3,
        "tolerance_sat": 0,
        "late": LatePolicy.CREDIT,
        "excess": ExcessPolicy.CREDIT,
        "created_at": now,
        "expires_at": now + 60 * MINUTE,
    }
    return Terms(**wanted | changed)


class SmallShop:
    """One shop, one chain. `now` stands still unless a test moves it."""

    def __init__(self, database: Database, *, watch_only: bool = True) -> None:
        self.database = database
        self.watch_only = watch_only
        self.now = START
        self.keychain = 0
        self.blocks: list[BlockHeader] = []
        self.mined: dict[str, tuple[IncomingTx, ...]] = {}
        self._made = 0

    async def open(self) -> SmallShop:
        await self.database.write(till.claim, "regtest", self.now)
        self.keychain = await self.database.write(
            till.keychain, "fp", "wpkh(…)", watch_only=self.watch_only, now=self.now
        )
        await self.database.write(chain.begin_at, BIRTH)
        return self

    async def check(self) -> None:
        await self.database.read(invariants.check)

    @property
    def tip(self) -> BlockId:
        return self.blocks[-1].id if self.blocks else BIRTH

    async def create(self, user: str = "u1", *, max_open: int = 10, **changed: Any) -> PaymentRecord:
        wanted = payments.NewPayment(user, "small", "{}", promise(self.now, **changed), max_open)
        made = await self.database.write(payments.create, wanted, self.keychain, derive, self.now)
        await self.check()
        return made

    async def payment(self, number: int) -> PaymentRecord:
        return await self.database.read(payment_by_number, number)

    async def status(self, number: int) -> Status:
        return (await self.payment(number)).state.status

    async def see(self, tx: IncomingTx, paid_at: int | None = None) -> list[evaluation.Change]:
        changes = await self.database.write(incoming.record_seen, tx, paid_at or self.now, self.now)
        await self.check()
        return changes

    async def miss(self, txid: str, replaced_by: str | None = None) -> None:
        await self.database.write(incoming.record_missing, [(txid, replaced_by)], self.now)
        await self.check()

    async def mine(self, *mined: IncomingTx, blocks: int = 1, time: int | None = None) -> None:
        """Connect a block with these transactions, and `blocks - 1` empty ones on top."""
        for number in range(blocks):
            self._made += 1
            at = BlockHeader(self.tip.height + 1, f"block-{self._made}", self.tip.hash, time or self.now)
            await self.database.write(chain.connect, at, mined if number == 0 else (), self.now)
            self.blocks.append(at)
            self.mined[at.hash] = mined if number == 0 else ()
            await self.check()

    async def undo(self, blocks: int = 1) -> list[BlockHeader]:
        """Disconnect blocks from the tip; the ones taken off, the highest first."""
        undone = []
        for _ in range(blocks):
            top = self.blocks.pop()
            await self.database.write(chain.disconnect, top.id, top.prev_hash)
            undone.append(top)
            await self.check()
        return undone

    async def settle(self) -> None:
        await self.database.write(ledger.settle, self.now)
        await self.check()

    async def close_windows(self, until: int | None = None) -> None:
        await self.database.write(evaluation.close_windows, until or self.now, self.now)
        await self.check()

    async def book(self) -> list[ledger.Booking]:
        """Book what is due, with the chain's word as evidence."""
        booked = []
        for record in await self.database.read(ledger.bookings_due):
            proof = {o.outpoint: {"block_height": o.height} for o in record.facts.outputs if o.height is not None}
            done = await self.database.write(ledger.book, record.number, proof, self.now)
            if done is not None:
                booked.append(done)
            await self.check()
        return booked

    async def at_tip(self) -> None:
        """What the watcher does at the tip; afterwards nothing may be left to do."""
        await self.settle()
        await self.book()
        await self.database.read(invariants.check_quiet)

    @property
    def scanned(self) -> ScannedChain:
        """The chain as a look at every block would show it."""
        return ScannedChain(BIRTH, tuple(ScannedBlock(b, self.mined[b.hash]) for b in self.blocks), self.tip)

    async def audit(self, *, full: bool = True, scanned: ScannedChain | None = None, **more: Any) -> Findings:
        """What an audit finds."""
        question = Question(scanned or self.scanned, full, lambda descriptor: derive, str.encode, **more)
        return await self.database.read(compare, question)

    async def events(self, number: int) -> list[str]:
        rows = await self.database.read(
            lambda tx: tx.all("SELECT type FROM event WHERE payment_number = :n ORDER BY id", n=number)
        )
        return [row["type"].removeprefix("payment.") for row in rows]


def paying(
    txid: str, *paid: tuple[PaymentRecord, int], spends: Iterable[str] = (), coinbase: bool = False
) -> IncomingTx:
    """A transaction that pays these amounts, in this order; `spends` names coins (default: its own)."""
    outputs = tuple(PaidOutput(vout, sat, derive(to.address_index)[0]) for vout, (to, sat) in enumerate(paid))
    prevouts = tuple(OutPoint(f"coin-{name}", 0) for name in (spends or (txid,)))
    return IncomingTx(txid, prevouts, outputs, coinbase)
