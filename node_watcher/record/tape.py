"""Between the parts of the watcher and the world: nothing, or a recorder."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from node_watcher.activities import Comparing, Hearing, Looking
from node_watcher.clock import now_ms
from node_watcher.gate import Agreement
from node_watcher.hints import Hint
from node_watcher.reason import Reason
from node_watcher.record.parts import (
    RecordedLook,
    RecordedMempool,
    RecordedRpc,
    RecordedSigner,
    RecordedWitness,
    recorded_agreement,
    recorded_ledger_check,
)
from node_watcher.record.recorder import Recorder
from node_watcher.rest import Rest
from node_watcher.rpc import Rpc
from node_watcher.signing.signer import Signer
from node_watcher.witness_node import agree

LedgerCheck: TypeAlias = Callable[[], Awaitable[Reason | None]]
OnHint: TypeAlias = Callable[[Hint], None]


class NoTape:
    """Everything as it is."""

    agree: Agreement = staticmethod(agree)

    def clock(self) -> int:
        return now_ms()

    def rpc(self, rpc: Rpc) -> Rpc:
        return rpc

    def rest(self, rest: Rest) -> Rest | None:
        return rest

    def signer(self, signer: Signer) -> Signer:
        return signer

    def ledger_check(self, broken: LedgerCheck) -> LedgerCheck:
        return broken

    def look(self, look: Looking) -> Looking:
        return look

    def hearing(self, mempool: Hearing) -> Hearing:
        return mempool

    def witness(self, witness: Comparing) -> Comparing:
        return witness

    def on_hint(self, on_hint: OnHint) -> OnHint:
        return on_hint


class Tape(NoTape):
    """Everything through the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.agree = recorded_agreement(recorder)

    def clock(self) -> int:
        return self._recorder.clock()

    def rpc(self, rpc: Rpc) -> Rpc:
        return RecordedRpc(self._recorder, rpc)

    def rest(self, rest: Rest) -> Rest | None:
        return None  # blocks are read by RPC, as all the rest

    def signer(self, signer: Signer) -> Signer:
        return RecordedSigner(self._recorder, signer)

    def ledger_check(self, broken: LedgerCheck) -> LedgerCheck:
        return recorded_ledger_check(self._recorder, broken)

    def look(self, look: Looking) -> Looking:
        return RecordedLook(self._recorder, look)

    def hearing(self, mempool: Hearing) -> Hearing:
        return RecordedMempool(self._recorder, mempool)

    def witness(self, witness: Comparing) -> Comparing:
        return RecordedWitness(self._recorder, witness)

    def on_hint(self, on_hint: OnHint) -> OnHint:
        def heard(hint: Hint) -> None:
            self._recorder.hint(hint.value)
            on_hint(hint)

        return heard
