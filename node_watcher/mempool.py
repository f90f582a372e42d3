"""The mempool: what a rawtx hint says is checked with the node, and a full pass finds what hints lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from node_watcher.changes import tell
from node_watcher.clock import now_ms
from node_watcher.rpc import Rpc, RpcError
from node_watcher.watchlist import Watchlist
from payments.model import BlockId, IncomingTx
from payments.tx import MalformedTransaction, match
from storage import incoming as stored
from storage.database import Database

log = logging.getLogger("nodetill")
_CHUNK = 1_000


class Mempool:
    """Keeps our view of unconfirmed payments level with the node's mempool."""

    def __init__(self, rpc: Rpc, database: Database, watchlist: Watchlist) -> None:
        self._rpc = rpc
        self._database = database
        self._watchlist = watchlist
        self._looked_at: set[str] = set()
        self.unreadable_total = 0

    async def hear(self, raws: Sequence[bytes]) -> int:
        """Raw transactions from ZMQ, from anybody as far as we know: match them, and ask the node
        about those that concern us before anything is recorded. Returns how many were recorded."""
        await self._watchlist.refresh()
        found = [seen for raw in raws if (seen := self._match(raw)) is not None]
        return await self._record(found)

    async def look(self, tip: BlockId) -> bool:
        """Compare the whole mempool with what we believe; call it when our cursor is at `tip`.

        Returns False when the node's tip moved meanwhile: then what is missing may be in a block
        that we have not read, and nothing is said of it.
        """
        believed = await self._database.read(stored.in_mempool)
        there = set(await self._rpc.call("getrawmempool"))
        unknown = [txid for txid in there if txid not in self._looked_at]
        fetched: set[str] = set()
        for start in range(0, len(unknown), _CHUNK):
            chunk = unknown[start : start + _CHUNK]
            answers = await self._rpc.batch([("getrawtransaction", txid) for txid in chunk])
            raws = []
            for txid, answer in zip(chunk, answers, strict=True):
                if isinstance(answer, str):
                    raws.append(bytes.fromhex(answer))
                    fetched.add(txid)
            await self.hear(raws)
        self._looked_at = {txid for txid in there if txid in self._looked_at or txid in fetched}
        returned = await self._rehear(there)
        missing = [txid for txid in believed if txid not in there and txid not in returned]
        if await self._rpc.call("getbestblockhash") != tip.hash:
            return False
        if missing:
            await self._record_missing(missing)
        return True

    async def _rehear(self, there: set[str]) -> set[str]:
        """Payments that we took for gone and that are in the mempool again (returned after eviction)."""
        gone = [txid for txid in await self._database.read(stored.gone) if txid in there]
        if gone:
            answers = await self._rpc.batch([("getrawtransaction", txid) for txid in gone])
            await self.hear([bytes.fromhex(answer) for answer in answers if isinstance(answer, str)])
        return set(gone)

    def _match(self, raw: bytes) -> IncomingTx | None:
        try:
            return match(raw, self._watchlist.scripts, self._watchlist.prevouts)
        except MalformedTransaction as error:
            self.unreadable_total += 1
            log.warning("A transaction could not be read and was skipped: %s", error)
            return None

    async def _record(self, found: Iterable[IncomingTx]) -> int:
        waiting = list(found)
        if not waiting:
            return 0
        entries = await self._rpc.batch([("getmempoolentry", seen.txid) for seen in waiting])
        recorded = 0
        for seen, entry in zip(waiting, entries, strict=True):
            if isinstance(entry, RpcError):
                continue  # forged, or mined meanwhile: the block will tell
            self._watchlist.learn(seen)
            now = now_ms()
            tell(await self._database.write(stored.record_seen, seen, int(entry["time"]) * 1000, now))
            recorded += 1
        return recorded

    async def _record_missing(self, missing: list[str]) -> None:
        entries = await self._rpc.batch([("getmempoolentry", txid) for txid in missing])
        gone: list[tuple[str, str | None]] = []
        for txid, entry in zip(missing, entries, strict=True):
            if isinstance(entry, RpcError):
                gone.append((txid, await self._replacement(txid)))
        if gone:
            tell(await self._database.write(stored.record_missing, gone, now_ms()))

    async def _replacement(self, txid: str) -> str | None:
        """The mempool transaction that spends what this one spent, if there is one (`gettxspendingprevout`)."""
        prevouts = await self._database.read(stored.prevouts_of, txid)
        if not prevouts:
            return None
        asked = [{"txid": prevout.txid, "vout": prevout.vout} for prevout in prevouts]
        answers: list[dict[str, Any]] = await self._rpc.call("gettxspendingprevout", asked)
        spenders = [a["spendingtxid"] for a in answers if a.get("spendingtxid") not in (None, txid)]
        return spenders[0] if spenders else None
