"""The parts of the watcher whose doings are recorded. Each does what it always does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from node_watcher.activities import Comparing, Hearing, Looking
from node_watcher.gate import Agreement
from node_watcher.look import Looked
from node_watcher.reason import Reason
from node_watcher.record.recorder import Recorder
from node_watcher.rpc import Call, Rpc
from node_watcher.signing.signer import SignedTx, Signer, SignerError, SweepInput
from node_watcher.witness_node import WitnessNode, agree
from payments.model import BlockId
from storage.database import Database
from storage.tx import Context, Tx

P = ParamSpec("P")
T = TypeVar("T")


class RecordedRpc:
    """`node_watcher.rpc.Rpc` whose exchanges are written down."""

    def __init__(self, recorder: Recorder, rpc: Rpc) -> None:
        self._recorder, self._rpc = recorder, rpc

    async def call(self, method: str, *params: object, wallet: str | None = None, timeout: float | None = None) -> Any:
        async def ask() -> list[Any]:
            return [await self._rpc.call(method, *params, wallet=wallet, timeout=timeout)]

        return (await self._recorder.exchange([(method, *params)], ask))[0]

    async def batch(
        self, calls: Sequence[Call], *, wallet: str | None = None, timeout: float | None = None
    ) -> list[Any]:
        if not calls:
            return []
        return await self._recorder.exchange(calls, lambda: self._rpc.batch(calls, wallet=wallet, timeout=timeout))

    async def close(self) -> None:
        await self._rpc.close()


class RecordedDatabase(Database):
    """The till's database; who writes waits for his turn."""

    def __init__(self, recorder: Recorder, url: str, context: Context, *, leader: bool) -> None:
        super().__init__(url, context, leader=leader)
        self._recorder = recorder

    async def write(self, body: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._recorder.write(lambda: Database.write(self, body, *args, **kwargs))


class RecordedMempool:
    """Its hearing; what a look does with the mempool belongs to the look."""

    def __init__(self, recorder: Recorder, mempool: Hearing) -> None:
        self._recorder, self._mempool = recorder, mempool

    async def hear(self, raws: Sequence[bytes], *, at: str | None = None) -> int:
        given = {"raws": list(raws), "at": at}
        return await self._recorder.perform("hear", given, lambda: self._mempool.hear(raws, at=at), int)


class RecordedLook:
    def __init__(self, recorder: Recorder, look: Looking) -> None:
        self._recorder, self._look = recorder, look

    @property
    def believed_at(self) -> str | None:
        return self._look.believed_at

    async def go(self, started: int) -> Looked:
        return await self._recorder.perform("look", {"started": started}, lambda: self._look.go(started), outcome)


class RecordedWitness:
    def __init__(self, recorder: Recorder, witness: Comparing) -> None:
        self._recorder, self._witness = recorder, witness

    async def begin(self) -> None:
        await self._witness.begin()

    async def prepare(self) -> None:
        await self._recorder.perform("prepare", {}, self._witness.prepare, lambda _: None)

    async def compare(self, tip: BlockId) -> int:
        return await self._recorder.perform("compare", {"tip": list(tip)}, lambda: self._witness.compare(tip), int)


class RecordedSigner:
    """What was signed is public, and goes into the record in place of the keys."""

    def __init__(self, recorder: Recorder, signer: Signer) -> None:
        self._recorder, self._signer = recorder, signer

    def sign_sweep(
        self, inputs: Sequence[SweepInput], destination_script: bytes, fee_sat: int, locktime: int
    ) -> SignedTx:
        try:
            signed = self._signer.sign_sweep(inputs, destination_script, fee_sat, locktime)
        except SignerError as error:
            self._recorder.signed({"failed": str(error)})
            raise
        self._recorder.signed({"fee_sat": fee_sat, "vsize": signed.vsize, "txid": signed.txid, "raw": signed.raw.hex()})
        return signed


def outcome(looked: Looked) -> dict[str, Any]:
    """What came of a look, as far as two of them are compared."""
    tip = None if looked.tip is None else list(looked.tip)
    return {"tip": tip, "more": looked.more, "reasons": [reason.code for reason in looked.reasons]}


def recorded_agreement(recorder: Recorder) -> Agreement:
    """`witness_node.agree` as one exchange, because it asks all of them at once."""

    async def ask(witnesses: Sequence[WitnessNode], block: BlockId) -> tuple[Reason, ...]:
        async def reasons() -> list[Any]:
            return [[[doubt.code, doubt.detail] for doubt in await agree(witnesses, block)]]

        return reasons_of(await recorder.exchange([("witness nodes", *block)], reasons))

    return ask


def recorded_ledger_check(
    recorder: Recorder, broken: Callable[[], Awaitable[Reason | None]]
) -> Callable[[], Awaitable[Reason | None]]:
    """What the service's own audit says of the ledger: it reads it in its own time."""

    async def ask() -> Reason | None:
        async def reasons() -> list[Any]:
            found = await broken()
            return [[] if found is None else [[found.code, found.detail]]]

        return next(iter(reasons_of(await recorder.exchange([("ledger",)], reasons))), None)

    return ask


def reasons_of(answers: list[Any]) -> tuple[Reason, ...]:
    """The reasons in the one answer of such an exchange."""
    return tuple(Reason(code, detail) for code, detail in answers[0])
