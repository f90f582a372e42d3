"""The node's disk rots: bitcoind serves a stored block as it lies there, and holds only its header against its hash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from regtest.conftest import MakeTill
from regtest.node import RegtestNode
from regtest.service import RunningService


class BlockFile:
    """The one file of blocks of a private node (blocks/blk00000.dat), where it says what `getblock` will give."""

    def __init__(self, node: RegtestNode) -> None:
        folder: Path = node.datadir / "regtest" / "blocks"
        self._path = folder / "blk00000.dat"
        key = folder / "xor.dat"  # since Bitcoin Core 28 the file is XORed with a repeated key
        self._key = key.read_bytes() if key.exists() else bytes(8)

    def replace(self, old: bytes, new: bytes) -> None:
        """Exchange some bytes, which must be there once."""
        stored = self._path.read_bytes()
        key = self._key * (len(stored) // len(self._key) + 1)
        plain = (int.from_bytes(stored, "big") ^ int.from_bytes(key[: len(stored)], "big")).to_bytes(len(stored), "big")
        assert plain.count(old) == 1
        assert len(old) == len(new)
        place = plain.index(old)
        with self._path.open("r+b") as file:
            file.seek(place)
            file.write(bytes(byte ^ key[place + number] for number, byte in enumerate(new)))


def test_a_block_that_rots_on_the_nodes_disk(make_node: Callable[..., RegtestNode], make_till: MakeTill) -> None:
    """One bit of an amount, with work and format intact: nothing of it is believed, nothing above it is read,
    and with the block whole again everything is as if nothing had been."""
    node = make_node().fund()
    till: RunningService = make_till(node)
    payment = till.create("small", "u1")
    till.stop()
    node.pay(payment["address"], 40_000)
    node.mine(3)
    raw = bytes.fromhex(node.rpc("getblock", node.rpc("getblockhash", node.height - 2), 0))
    place = raw.index((40_000).to_bytes(8, "little"))
    good, bad = raw[place - 40 : place + 40], bytearray(raw[place - 40 : place + 40])
    bad[40 + 2] ^= 1  # 40,000 becomes 105,536 satoshi
    disk = BlockFile(node)
    disk.replace(good, bytes(bad))
    assert bytes(bad).hex() in node.rpc("getblock", node.rpc("getblockhash", node.height - 2), 0)

    till.start(ready=False)
    till.wait("a reason", lambda: till.not_ready() == ["node"])
    detail = till.ask("GET", "/readyz", key=None).json()["reasons"][0]["detail"]
    assert "its transactions are not those that its header commits to" in detail
    assert "No block is skipped" in detail
    shown = till.payment(payment["payment_id"])
    assert (shown["credited"], shown["received_sat"]) == (0, 0)
    assert till.create("small", "u2")["status"] == "pending"

    disk.replace(bytes(bad), good)
    done = till.wait_payment(payment["payment_id"], "forwarded")
    assert (done["received_sat"], till.entries("u1")) == (40_000, [("payment", 400)])
    till.wait_level()
    till.stop()
