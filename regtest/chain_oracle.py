"""What really happened on a private chain: every block read in full, with none of our own parsers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from regtest.node import RegtestNode, to_sat

Coin = tuple[str, int]
"""(txid, vout)."""


@dataclass(frozen=True, slots=True)
class Paid:
    """An output in the active chain. `depth` is 1 in the tip itself."""

    address: str | None
    value_sat: int
    depth: int


class ChainOracle:
    """All outputs and all spends of the active chain, by `getblock` with verbosity 2."""

    def __init__(self, node: RegtestNode, since: int = 0) -> None:
        """Reads the blocks from height `since` to the tip."""
        self.outputs: dict[Coin, Paid] = {}
        self.spenders: dict[Coin, str] = {}
        self.transactions: dict[str, dict[str, Any]] = {}
        tip = node.height
        for height in range(since, tip + 1):
            block = node.rpc("getblock", node.rpc("getblockhash", height), 2)
            for transaction in block["tx"]:
                self._read(transaction, tip - height + 1)

    def _read(self, transaction: dict[str, Any], depth: int) -> None:
        txid = transaction["txid"]
        self.transactions[txid] = transaction
        for out in transaction["vout"]:
            address = out["scriptPubKey"].get("address")
            self.outputs[txid, out["n"]] = Paid(address, to_sat(out["value"]), depth)
        for coin in transaction["vin"]:
            if "txid" in coin:
                self.spenders[coin["txid"], coin["vout"]] = txid

    def paid_to(self, address: str) -> dict[Coin, Paid]:
        """Every output that ever paid an address."""
        return {coin: paid for coin, paid in self.outputs.items() if paid.address == address}

    def fee_of(self, txid: str) -> int:
        """Satoshi that a transaction gave to the miner; its inputs must be in the blocks that were read."""
        transaction = self.transactions[txid]
        came = sum(self.outputs[coin["txid"], coin["vout"]].value_sat for coin in transaction["vin"])
        return came - sum(to_sat(out["value"]) for out in transaction["vout"])
