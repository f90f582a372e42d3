"""The mempool: what a rawtx hint says is checked with the node, and a full pass finds what hints lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from node_watcher.changes import tell
from node_watcher.clock import Clock, now_ms
from node_watcher.meter import Meter
from node_watcher.reading import of_ours
from node_watcher.rpc import Call, NodeError, Rpc, RpcError
from node_watcher.watchlist import Watchlist
from payments.model import BlockId, IncomingTx
from storage import incoming as stored
from storage.database import Database

log = logging.getLogger("nodetill")
_CHUNK = 1_000
_BREATH_BYTES = 100_000
"""Some 1 ms of ordinary transactions, 50 ms of the worst that can be made up."""


class TipMoved(NodeError):
    """The node's best block is not the one at which it was believed: a new block, or another node."""

    def __init__(self) -> None:
        super().__init__("the node has another tip than it had when it was last looked at")


class Mempool:
    """Keeps our view of unconfirmed payments level with the node's mempool."""

    def __init__(
        self, rpc: Rpc, database: Database, watchlist: Watchlist, *, clock: Clock = now_ms, meter: Meter | None = None
    ) -> None:
        self._rpc = rpc
        self._database = database
        self._watchlist = watchlist
        self._clock = clock
        self._looked_at: set[str] = set()
        self._meter = meter or Meter()

    async def hear(self, raws: Sequence[bytes | str], *, at: str | None = None) -> int:
        """Raw transactions (bytes or hex) from ZMQ, from anybody as far as we know: match them, and ask the
        node about those that concern us before anything is recorded. Returns how many were recorded.

        `at` is the tip for which the node was believed; raises `TipMoved` when it has another now."""
        await self._watchlist.refresh()
        return len(await self._record(await self._matches(raws), at))

    async def look(self, tip: BlockId) -> bool:
        """Compare the whole mempool with what we believe; call it when our cursor is at `tip`.

        Returns False when the node's tip moved meanwhile: then what is missing may be in a block
        that we have not read, and nothing is said of it.
        """
        believed = await self._database.read(stored.in_mempool)
        listed: list[str] = await self._rpc.call("getrawmempool")
        there = set(listed)
        self._looked_at &= there
        while True:
            stepped_over = self._watchlist.stepped_over
            await self._read([txid for txid in listed if txid not in self._looked_at])
            if self._watchlist.stepped_over == stepped_over:
                break
            self._looked_at.clear()  # they may pay the addresses that come next now
        await self._rehear(there)
        missing = [txid for txid in believed if txid not in there]
        gone = await self._gone(missing) if missing else []
        # Asked last: whatever was said before belongs to this tip.
        if await self._rpc.call("getbestblockhash") != tip.hash or gone is None:
            return False
        if gone:
            tell(await self._database.write(stored.record_missing, gone, self._clock()))
        return True

    async def _read(self, unknown: Sequence[str]) -> None:
        for start in range(0, len(unknown), _CHUNK):
            chunk = unknown[start : start + _CHUNK]
            answers = await self._rpc.batch([("getrawtransaction", txid) for txid in chunk])
            fetched = {t: answer for t, answer in zip(chunk, answers, strict=True) if isinstance(answer, str)}
            await self._watchlist.refresh()
            found = await self._matches(fetched.values())
            recorded = await self._record(found)
            # What was gone just when it was asked about may be back: it is looked at again.
            self._looked_at |= fetched.keys() - {seen.txid for seen in found if seen.txid not in recorded}

    async def _rehear(self, there: set[str]) -> None:
        """Payments that we took for gone and that are in the mempool again (returned after eviction)."""
        gone = [txid for txid in await self._database.read(stored.gone) if txid in there]
        if gone:
            answers = await self._rpc.batch([("getrawtransaction", txid) for txid in gone])
            await self.hear([answer for answer in answers if isinstance(answer, str)])

    async def _matches(self, raws: Iterable[bytes | str]) -> list[IncomingTx]:
        """Those of ours. Whatever is sent to us, the loop answers others in between."""
        found, read = [], 0
        for raw in raws:
            if (seen := of_ours(raw, self._watchlist, self._meter)) is not None:
                found.append(seen)
            read += len(raw)
            if read >= _BREATH_BYTES:
                read = 0
                await asyncio.sleep(0)
        return found

    async def _record(self, found: Sequence[IncomingTx], at: str | None = None) -> list[str]:
        """Record those that the node has in its mempool; their txids."""
        asked: list[Call] = [("getmempoolentry", seen.txid) for seen in found]
        if found and at is not None:
            asked.append(("getbestblockhash",))
        entries = await self._rpc.batch(asked)
        if found and at is not None and entries.pop() != at:
            raise TipMoved
        # An error: forged, or mined meanwhile, and then the block will tell.
        confirmed = [(s, e) for s, e in zip(found, entries, strict=True) if not isinstance(e, RpcError)]
        await self._watchlist.step_over([seen for seen, _ in confirmed])
        shown = self._watchlist.handed_out([seen for seen, _ in confirmed])
        there = [(seen, int(entry["time"]) * 1000) for seen, (_, entry) in zip(shown, confirmed, strict=True)]
        now = self._clock()
        # In the order in which they came, and in as few commits as the writer can make of them.
        with self._watchlist.learning([seen for seen, _ in there]):
            for changes in await asyncio.gather(
                *(self._database.write(stored.record_seen, seen, entered, now) for seen, entered in there)
            ):
                tell(changes)
        return [seen.txid for seen, _ in there]

    async def _gone(self, missing: list[str]) -> list[tuple[str, str | None]] | None:
        """Which of these the node has not, and by what they were replaced. None while it cannot know:
        after a start it answers before it has read its mempool back from disk."""
        if not (await self._rpc.call("getmempoolinfo")).get("loaded", True):
            return None
        entries = await self._rpc.batch([("getmempoolentry", txid) for txid in missing])
        return [
            (txid, await self._replacement(txid))
            for txid, entry in zip(missing, entries, strict=True)
            if isinstance(entry, RpcError)
        ]

    async def _replacement(self, txid: str) -> str | None:
        """The mempool transaction that spends what this one spent, if there is one (`gettxspendingprevout`)."""
        prevouts = await self._database.read(stored.prevouts_of, txid)
        if not prevouts:
            return None
        asked = [{"txid": prevout.txid, "vout": prevout.vout} for prevout in prevouts]
        try:
            answers: list[dict[str, Any]] = await self._rpc.call("gettxspendingprevout", asked)
        except RpcError:
            return None  # Bitcoin Core before 24 has no such call
        spenders = [a["spendingtxid"] for a in answers if a.get("spendingtxid") not in (None, txid)]
        return spenders[0] if spenders else None
