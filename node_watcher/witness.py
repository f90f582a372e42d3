"""The second witness: a watch-only wallet in the node that knows the same descriptor.

It is never asked on the way of a payment. Every safety-net interval what it saw is compared with what
we recorded; a difference is a defect of ours, recorded, counted and logged as one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from node_watcher.clock import Clock, now_ms
from node_watcher.meter import Meter
from node_watcher.reading import of_ours
from node_watcher.rpc import Rpc, RpcError
from node_watcher.watchlist import Watchlist
from payments.model import BlockId, IncomingTx, OutPoint
from storage import incoming as stored
from storage.chain import active_hash
from storage.chain import cursor as stored_cursor
from storage.database import Database
from storage.sweep_versions import in_active_block
from storage.till import created_at, next_index
from storage.tx import Tx
from storage.watched import WATCH_DEPTH

log = logging.getLogger("nodetill")
_NOT_FOUND, _ALREADY_LOADED = -18, -35
_FIRST_RANGE, _LOOKAHEAD = 1_000, 200
_RECEIVED = ("receive", "generate", "immature")


class WitnessUnusable(Exception):
    """The watch-only wallet cannot be used. The text names `node.wallet` and the mend."""


class Witness:
    """The watch-only wallet `node.wallet`."""

    def __init__(
        self,
        rpc: Rpc,
        database: Database,
        watchlist: Watchlist,
        *,
        wallet: str,
        descriptor: str,
        keychain_id: int,
        meter: Meter | None = None,
        clock: Clock = now_ms,
    ) -> None:
        self._rpc = rpc
        self._database = database
        self._watchlist = watchlist
        self._wallet = wallet
        self._descriptor = descriptor
        self._keychain_id = keychain_id
        self._meter = meter or Meter()
        self._clock = clock
        self._range_end = -1
        self._since: str | None = None
        self._compared_height: int | None = None
        self._unseen: set[str] = set()
        self.defects_total = 0

    async def begin(self) -> None:
        """Call it before the chain is followed: what is caught up with is compared, too, however long ago."""
        if (cursor := await self._database.read(stored_cursor)) is not None:
            self._compared_height = cursor.height

    async def prepare(self) -> None:
        """Load the wallet, creating it when there is none, and see that it covers our addresses.

        The range grows geometrically, because extending derives all of it again.
        """
        if self._range_end < 0:
            await self._load()
            self._range_end = await self._imported_range()
        wanted = await self._database.read(next_index, self._keychain_id) + _LOOKAHEAD
        if wanted > self._range_end >= 0:
            self._range_end = await self._imported_range()  # the wallet extends it by itself, and never back
        if wanted > self._range_end:
            await self._import(max(_FIRST_RANGE, 2 * wanted))

    async def compare(self, tip: BlockId) -> int:
        """Ask what the wallet received since the last comparison; returns how much we had missed."""
        since = await self._start(tip)
        try:
            answer = await self._rpc.call("listsinceblock", *since, wallet=self._wallet)
        except RpcError as error:
            self._range_end, self._since = -1, None  # unloaded, renamed or rolled back: look again next time
            raise WitnessUnusable(f"node.wallet {self._wallet}: {error}") from error
        missed = 0
        unseen: set[str] = set()
        rows = [row for row in answer["transactions"] if row["category"] in _RECEIVED and row["confirmations"] >= 0]
        for txid in dict.fromkeys(row["txid"] for row in rows):
            mined = any(row["confirmations"] > 0 for row in rows if row["txid"] == txid)
            outpoints = [OutPoint(txid, row["vout"]) for row in rows if row["txid"] == txid]
            if await self._database.read(_holds, outpoints, mined=mined):
                continue
            if mined or txid in self._unseen:
                missed += await self._repair(txid)
            else:
                unseen.add(txid)  # it may have come this very moment: not before the next comparison
        self._unseen = unseen
        self._since, self._compared_height = tip.hash, tip.height
        return missed

    async def _start(self, tip: BlockId) -> list[str]:
        """Where the wallet's list begins: the last comparison, else what a reorganisation may undo below it.

        Empty, which is everything, where no block of ours is so deep.
        """
        if self._since is not None:
            return [self._since]
        height = tip.height if self._compared_height is None else min(tip.height, self._compared_height)
        known = await self._database.read(active_hash, height - WATCH_DEPTH)
        return [known] if known else []

    async def _repair(self, txid: str) -> int:
        details: dict[str, Any] = await self._rpc.call("gettransaction", txid, wallet=self._wallet)
        if not await self._is_there(txid, details["confirmations"]):
            return 0
        await self._watchlist.refresh()
        seen = of_ours(details["hex"], self._watchlist, self._meter)
        if seen is None:
            return 0
        await self._watchlist.step_over([seen])
        (seen,) = self._watchlist.handed_out([seen])
        if not seen.outputs:
            return 0  # an address of the descriptor that was never handed out
        with self._watchlist.learning([seen]):
            if not await self._record(seen, details):
                return 0
        self.defects_total += 1
        log.error("The node's wallet knew payment transaction %s before the watcher did; recorded now", txid)
        return 1

    async def _is_there(self, txid: str, confirmations: int) -> bool:
        """In a block, or in the mempool: the wallet remembers what has left it, too."""
        if confirmations != 0:
            return confirmations > 0
        return not isinstance((await self._rpc.batch([("getmempoolentry", txid)]))[0], RpcError)

    async def _record(self, seen: IncomingTx, details: dict[str, Any]) -> bool:
        """Write down what the watcher did not know; False when there was nothing to write."""
        now = self._clock()
        if details["confirmations"] > 0:
            # No change: in a block above our cursor, and the chain loop comes to it.
            return await self._database.write(_record_missed, seen, details["blockhash"], now)
        await self._database.write(stored.record_seen, seen, now, now)
        return True

    async def _load(self) -> None:
        if self._wallet in await self._rpc.call("listwallets"):
            return
        try:
            await self._rpc.call("loadwallet", self._wallet, True)
        except RpcError as error:
            if error.code == _NOT_FOUND:
                # name, disable_private_keys, blank, passphrase, avoid_reuse, descriptors, load_on_startup
                await self._rpc.call("createwallet", self._wallet, True, True, "", False, True, True)
                log.info("Created the watch-only wallet %s in the node", self._wallet)
            elif error.code != _ALREADY_LOADED:
                raise WitnessUnusable(f"node.wallet {self._wallet} cannot be loaded: {error}") from error

    async def _imported_range(self) -> int:
        listed = await self._rpc.call("listdescriptors", wallet=self._wallet)
        ours = self._descriptor.split("#", 1)[0]
        for entry in listed["descriptors"]:
            if entry["desc"].split("#", 1)[0] == ours and "range" in entry:
                return int(entry["range"][1])
        return -1

    async def _import(self, end: int) -> None:
        born = await self._database.read(created_at) // 1000
        request = {
            "desc": self._descriptor,
            "range": [0, end],
            "timestamp": "now" if self._range_end >= 0 else born,
            "active": False,
            "internal": False,
        }
        answers = await self._rpc.call("importdescriptors", [request], wallet=self._wallet, timeout=600)
        if not answers[0].get("success"):
            reason = answers[0].get("error", {}).get("message", "no reason given")
            raise WitnessUnusable(f"node.wallet {self._wallet} does not take the descriptor: {reason}")
        self._range_end = end
        log.info("The node's wallet %s watches addresses 0 to %d", self._wallet, end)


def _holds(tx: Tx, outpoints: Sequence[OutPoint], *, mined: bool) -> bool:
    """Whether we recorded these outputs of one transaction, and, where the wallet has it so, in a block."""
    known = all(stored.knows(tx, outpoint) for outpoint in outpoints)
    return known and (not mined or in_active_block(tx, outpoints[0].txid))


def _record_missed(tx: Tx, seen: IncomingTx, block_hash: str, now: int) -> bool:
    """As `stored.record_missed`, unless the chain loop came to it in the meantime."""
    if _holds(tx, [OutPoint(seen.txid, output.vout) for output in seen.outputs], mined=True):
        return False
    return stored.record_missed(tx, seen, block_hash, now)
