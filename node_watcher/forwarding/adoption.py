"""Who has put an older copy of the database back finds coins that are gone: their sweeps are known again.

Only what goes to the owner's address, all of it, and spends nothing but coins of this till is taken for a sweep;
anything else is left to `audit`, which names it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from node_watcher.forwarding.desk import Desk
from node_watcher.rpc import RpcError
from payments.coin import Coin
from payments.model import BlockId
from payments.tx import decode
from storage import adoption

log = logging.getLogger("nodetill")


class Adoption:
    """Looks at what spends our coins and is no sweep that we know."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seen_up_to = -1

    async def of_blocks(self, tip: BlockId) -> int:
        """What blocks have taken since the last time: all of them once, then the new ones. How many were adopted."""
        found = await self._desk.database.read(adoption.strange_spends, min(self._seen_up_to, tip.height - 1))
        done = 0
        for txid, block_hash in found:
            done += await self._adopt(txid, block_hash)
        self._seen_up_to = tip.height
        return done

    async def of_mempool(self, coins: Sequence[Coin]) -> int:
        """What spends these coins in the node's mempool; how many were adopted."""
        asked = [{"txid": coin.outpoint.txid, "vout": coin.outpoint.vout} for coin in coins]
        if not asked:
            return 0
        answer = await self._desk.rpc.call("gettxspendingprevout", asked)
        done = 0
        for txid in sorted({entry["spendingtxid"] for entry in answer if "spendingtxid" in entry}):
            done += await self._adopt(txid, None)
        return done

    async def _adopt(self, txid: str, block_hash: str | None) -> int:
        desk = self._desk
        try:
            raw = bytes.fromhex(
                await desk.rpc.call("getrawtransaction", txid, False, *([block_hash] if block_hash else []))
            )
        except RpcError:
            return 0  # it left the mempool, or its block was undone: the next look sees what is so then
        made = decode(raw)
        arrives = [out.value_sat for out in made.outputs if out.script_pubkey == desk.destination.script_pubkey]
        if made.txid != txid or len(arrives) != len(made.outputs):
            return 0
        changes = await desk.database.write(
            adoption.adopt, txid, raw, made.prevouts, sum(arrives), desk.destination.address, desk.clock()
        )
        if changes is None:
            return 0
        log.warning("Sweep %s had left before this copy of the database, and is known again", txid)
        return 1
