"""Our reader of blocks against the node's: what it serves we read as it does, and what it refuses we refuse.

The node answers `submitblock` with the rule that a block breaks. We check what reading an output rests on: the
format, one coinbase at the front, and that the header's merkle root, which has the work, is that of what was read.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.block import HEADER_SIZE, MalformedBlock, match_block
from payments.tx import outpoint_key
from regtest.free_coins import ANYBODYS_SCRIPT, free_coins
from regtest.node import NodeError, RegtestNode, to_sat
from regtest.test_parser_against_node import settled
from tests.fuzz.plain import read_block, size, twice
from tests.fuzz.shapes import SCRIPTS, damaged

REFUSED = -22  # RPC_DESERIALIZATION_ERROR


@pytest.fixture(scope="module")
def odd(own_node: RegtestNode) -> bytes:
    """A mined block with scripts of every shape, 600 outputs in one transaction, and a spend within the block."""
    first, second, third = free_coins(own_node, 3)
    parent = second.spend(ANYBODYS_SCRIPT, 50_000)
    txid = own_node.rpc("decoderawtransaction", parent)["txid"]
    child = type(second)(txid, 0, 50_000).pay((40_000, b"\x51"))
    shapes = [(number, script) for number, script in enumerate(SCRIPTS[:-1])]
    many = third.pay(*((0, ANYBODYS_SCRIPT) for _ in range(600)))
    return raw_block(own_node, own_node.mine_with([first.pay(*shapes), parent, child, many]))


def raw_block(node: RegtestNode, block_hash: str) -> bytes:
    return bytes.fromhex(node.rpc("getblock", block_hash, 0))


def next_block(node: RegtestNode) -> bytes:
    """A block that the node would take, and has not."""
    coins = free_coins(node, 2)
    raws = [coin.pay((1_000, ANYBODYS_SCRIPT)) for coin in coins]
    return bytes.fromhex(node.rpc("generateblock", "raw(51)", raws, False)["hex"])


def worked(raw: bytes) -> bytes:
    """The same with regtest's work done for it again: half of all nonces will do."""
    nonce = 0
    while twice(header := raw[:76] + nonce.to_bytes(4, "little"))[31] > 0x7F:
        nonce += 1
    return header + raw[HEADER_SIZE:]


def refused(raw: bytes) -> str:
    with pytest.raises(MalformedBlock) as caught:
        match_block(raw, 1, {}, set())
    return str(caught.value)


def test_each_transaction_and_output_of_real_blocks(own_node: RegtestNode, odd: bytes) -> None:
    height = own_node.height
    hashes = [own_node.rpc("getblockhash", number) for number in [*range(height - 12, height + 1), 0, 1]]
    blocks = own_node.batch("getblock", [(block_hash, 2) for block_hash in hashes])
    for block in blocks:
        raw = raw_block(own_node, block["hash"])
        outputs = [
            [(o["n"], to_sat(o["value"]), bytes.fromhex(o["scriptPubKey"]["hex"])) for o in tx["vout"]]
            for tx in block["tx"]
        ]
        scripts = {script: 1 for of_one in outputs for *_, script in of_one}
        header, found = match_block(raw, block["height"], scripts, set())
        assert header.id == (block["height"], block["hash"])
        assert header.time == block["time"] * 1000
        assert [tx.txid for tx in found] == [tx["txid"] for tx in block["tx"]]
        assert [[tuple(out) for out in tx.outputs] for tx in found] == outputs
        assert [tx.coinbase for tx in found] == [True] + [False] * (len(found) - 1)
        for ours, theirs in zip(found[1:], block["tx"][1:], strict=True):
            assert [tuple(prevout) for prevout in ours.prevouts] == [(c["txid"], c["vout"]) for c in theirs["vin"]]
            keys = {outpoint_key(prevout) for prevout in ours.prevouts}
            assert ours._replace(outputs=()) in match_block(raw, 1, {}, keys)[1]


def test_what_the_node_says_of_changed_blocks(own_node: RegtestNode) -> None:
    """Each with the work done again where the header is another: only the rule in question is broken."""
    honest = next_block(own_node)
    txs = [tx.write() for tx in read_block(honest)]
    header, coinbase = honest[:HEADER_SIZE], txs[0]
    for width in (2, 4, 8):
        wide = header + size(len(txs), width) + b"".join(txs)
        assert "longer than needed" in refused(wide)
        inner = header + size(len(txs)) + coinbase[:4] + size(1, width) + coinbase[5:] + b"".join(txs[1:])
        assert refused(inner)
        for raw in (wide, inner):
            with pytest.raises(NodeError) as caught:
                own_node.rpc("submitblock", raw.hex())
            assert caught.value.code == REFUSED
    doubled = header + size(4) + b"".join([*txs, txs[-1]])  # CVE-2012-2459: three have the root of these four
    assert own_node.rpc("submitblock", doubled.hex()) == "bad-txns-duplicate"
    assert "twice" in refused(doubled)
    swapped = header + size(3) + txs[0] + txs[2] + txs[1]
    assert own_node.rpc("submitblock", swapped.hex()) == "bad-txnmrklroot"
    assert "commits to" in refused(swapped)
    headless = worked(header[:36] + read_block(header + size(1) + txs[1])[0].txid + header[68:] + size(1) + txs[1])
    assert own_node.rpc("submitblock", headless.hex()) == "bad-cb-missing"
    assert "makes no new coins" in refused(headless)
    # And the one that they were made of is taken: nothing else was wrong with them.
    match_block(honest, 1, {}, set())
    assert own_node.rpc("submitblock", honest.hex()) is None


def test_nothing_is_read_out_of_a_damaged_block(odd: bytes) -> None:
    """Whatever is done to the bytes behind a header: refused, or nothing but a witness was touched."""
    everything = {out.script: 1 for tx in read_block(odd) for out in tx.outs}
    honest = match_block(odd, 1, everything, set())
    assert sum(len(tx.outputs) for tx in honest[1]) > 600
    came: Counter[bool] = Counter()

    @settled
    @given(seed=st.integers(0, 2**32))
    def many(seed: int) -> None:
        random = Random(seed)
        for _ in range(8):
            try:
                read = match_block(odd[:HEADER_SIZE] + damaged([odd[HEADER_SIZE:]], random), 1, everything, set())
            except MalformedBlock:
                came[False] += 1
            else:
                assert read == honest
                came[True] += 1

    many()
    assert came[False] > 500
