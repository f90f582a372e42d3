"""Reads blocks a second time, for an audit: what of ours the node's active chain really holds.

It shares nothing with the chain loop but the parser: it goes by the node's own headers, from the tip down, and
not by what we recorded. Blocks never change, so one that was read is kept, and a next scan reads only new ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from node_watcher.blocks import BlockSource, UnreadableBlock
from node_watcher.rpc import Rpc
from node_watcher.watchlist import Watchlist
from payments.block import MalformedBlock, match_block
from payments.model import BlockId, OutPoint
from payments.scanned import ScannedBlock, ScannedChain
from payments.tx import outpoint_key
from storage.audit.question import Step


class ChainScan:
    """One run of blocks, kept between scans. `pause` (seconds) after each block leaves the machine to others."""

    def __init__(self, rpc: Rpc, blocks: BlockSource, watchlist: Watchlist, *, pause: float = 0.0) -> None:
        self._rpc = rpc
        self._source = blocks
        self._watchlist = watchlist
        self._pause = pause
        self._blocks: list[ScannedBlock] = []

    async def read(self, base: int, top: int, coins: Iterable[OutPoint], step: Step) -> ScannedChain:
        """The node's active chain above height `base` up to `top`, or its tip where that is lower.

        `coins` are ours and not spent at `base`. Raises `NodeError`.
        """
        tip, bottom, headers = await self._headers(base, top, step)
        kept = {block.header.hash: block for block in self._blocks}
        self._blocks = []
        prevouts = {outpoint_key(coin) for coin in coins}
        for done, wanted in enumerate(headers, start=1):
            if (block := kept.get(wanted.hash)) is None:
                block = await self._block(wanted, prevouts)
                step("blocks", done, len(headers))
            self._blocks.append(block)
            for transaction in block.ours:
                prevouts.update(outpoint_key(OutPoint(transaction.txid, out.vout)) for out in transaction.outputs)
        return ScannedChain(bottom, tuple(self._blocks), tip)

    async def _headers(self, base: int, top: int, step: Step) -> tuple[BlockId, BlockId, list[BlockId]]:
        """The node's tip, its block at `base` (or the tip, when that is lower), and those above it up to `top`."""
        known = {block.header.hash: place for place, block in enumerate(self._blocks)}
        reaches = bool(self._blocks) and self._blocks[0].header.height <= base + 1
        header = await self._rpc.call("getblockheader", await self._rpc.call("getbestblockhash"))
        at = tip = BlockId(int(header["height"]), str(header["hash"]))
        found: list[BlockId] = []
        while at.height > base:
            if at.height <= top:
                found.append(at)
            at = BlockId(at.height - 1, str(header["previousblockhash"]))
            if reaches and at.hash in known:  # from here on down it is what was read before
                below = [block.header for block in self._blocks[: known[at.hash] + 1]]
                found += [header.id for header in reversed(below) if base < header.height <= top]
                at = next((BlockId(h.height - 1, h.prev_hash) for h in below if h.height == base + 1), at)
                break
            header = await self._rpc.call("getblockheader", at.hash)
            step("headers", tip.height - at.height, tip.height - base)
        return tip, at, found[::-1]

    async def _block(self, wanted: BlockId, prevouts: set[bytes]) -> ScannedBlock:
        raw = await self._source.fetch(wanted.hash)
        await self._watchlist.refresh()  # who pays an address has seen it, so it was committed before
        try:
            header, ours = match_block(raw, wanted.height, self._watchlist.scripts, prevouts)
        except MalformedBlock as error:
            raise UnreadableBlock(
                f"The node gave block {wanted.hash} at height {wanted.height} in a shape that cannot be read ({error})."
            ) from error
        await asyncio.sleep(self._pause)
        return ScannedBlock(header, tuple(self._watchlist.handed_out(ours)))
