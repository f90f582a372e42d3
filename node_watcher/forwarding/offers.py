"""Stored sweeps are given to the node, again and again until a block has them.

After any doubt the same bytes are broadcast again; a coin can be spent by one transaction only, so that cannot pay
twice. What the node answers is ambiguous and never means that a sweep failed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from node_watcher.forwarding.desk import Desk
from node_watcher.rpc import RpcError
from payments.amount import btc_text
from storage import sweep_versions, sweeps
from storage.sweep_versions import Sweep
from storage.tx import Tx

log = logging.getLogger("nodetill")
_ALREADY_IN_CHAIN = -27


class Offers:
    """Keeps what was signed alive."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def keep_alive(self) -> int:
        """Offer what the node may not have: what was never seen to arrive, and what it has lost since."""
        desk = self._desk
        current = await desk.database.read(_current)
        if not current and not await desk.database.read(sweep_versions.pending_replacements):
            return 0
        if closed := await desk.database.write(sweeps.close_deep_sweeps):
            desk.meter.forward("confirmed", closed)
        waiting = [sweep for sweep, mined in current if not mined]
        sent = 0
        for sweep, mined in current:
            if mined and sweep.state == "stored":
                sent += await self._sent(sweep)  # it was mined before its broadcast could be written down
        known = [sweep for sweep in waiting if sweep.state != "stored"]
        entries = await desk.rpc.batch([("getmempoolentry", sweep.txid) for sweep in known])
        there = {s.txid for s, entry in zip(known, entries, strict=True) if not isinstance(entry, RpcError)}
        for sweep in waiting:
            if sweep.txid not in there:
                sent += await self.offer(sweep)
        for sweep in await desk.database.read(sweep_versions.pending_replacements):
            sent += await self.offer(sweep)
        return sent

    async def offer(self, sweep: Sweep) -> int:
        """Give the node the stored bytes; 1 when it took what it had not been seen to take before.

        Its refusals change nothing but the log.
        """
        desk = self._desk
        try:
            await desk.rpc.call("sendrawtransaction", sweep.raw.hex())
        except RpcError as error:
            if error.code != _ALREADY_IN_CHAIN:
                return await self._refused(sweep, error)
        desk.forget(f"refused {sweep.txid}")
        return await self._sent(sweep) if sweep.state == "stored" else 0

    async def _refused(self, sweep: Sweep, error: RpcError) -> int:
        desk = self._desk
        others = [s for s in await desk.database.read(sweep_versions.versions, sweep.family) if s.txid != sweep.txid]
        entries = await desk.rpc.batch([("getmempoolentry", other.txid) for other in others])
        for other, entry in zip(others, entries, strict=True):
            if not isinstance(entry, RpcError):
                # The node has another version, which keeps this one out: that one is on its way.
                if other.state != "stored" and sweep.state == "stored":
                    break  # the dearer one waits its turn, and is offered again
                return await self._sent(other)
        if desk.is_news(f"refused {sweep.txid}", str(error)):
            await desk.database.write(sweeps.record_refused, sweep.txid, str(error))
            desk.meter.forward("refused")
            log.error("The node does not take sweep %s: %s; it is offered again", sweep.txid, error)
        return 0

    async def _sent(self, sweep: Sweep) -> int:
        desk = self._desk
        await desk.database.write(sweeps.record_broadcast, sweep.txid, desk.clock())
        if sweep.state != "stored":
            return 0
        amount = btc_text(sweep.value_sat - sweep.fee_sat)
        if sweep.replaces is None:
            desk.meter.forward("broadcast")
            log.info("Successfully forwarded %s BTC. TX: %s", amount, sweep.txid)
        else:
            desk.meter.forward("replaced")
            log.info(
                "Sweep %s is replaced by %s: %s BTC for a fee of %s sat",
                *(sweep.replaces, sweep.txid, amount, sweep.fee_sat),
            )
        return 1


def _current(tx: Tx) -> Sequence[tuple[Sweep, bool]]:
    """Current sweeps that are alive, and whether a block of the active chain has them."""
    return [(sweep, sweep_versions.in_active_block(tx, sweep.txid)) for sweep in sweep_versions.sweeps_to_watch(tx)]
