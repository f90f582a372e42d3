"""Blocks of a real node, looked through by hand."""

from __future__ import annotations

import pytest

from payments.block import MalformedBlock, match_block, parse_header
from payments.model import OutPoint
from payments.tx import outpoint_key
from regtest.node import RegtestNode, to_sat


def raw_block(node: RegtestNode, block_hash: str) -> bytes:
    return bytes.fromhex(node.rpc("getblock", block_hash, 0))


def test_a_header_is_what_the_node_says(node: RegtestNode) -> None:
    seen = node.rpc("getblockheader", node.tip)
    header = parse_header(bytes.fromhex(node.rpc("getblockheader", node.tip, False)), seen["height"])
    assert header.hash == seen["hash"]
    assert header.prev_hash == seen["previousblockhash"]
    assert header.time == seen["time"] * 1000
    assert header.id == (seen["height"], seen["hash"])


def test_a_header_of_another_coin_has_another_length(node: RegtestNode) -> None:
    with pytest.raises(MalformedBlock, match="80 bytes, this has 164"):
        parse_header(bytes(164), 1)


def test_genesis(node: RegtestNode) -> None:
    block_hash = node.rpc("getblockhash", 0)
    header, found = match_block(raw_block(node, block_hash), 0, {}, set())
    assert header.hash == block_hash
    assert header.prev_hash == "00" * 32
    assert found == []


def test_every_output_of_a_block_is_found_once(node: RegtestNode) -> None:
    for sat in range(20_000, 20_030):
        node.pay(node.new_address(), sat)
    block = node.rpc("getblock", node.mine()[0], 3)
    scripts = {bytes.fromhex(out["scriptPubKey"]["hex"]): 1 for tx in block["tx"] for out in tx["vout"]}
    header, found = match_block(raw_block(node, block["hash"]), block["height"], scripts, set())
    assert header.id == (block["height"], block["hash"])
    assert [tx.txid for tx in found] == [tx["txid"] for tx in block["tx"]]
    for ours, theirs in zip(found, block["tx"], strict=True):
        assert [(out.vout, out.value_sat, out.script_pubkey.hex()) for out in ours.outputs] == [
            (out["n"], to_sat(out["value"]), out["scriptPubKey"]["hex"]) for out in theirs["vout"]
        ]
    assert [tx.coinbase for tx in found] == [True] + [False] * (len(found) - 1)


def test_a_spend_of_ours_is_seen_without_outputs(node: RegtestNode) -> None:
    txid = node.pay(node.new_address(), 30_000)
    coin = node.rpc("decoderawtransaction", node.rpc("getrawtransaction", txid))["vin"][0]
    block_hash = node.mine()[0]
    spent = OutPoint(coin["txid"], coin["vout"])
    _, found = match_block(raw_block(node, block_hash), 1, {}, {outpoint_key(spent)})
    assert [(tx.txid, tx.outputs) for tx in found] == [(txid, ())]
    assert spent in found[0].prevouts


def test_a_payment_spent_in_its_own_block_shows_both(node: RegtestNode) -> None:
    address = node.new_address()
    script = bytes.fromhex(node.rpc("getaddressinfo", address, wallet="payer")["scriptPubKey"])
    paid = node.pay(address, 70_000)
    outs = node.rpc("getrawtransaction", paid, True)["vout"]
    vout = next(out["n"] for out in outs if out["scriptPubKey"]["hex"] == script.hex())
    spend = node.rpc(
        "send",
        [{node.new_address(): "0.0005"}],
        wallet="payer",
        inputs=[{"txid": paid, "vout": vout}],
        add_inputs=True,
        fee_rate=5,
    )["txid"]
    raw = raw_block(node, node.mine()[0])
    _, found = match_block(raw, 1, {script: 1}, set())
    assert [(tx.txid, len(tx.outputs)) for tx in found] == [(paid, 1), (spend, 0)]
    assert OutPoint(paid, vout) in found[1].prevouts


def test_damaged_blocks_are_refused(node: RegtestNode) -> None:
    raw = raw_block(node, node.tip)
    for size in range(len(raw)):
        with pytest.raises(MalformedBlock):
            match_block(raw[:size], 1, {}, set())
    with pytest.raises(MalformedBlock, match="left over"):
        match_block(raw + b"\x00", 1, {}, set())
    with pytest.raises(MalformedBlock, match="cut short"):
        match_block(raw[:80] + b"\xff" * 9 + raw[81:], 1, {}, set())
