"""An audit: the chain read anew, the ledger in one snapshot, and what remains different when looked at again.

Chain and database are two worlds that both move while they are compared. So nothing is believed at first sight: what
differs is looked at again, and only what stays is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from node_watcher.chain_scan import ChainScan
from node_watcher.clock import now_ms
from node_watcher.gate import wrong_network
from node_watcher.rpc import NodeError, NodeUnavailable, Rpc
from payments.address import script_pubkey
from payments.descriptor import RangedDescriptor
from payments.difference import Check, Difference, total_sat
from payments.model import BlockId
from payments.scanned import ScannedChain
from storage.audit.compare import compare
from storage.audit.question import Derive, Findings, Question, Step, no_step
from storage.audit.window import coins_above, where_to_begin
from storage.database import Database

_LOOK_AGAIN_SECONDS = (0.3, 0.7, 1.5, 3.0)
_FOLLOW_SECONDS = 3.0
_FOLLOW_TIMES = 15
_ALIVE_MS = 60_000


class CannotAudit(NodeError):
    """The node cannot be asked what an audit needs. The text says why, and the mend."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found. Blocks from `from_height` to `to_height` were read; None when there are none yet."""

    full: bool
    from_height: int | None
    to_height: int | None
    node_tip: BlockId
    blocks: int
    findings: Findings
    differences: tuple[Difference, ...]
    finished_at: int

    @property
    def difference_sat(self) -> int:
        return total_sat(self.differences)


class Auditor:
    """Makes audits for one database and one node. Only reads."""

    def __init__(
        self,
        rpc: Rpc,
        scan: ChainScan,
        database: Database,
        *,
        network: str,
        destination: str | None = None,
        step: Step = no_step,
        rest: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """`destination` is `wallet.forward_to`. `step` hears how far it is, `say` what it waits for.

        `rest` is called every now and then in the thread that reads the database: it may sleep, or raise.
        """
        self._rpc = rpc
        self._scan = scan
        self._database = database
        self._network = network
        self._destination = destination
        self._step = step
        self._rest = rest
        self._say = say

    async def run(self, *, full: bool) -> Audit:
        """One audit. Raises `NodeError`, `DatabaseBusy`."""
        lowest = await self._lowest_block()
        audit = await self._followed(lowest, full)
        for wait in _LOOK_AGAIN_SECONDS:
            if not audit.differences or not _alive(audit):
                break
            self._say("Something differs; looking again")
            await asyncio.sleep(wait)
            seen = {difference.key for difference in audit.differences}
            again = await self._followed(lowest, full)
            audit = replace(again, differences=tuple(d for d in again.differences if d.key in seen))
        return audit

    async def _followed(self, lowest: int, full: bool) -> Audit:
        """Compare when the service is on the chain that the node is on; after a while, anyway."""
        for attempt in range(_FOLLOW_TIMES + 1):
            audit = await self._once(lowest, full)
            if audit.findings.comparable:
                return audit
            if attempt == _FOLLOW_TIMES or not _alive(audit):
                break
            self._say("Waiting for the service to follow the node's chain")
            await asyncio.sleep(_FOLLOW_SECONDS)
        at, tip = audit.findings.cursor, audit.node_tip
        assert at is not None  # noqa: S101 - without a cursor everything is comparable
        text = (
            f"The last block that was processed, {at.hash} at height {at.height}, is not in the node's active chain, "
            f"whose tip is {tip.hash} at height {tip.height}. Is the service running? /readyz says more."
        )
        return replace(audit, differences=(*audit.differences, Difference(Check.CURSOR, "cursor", text)))

    async def _once(self, lowest: int, full: bool) -> Audit:
        window = await self._database.read(where_to_begin, full=full)
        if window is None:
            scanned = await self._scan.read(2**31, 0, (), self._step)  # nothing was processed: only the tip
        else:
            base, cursor = max(window[0], lowest - 1), window[1]
            if base > cursor.height:
                raise CannotAudit(
                    f"The node has pruned the blocks below {lowest}, and the last one processed is {cursor.height}: "
                    "use a node that has them."
                )
            coins = await self._database.read_aside(coins_above, base)
            scanned = await self._scan.read(base, cursor.height, coins, self._step)
        question = Question(scanned, full, self._opened, self._script_of, self._destination, self._step_and_rest)
        findings = await self._database.read_aside(compare, question)
        return _audit(full, scanned, findings)

    async def _lowest_block(self) -> int:
        """The lowest block that the node still has. Raises `CannotAudit` on another network."""
        info = await self._rpc.call("getblockchaininfo", timeout=10.0)
        if not isinstance(info, dict) or "chain" not in info:
            raise NodeUnavailable("What answers at node.rpc_url is not bitcoind: correct node.rpc_url.")
        if info["chain"] != self._network:
            raise CannotAudit(wrong_network(self._network, str(info["chain"])).detail)
        return int(info.get("pruneheight", 0))

    def _step_and_rest(self, what: str, done: int, of: int) -> None:
        self._step(what, done, of)
        self._rest()

    def _opened(self, descriptor: str) -> Derive:
        return RangedDescriptor.parse(descriptor, self._network).derive

    def _script_of(self, address: str) -> bytes:
        return script_pubkey(address, self._network)


def _audit(full: bool, scanned: ScannedChain, findings: Findings) -> Audit:
    at = findings.cursor
    read = scanned.until(at.height).blocks if at is not None else ()
    return Audit(
        full,
        read[0].header.height if read else None,
        read[-1].header.height if read else None,
        scanned.tip,
        len(read),
        findings,
        tuple(findings.differences),
        now_ms(),
    )


def _alive(audit: Audit) -> bool:
    """Whether a service works on this database: else what differs now will differ in a second, too."""
    return now_ms() - audit.findings.alive_at < _ALIVE_MS
