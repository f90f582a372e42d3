"""Transactions that a wallet does not make of its own: double spends, two outputs to one address."""

from __future__ import annotations

from collections.abc import Mapping

from regtest.node import PAYER, RegtestNode, to_btc, to_sat

_DUST = 1_000


def double_spend(node: RegtestNode, txid: str, *, fee_sat: int = 20_000) -> str:
    """Raw, signed, not sent: spends the inputs of a payer's transaction back to the payer."""
    return instead(node, txid, {}, fee_sat=fee_sat)


def instead(node: RegtestNode, txid: str, amounts: Mapping[str, int], *, fee_sat: int = 20_000) -> str:
    """Raw, signed, not sent: spends the inputs of a payer's transaction to these `{address: sat}`, the rest to
    the payer."""
    original = node.rpc("gettransaction", txid, None, True, wallet=PAYER)
    decoded = original["decoded"]
    # The wallet writes a fee as a negative amount.
    total = sum(to_sat(out["value"]) for out in decoded["vout"]) - to_sat(original["fee"])
    inputs = [{"txid": coin["txid"], "vout": coin["vout"], "sequence": 0xFFFFFFFD} for coin in decoded["vin"]]
    if total < sum(amounts.values()) + fee_sat + _DUST:  # the wallet had paid with some small change
        unspent = node.rpc("listunspent", 1, wallet=PAYER)
        more = max(unspent, key=lambda coin: coin["amount"])
        inputs.append({"txid": more["txid"], "vout": more["vout"], "sequence": 0xFFFFFFFD})
        total += to_sat(more["amount"])
    outputs = [{address: to_btc(sat)} for address, sat in amounts.items()]
    outputs.append({node.new_address(): to_btc(total - sum(amounts.values()) - fee_sat)})
    return signed(node, node.rpc("createrawtransaction", inputs, outputs))


def malleated(raw: str) -> str:
    """The same transaction under another txid, as anybody on its way can make it; its one input must be P2PKH.

    The signature is pushed in another way (OP_PUSHDATA1), which nodes do not relay and blocks may hold.
    """
    data = bytes.fromhex(raw)
    size = 4 + 1 + 36  # version, one input, its outpoint: here is the length of its script
    return (data[:size] + bytes([data[size] + 1]) + b"\x4c" + data[size + 1 :]).hex()


def to_one_address(node: RegtestNode, address: str, *values_sat: int) -> str:
    """Raw, signed, not sent: one transaction with an output of each value, all of them to `address`.

    bitcoind refuses to name an address twice, so it is asked for others of the same length first.
    """
    others = [str(node.new_address()) for _ in values_sat]
    outputs = [{other: to_btc(value)} for other, value in zip(others, values_sat, strict=True)]
    raw = str(node.rpc("createrawtransaction", [], outputs))
    script = _script(node, address)
    for other in others:
        raw = raw.replace(_script(node, other), script)
    funded = node.rpc("fundrawtransaction", raw, {"fee_rate": 5}, wallet=PAYER)
    return signed(node, funded["hex"])


def signed(node: RegtestNode, raw: str) -> str:
    """`raw` with the payer's signatures."""
    done = node.rpc("signrawtransactionwithwallet", raw, wallet=PAYER)
    if not done["complete"]:
        raise RuntimeError(f"the payer cannot sign this: {done.get('errors')}")
    return str(done["hex"])


def _script(node: RegtestNode, address: str) -> str:
    return str(node.rpc("getaddressinfo", address, wallet=PAYER)["scriptPubKey"])
