"""`node_watcher.rpc.Rpc` over a simulated node: the questions that the watcher asks, with bitcoind's error codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from node_watcher.rpc import Call, NodeUnavailable, RpcError
from payments.model import OutPoint
from tests.simulation.coins import REGTEST_BITS, Block, Out, Tx, read_tx
from tests.simulation.node import Node, Refused
from tests.simulation.points import Failed, Points


class SimulatedRpc:
    """What it answers is always true at the moment of asking; what may fail is the asking.

    `address_of` names the scripts that have an address; `feerate` is what it estimates, in sat/vB.
    """

    def __init__(self, node: Node, points: Points, address_of: Callable[[bytes], str | None]) -> None:
        self._node, self._points, self._address_of = node, points, address_of
        self.feerate = 2

    async def call(self, method: str, *params: object, wallet: str | None = None, timeout: float | None = None) -> Any:
        (answer,) = await self.batch([(method, *params)])
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(
        self, calls: Sequence[Call], *, wallet: str | None = None, timeout: float | None = None
    ) -> list[Any]:
        if not calls:
            return []
        try:
            await self._points.reach(f"before {calls[0][0]}")
            answers = []
            for number, (method, *params) in enumerate(calls):
                if number:  # a batch is no snapshot: blocks come between its answers
                    await self._points.reach(f"within {method}")
                answers.append(self._answer(method, params))
            await self._points.reach(f"after {calls[0][0]}")
        except Failed as failed:
            raise NodeUnavailable(f"the node is away: {failed}") from None
        return answers

    async def close(self) -> None:
        """Nothing is open."""

    def _answer(self, method: str, params: list[Any]) -> Any:
        if not self._node.up:
            raise NodeUnavailable("the node is down")
        if self._node.warming:
            raise NodeUnavailable("the node is starting: Loading block index…")
        try:
            return getattr(self, f"_{method}")(*params)
        except Refused as refusal:
            return RpcError(method, refusal.code, refusal.message)

    # ------------------------------------------------------------------ the chain

    def _getblockchaininfo(self) -> dict[str, Any]:
        node = self._node
        lag = node.headers - node.tip.height
        node.told_frozen = lag > 1 or (node.downloading and lag > 0)
        return {
            "chain": "regtest",
            "blocks": node.tip.height,
            "headers": node.headers,
            "bestblockhash": node.tip.hash,
            "initialblockdownload": node.downloading,
            "verificationprogress": Decimal("0.5" if node.downloading else 1),
            "mediantime": node.tip.time,
            "time": node.tip.time,
            "pruned": False,
        }

    def _getnetworkinfo(self) -> dict[str, Any]:
        return {"subversion": "/Simulated:1/"}

    def _getbestblockhash(self) -> str:
        return self._node.tip.hash

    def _getblockcount(self) -> int:
        return self._node.tip.height

    def _getblockhash(self, height: int) -> str:
        if not 0 <= height <= self._node.tip.height:
            raise Refused(-8, "Block height out of range")
        return self._node.active[height].hash

    def _block(self, block_hash: str) -> Block:
        if (block := self._node.known.get(block_hash)) is None:
            raise Refused(-5, "Block not found")
        return block

    def _getblockheader(self, block_hash: str, verbose: bool = True) -> dict[str, Any] | str:
        node = self._node
        only_headers = (block for block in node.waiting if block.hash == block_hash)
        block = next(only_headers, None) or self._block(block_hash)
        if not verbose:
            return block.raw[:80].hex()
        active = node.is_active(block)
        shown: dict[str, Any] = {
            "hash": block.hash,
            "height": block.height,
            "time": block.time,
            "bits": f"{REGTEST_BITS:08x}",
            "confirmations": node.tip.height - block.height + 1 if active else -1,
            "chainwork": f"{2 * (block.height + 1):064x}",
        }
        if block.parent is not None:
            shown["previousblockhash"] = block.parent.hash
        if active and block is not node.tip:
            shown["nextblockhash"] = node.active[block.height + 1].hash
        return shown

    def _getchaintips(self) -> list[dict[str, Any]]:
        return []  # nobody gives up a branch by hand here, and nothing else is looked for

    def _getblock(self, block_hash: str, verbosity: int) -> str:
        assert verbosity == 0
        return self._block(block_hash).raw.hex()

    # ------------------------------------------------------------------ the mempool

    def _getmempoolinfo(self) -> dict[str, Any]:
        floor = Decimal("0.00001")
        return {
            "loaded": self._node.loaded,
            "mempoolminfee": floor,
            "minrelaytxfee": floor,
            "incrementalrelayfee": floor,
        }

    def _getrawmempool(self) -> list[str]:
        return list(self._node.pool)

    def _getmempoolentry(self, txid: str) -> dict[str, Any]:
        if (entry := self._node.pool.get(txid)) is None:
            raise Refused(-5, "Transaction not in mempool")
        return {"time": entry.time, "height": self._node.tip.height}

    def _gettxspendingprevout(self, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
        def spender(coin: dict[str, Any]) -> dict[str, Any]:
            txid = self._node.spent.get(OutPoint(coin["txid"], coin["vout"]))
            return {**coin} if txid is None else {**coin, "spendingtxid": txid}

        return [spender(coin) for coin in asked]

    def _sendrawtransaction(self, raw: str) -> str:
        tx = read_tx(bytes.fromhex(raw))
        if any(tx.outpoint(n) in self._node.tip.unspent for n in range(len(tx.outs))):
            raise Refused(-27, "Transaction outputs already in utxo set")
        if tx.txid not in self._node.pool:
            self._pays_for_replacement(tx)
            self._node.accept(tx)
        return tx.txid

    def _testmempoolaccept(self, raws: list[str]) -> list[dict[str, Any]]:
        (tx,) = (read_tx(bytes.fromhex(raw)) for raw in raws)
        try:
            if not all(self._value_of(coin) for coin in tx.ins):
                raise Refused(-25, "missing-inputs")
            if tx.txid in self._node.pool:
                raise Refused(-26, "txn-already-in-mempool")
            self._pays_for_replacement(tx)
        except Refused as refusal:
            return [{"txid": tx.txid, "allowed": False, "reject-reason": refusal.message}]
        return [{"txid": tx.txid, "allowed": True}]

    def _pays_for_replacement(self, tx: Tx) -> None:
        """BIP125: more than what it replaces pays, by the relay fee of its own size."""
        rivals = {self._node.spent[coin] for coin in tx.ins if coin in self._node.spent}
        if rivals and self._fee_of(tx) < sum(self._fee_of(self._node.pool[txid].tx) for txid in rivals) + len(tx.raw):
            raise Refused(-26, "insufficient fee, rejecting replacement")

    def _fee_of(self, tx: Tx) -> int:
        return sum(self._value_of(coin) for coin in tx.ins) - sum(out.value_sat for out in tx.outs)

    def _value_of(self, coin: OutPoint) -> int:
        """0 for one that is not there."""
        if (mined := self._node.tip.unspent.get(coin)) is not None:
            return mined.out.value_sat
        made = self._node.pool.get(coin.txid)
        return made.tx.outs[coin.vout].value_sat if made is not None else 0

    # ------------------------------------------------------------------ outputs

    def _getrawtransaction(self, txid: str, verbose: bool = False, block_hash: str | None = None) -> Any:
        if block_hash is None:
            if (entry := self._node.pool.get(txid)) is None:
                raise Refused(-5, "No such mempool transaction. Use -txindex or provide a block hash")
            assert not verbose
            return entry.tx.raw.hex()
        if (block := self._node.known.get(block_hash)) is None:
            raise Refused(-5, "Block hash not found")
        tx = next((tx for tx in block.txs if tx.txid == txid), None)
        if tx is None:
            raise Refused(-5, "No such transaction found in the provided block")
        return self._shown(tx, block) if verbose else tx.raw.hex()

    def _shown(self, tx: Tx, block: Block) -> dict[str, Any]:
        active = self._node.is_active(block)
        return {
            "txid": tx.txid,
            "in_active_chain": active,
            "blockhash": block.hash,
            "confirmations": self._node.tip.height - block.height + 1 if active else 0,
            "vout": [{"n": n} | self._output(out) for n, out in enumerate(tx.outs)],
        }

    def _output(self, out: Out) -> dict[str, Any]:
        script = {"hex": out.script.hex()}
        if (address := self._address_of(out.script)) is not None:
            script["address"] = address
        return {"value": Decimal(out.value_sat).scaleb(-8), "scriptPubKey": script}

    def _gettxout(self, txid: str, vout: int, include_mempool: bool = True) -> dict[str, Any] | None:
        coin = self._node.tip.unspent.get(OutPoint(txid, vout))
        if coin is None or (include_mempool and OutPoint(txid, vout) in self._node.spent):
            return None
        return {
            "bestblock": self._node.tip.hash,
            "confirmations": self._node.tip.height - coin.height + 1,
            "coinbase": coin.coinbase,
        } | self._output(coin.out)

    def _estimatesmartfee(self, target_blocks: int) -> dict[str, Any]:
        return {"feerate": Decimal(self.feerate).scaleb(-5), "blocks": target_blocks}
