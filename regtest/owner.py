"""The wallet that the coins must reach."""

from __future__ import annotations

import secrets

from regtest.node import RegtestNode, to_sat


class Owner:
    """A wallet of the private node under a name of its own."""

    def __init__(self, node: RegtestNode) -> None:
        self._node, self.name = node, f"owner-{secrets.token_hex(4)}"
        node.rpc("createwallet", wallet_name=self.name, load_on_startup=True)
        listed = node.rpc("listdescriptors", wallet=self.name)["descriptors"]
        self.descriptor: str = next(d["desc"] for d in listed if d["desc"].startswith("wpkh(") and not d["internal"])
        """Receive addresses of this wallet, public part only."""

    def new_address(self) -> str:
        return str(self._node.rpc("getnewaddress", "", "bech32", wallet=self.name))

    def owns(self, address: str) -> bool:
        return bool(self._node.rpc("getaddressinfo", address, wallet=self.name)["ismine"])

    def received(self) -> dict[tuple[str, int], int]:
        """Satoshi by (txid, vout) of all that this wallet has not spent, the mempool included."""
        rows = self._node.rpc("listunspent", 0, wallet=self.name)
        return {(row["txid"], row["vout"]): to_sat(row["amount"]) for row in rows}
