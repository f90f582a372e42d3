"""Transactions as wallets and miners make them, in bytes: where a test of a parser begins."""

from __future__ import annotations

from regtest.node import PAYER, RegtestNode, to_btc

_KINDS = ("legacy", "p2sh-segwit", "bech32", "bech32m")
_SAT = 100_000


def real_transactions(node: RegtestNode) -> list[bytes]:
    """One that pays to four kinds of addresses, four that spend one kind each, and the coinbase of their block."""
    many = node.pay_many({node.new_address(kind): _SAT for kind in _KINDS})
    spends = [
        node.rpc(
            "send",
            [{node.new_address(): to_btc(_SAT // 2)}],
            wallet=PAYER,
            inputs=[{"txid": many, "vout": coin["n"]}],
            add_inputs=True,
            fee_rate=5,
        )["txid"]
        for coin in node.rpc("getrawtransaction", many, True)["vout"]
        if coin["value"] == to_btc(_SAT)
    ]
    raws = [bytes.fromhex(node.rpc("getrawtransaction", txid)) for txid in (many, *spends)]
    coinbase = node.rpc("getblock", node.mine()[0], 2)["tx"][0]["hex"]
    return [*raws, bytes.fromhex(coinbase)]
