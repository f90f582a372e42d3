"""A private node on regtest with money in it: mine, pay, reorganise."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Self

from regtest.node_process import NodeProcess
from regtest.node_rpc import NodeError

__all__ = ["NodeError", "RegtestNode", "to_btc", "to_sat"]

SATOSHI = Decimal("0.00000001")
PAYER = "payer"
# A coinbase can be spent 100 blocks later (consensus rule).
MATURITY = 100
# Wallets set a transaction's locktime up to 99 blocks back (against fee sniping), and Knots takes a
# locktime of exactly 21 for the mark of an overlay protocol ("parasite-cat21") and refuses it.
LOWEST_HEIGHT_TO_PAY_AT = 121
# Pays anybody: where blocks go before there is a wallet.
ANYBODY = "raw(51)"


def to_btc(sat: int) -> Decimal:
    """Satoshi to the decimal BTC that bitcoind's RPC takes."""
    return sat * SATOSHI


def to_sat(btc: Decimal | int) -> int:
    """Decimal BTC as bitcoind prints it to satoshi. Raises `ValueError` for parts of a satoshi."""
    sat = Decimal(btc) / SATOSHI
    if sat != sat.to_integral_value():
        raise ValueError(f"{btc} BTC is not a whole number of satoshi")
    return int(sat)


class RegtestNode(NodeProcess):
    """`with RegtestNode() as node: node.fund(); node.pay(address, 40_000); node.mine(3)`."""

    # ------------------------------------------------------------------ looking

    @property
    def height(self) -> int:
        return int(self.rpc("getblockcount"))

    @property
    def tip(self) -> str:
        """Hash of the best block."""
        return str(self.rpc("getbestblockhash"))

    def mempool(self) -> set[str]:
        """Txids in the mempool."""
        return set(self.rpc("getrawmempool"))

    def _in_mempool(self, txid: str) -> bool:
        # Costs the same in a mempool of any size.
        try:
            self.rpc("getmempoolentry", txid)
        except NodeError:
            return False
        return True

    def wait_for_tip(self, block_hash: str, *, timeout: float = 30.0) -> None:
        """Until the best block is `block_hash`."""
        self.wait(f"block {block_hash}", lambda: self.tip == block_hash, timeout=timeout)

    # ------------------------------------------------------------------ money

    @property
    def funded(self) -> bool:
        return PAYER in self.rpc("listwallets")

    def fund(self, coins: int = 100) -> Self:
        """Give the wallet `payer` money: `coins` confirmed outputs of 0.4 BTC. The second call does nothing.

        Many coins, because a chain of unconfirmed change ends after 25 transactions.
        """
        if self.funded:
            return self
        self.rpc("createwallet", wallet_name=PAYER, load_on_startup=True)
        # 50 BTC each, spendable at the end of this. The later blocks are nobody's: the wallet stays small and quick.
        self.mine(max(1 + (coins * 4) // 450, LOWEST_HEIGHT_TO_PAY_AT - MATURITY - self.height))
        self.rpc("generatetodescriptor", MATURITY, ANYBODY)
        while coins > 0:
            batch = min(coins, 100)
            self.pay_many({self.new_address(): 40_000_000 for _ in range(batch)})
            coins -= batch
        self.mine(1)
        return self

    def new_address(self, kind: str = "bech32") -> str:
        """A new address of the payer: `legacy`, `p2sh-segwit`, `bech32` or `bech32m`."""
        return str(self.rpc("getnewaddress", "", kind, wallet=PAYER))

    def pay(self, address: str, sat: int, **options: Any) -> str:
        """Send `sat` from the payer, replaceable by default; the txid.

        `options` are named parameters of `sendtoaddress` (`fee_rate` in sat/vB, `replaceable`,
        `subtractfeefromamount`, …).
        """
        options = {"fee_rate": 5, "replaceable": True, **options}
        return self._accepted(self.rpc("sendtoaddress", address=address, amount=to_btc(sat), wallet=PAYER, **options))

    def pay_many(self, amounts: Mapping[str, int], **options: Any) -> str:
        """One transaction with one output for each `{address: sat}`; the txid. Options of `sendmany`."""
        options = {"fee_rate": 5, "replaceable": True, **options}
        outputs = {address: to_btc(sat) for address, sat in amounts.items()}
        return self._accepted(self.rpc("sendmany", amounts=outputs, wallet=PAYER, **options))

    def _accepted(self, txid: str) -> str:
        """The wallet names a txid even if the node then refuses the transaction: say so at once."""
        if not self._in_mempool(txid):
            body = self.rpc("gettransaction", txid, wallet=PAYER)["hex"]
            raise NodeError("send", 0, f"{txid} was refused: {self.rpc('testmempoolaccept', [body])}")
        return txid

    def bump(self, txid: str, fee_rate: int = 20) -> str:
        """Replace a payment of the payer by one of a higher feerate (BIP 125); the new txid."""
        return str(self.rpc("bumpfee", txid, {"fee_rate": fee_rate}, wallet=PAYER)["txid"])

    # ------------------------------------------------------------------ blocks

    def mine(self, blocks: int = 1, address: str | None = None) -> list[str]:
        """Mine the mempool and `blocks - 1` further blocks; their hashes, oldest first."""
        if address is None and self.funded:
            address = self.new_address()
        if address is None:
            return list(self.rpc("generatetodescriptor", blocks, ANYBODY))
        return list(self.rpc("generatetoaddress", blocks, address))

    def mine_with(self, transactions: list[str]) -> str:
        """Mine one block of exactly these (txids of the mempool, or raw hex); its hash."""
        return str(self.rpc("generateblock", ANYBODY, transactions)["hash"])

    def mine_empty(self, blocks: int = 1) -> list[str]:
        """Mine blocks that leave the mempool alone; their hashes."""
        return [self.mine_with([]) for _ in range(blocks)]

    def disconnect_blocks(self, depth: int) -> str:
        """Take the last `depth` blocks back; hash of the lowest one (for `reconsiderblock`).

        Its transactions return to the mempool. The node sends no hashblock for this by itself.
        """
        lowest = str(self.rpc("getblockhash", self.height - depth + 1))
        self.rpc("invalidateblock", lowest)
        return lowest

    def reorg(self, depth: int, *, longer_by: int = 1, with_mempool: bool = False) -> list[str]:
        """Replace the last `depth` blocks by `depth + longer_by` others; the new hashes.

        The new blocks are empty unless `with_mempool`, so what was confirmed waits again.
        """
        self.disconnect_blocks(depth)
        count = depth + longer_by
        return self.mine(count) if with_mempool else self.mine_empty(count)

    # ------------------------------------------------------------------ two nodes (p2p=True)

    def connect(self, other: RegtestNode) -> None:
        """Connect to `other`, which must have been made with `p2p=True`."""
        before = len(self.rpc("getpeerinfo"))
        self.rpc("addnode", f"127.0.0.1:{other.p2p_port}", "onetry")

        def shaken_hands() -> bool:
            peers = self.rpc("getpeerinfo")
            return len(peers) > before and all(peer["version"] > 0 for peer in peers)

        self.wait("the other node", shaken_hands)

    def disconnect(self) -> None:
        """Drop all peers of this node: a split network."""
        for peer in self.rpc("getpeerinfo"):
            self.rpc("disconnectnode", nodeid=peer["id"], address="")
        self.wait("a quiet network", lambda: not self.rpc("getpeerinfo"))
