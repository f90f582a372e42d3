"""The one chain loop: new block, reorganisation, restart and a node far ahead are the same walk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from node_watcher.blocks import ASK_AGAIN, BlockSource, NotBitcoin, UnreadableBlock, header_bytes
from node_watcher.chain_rules import ChainRules
from node_watcher.changes import tell
from node_watcher.clock import Clock, now_ms
from node_watcher.rpc import NodeError, Rpc, RpcError
from node_watcher.watchlist import Watchlist
from payments.block import HEADER_SIZE, MalformedBlock, match_block
from payments.chain import AtTip, Connect, Disconnect, HeaderAnswer, NodeBehind, next_step
from payments.model import BlockHeader, BlockId, IncomingTx
from payments.proof_of_work import BadHeader, check_header
from storage import chain as stored
from storage.database import Database

log = logging.getLogger("nodetill")
_NOT_FOUND = -5
_EARLIEST_MARGIN_MS = 2 * 3600 * 1000
_AT_MOST = 50
"""Blocks of one go: a second or two on main, after which people are told how far it came."""
_PROGRESS_SECONDS = 5.0


class MissingBlock(NodeError):
    """The node knows the block and cannot give it: it was pruned. The walk goes on once it has it again."""


@dataclass(frozen=True, slots=True)
class Followed:
    """Where a walk ended. `behind` means that the node does not know our cursor: nothing was undone.
    `more` means that the walk was long enough for one go, and that the node's tip is still away."""

    tip: BlockId
    connected: int = 0
    disconnected: int = 0
    behind: bool = False
    more: bool = False


class ChainFollower:
    """Walks the cursor in the database to the node's tip. Each block must carry its work and stand on
    the one before it, or nothing of it is recorded (`NotBitcoin`)."""

    def __init__(
        self,
        rpc: Rpc,
        blocks: BlockSource,
        database: Database,
        watchlist: Watchlist,
        rules: ChainRules,
        *,
        clock: Clock = now_ms,
    ) -> None:
        self._rpc = rpc
        self._blocks = blocks
        self._database = database
        self._watchlist = watchlist
        self._rules = rules
        self._clock = clock

    async def follow(
        self, told: Callable[[BlockId], None] = lambda block: None, *, at_most: int = _AT_MOST
    ) -> Followed:
        """Connect and disconnect until our cursor is the node's tip, `at_most` blocks in one go, so that
        the caller can report in between. `told` hears of each new cursor."""
        cursor = await self._database.read(stored.cursor) or await self._begin()
        connected = disconnected = 0
        last_word = time.monotonic()
        while True:
            match next_step(cursor, await self._header(cursor)):
                case AtTip(tip):
                    return Followed(tip, connected, disconnected)
                case NodeBehind():
                    lost = await self._database.read(stored.parent_hash, cursor.hash)
                    if lost is None or not await self._passed(cursor):
                        return Followed(cursor, connected, disconnected, behind=True)
                    log.warning("The node went on without block %s at height %d: stepping back", *cursor[::-1])
                    cursor = await self._disconnect(cursor, lost)
                    disconnected += 1
                case Connect() if connected + disconnected >= at_most:
                    return Followed(cursor, connected, disconnected, more=True)
                case Connect(block_hash, height):
                    cursor = await self._connect(BlockId(height, block_hash), cursor.hash)
                    connected += 1
                case Disconnect(block):
                    log.warning("Block %s at height %d is stale: stepping back", block.hash, block.height)
                    cursor = await self._disconnect(block, await self._parent_hash(block))
                    disconnected += 1
            told(cursor)
            if time.monotonic() - last_word > _PROGRESS_SECONDS:
                log.info("Catching up with the chain: height %d", cursor.height)
                last_word = time.monotonic()

    async def _header(self, block: BlockId) -> HeaderAnswer | None:
        header = await self._shown(block.hash)
        if header is None or header["confirmations"] >= 0:
            return _answer(header)
        tip = await self._rpc.call("getblockheader", await self._rpc.call("getbestblockhash"))
        if _work(tip) < _work(header) and not await self._declared_invalid(block):
            return HeaderAnswer(-1, None, outweighed=False)
        return _answer(await self._shown(block.hash))  # again: its chain may be back since we were told of its end

    async def _shown(self, block_hash: str) -> dict[str, Any] | None:
        """The node's header of a block; None when it does not know the block."""
        try:
            header: dict[str, Any] = await self._rpc.call("getblockheader", block_hash)
        except RpcError as error:
            if error.code == _NOT_FOUND:
                return None
            raise
        return header

    async def _declared_invalid(self, block: BlockId) -> bool:
        """Whether somebody gave up a branch with this block by hand (`invalidateblock`)."""
        for branch in await self._rpc.call("getchaintips"):
            if branch["status"] == "invalid" and branch["height"] >= block.height:
                at = str(branch["hash"])
                for _ in range(branch["height"] - block.height):
                    at = str((await self._rpc.call("getblockheader", at))["previousblockhash"])
                if at == block.hash:
                    return True
        return False

    async def _parent_hash(self, block: BlockId) -> str:
        """Of a block that we connected, or, below where we began, of one that proves itself."""
        known = await self._database.read(stored.parent_hash, block.hash)
        return known or (await self._proven(block)).prev_hash

    async def _proven(self, block: BlockId) -> BlockHeader:
        """The header of a block that is not read, held against the rules all the same."""
        answer = await self._rpc.call("getblockheader", block.hash, False)
        return self._check(header_bytes(answer, block.hash), block)

    def _check(self, raw: bytes, block: BlockId, parent: str | None = None) -> BlockHeader:
        try:
            return check_header(raw, block, easiest_bits=self._rules.easiest_bits, parent=parent)
        except BadHeader as error:
            raise NotBitcoin(block.hash, error) from error

    async def _connect(self, block: BlockId, parent: str) -> BlockId:
        raw = await self._fetch(block)
        self._check(raw[:HEADER_SIZE], block, parent)
        await self._watchlist.refresh()
        header, mined = self._match(raw, block)
        while await self._watchlist.step_over(mined):
            header, mined = self._match(raw, block)
        mined = self._watchlist.handed_out(mined)
        with self._watchlist.learning(mined):
            changes = await self._database.write(stored.connect, header, mined, self._clock())
        tell(changes)
        return header.id

    async def _fetch(self, block: BlockId) -> bytes:
        try:
            return await self._blocks.fetch(block.hash)
        except RpcError as error:
            if "pruned" not in error.message:  # no code of its own: -1 is any trouble (RPC_MISC_ERROR)
                raise
            raise MissingBlock(
                f"The node has pruned block {block.hash} at height {block.height}, which nodetill has not read; "
                f"nothing is skipped. Let the node fetch it and those above it again (bitcoin-cli getblockfrompeer "
                f"{block.hash} PEER, with an id of getpeerinfo), or point node.rpc_url at a node that keeps all "
                "blocks until nodetill has caught up."
            ) from error

    def _match(self, raw: bytes, block: BlockId) -> tuple[BlockHeader, list[IncomingTx]]:
        try:
            return match_block(raw, block.height, self._watchlist.scripts, self._watchlist.prevouts)
        except MalformedBlock as error:
            raise UnreadableBlock(
                f"The node gave block {block.hash} at height {block.height} in a shape that cannot be read "
                f"({error}). {ASK_AGAIN}"
            ) from error

    async def _disconnect(self, block: BlockId, parent: str) -> BlockId:
        with self._watchlist.disconnecting():
            await self._database.write(stored.disconnect, block, parent)
        return BlockId(block.height - 1, parent)

    async def _passed(self, cursor: BlockId) -> bool:
        """Whether a node that does not know our cursor is past it all the same.

        A node that went back (a crash, a restored disk) usually comes to our block again, and is
        waited for. Once it has more blocks than we had, and all that it knows of, it took another
        branch: it will not hear of the stale block any more, so this was a reorganisation.
        """
        info = await self._rpc.call("getblockchaininfo")
        return bool(info["headers"] == info["blocks"] > cursor.height)

    async def _begin(self) -> BlockId:
        """First start: nothing in the chain so far can pay us, unless payments were created while
        the node was away. Then begin below the first of them."""
        tip: str = await self._rpc.call("getbestblockhash")
        header = await self._rpc.call("getblockheader", tip)
        earliest = await self._database.read(stored.first_payment_at)
        while earliest is not None and header["height"] > 0 and header["time"] * 1000 > earliest - _EARLIEST_MARGIN_MS:
            header = await self._rpc.call("getblockheader", header["previousblockhash"])
        begin = BlockId(header["height"], header["hash"])
        await self._proven(begin)
        await self._database.write(stored.begin_at, begin)
        log.info("Watching the chain from height %d", begin.height)
        return begin


def _answer(header: dict[str, Any] | None) -> HeaderAnswer | None:
    return None if header is None else HeaderAnswer(header["confirmations"], header.get("nextblockhash"))


def _work(header: dict[str, Any]) -> int:
    """Expected hashes to make the chain up to this block."""
    return int(header["chainwork"], 16)
