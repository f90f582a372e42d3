"""The node's chain becomes another coin's, and the node goes on calling itself regtest.

Bitcoin Knots changes its proof of work at a height that it can be told: from there on its headers have 164
bytes. It is the same program with the same wallets at the same address, as after an update of the node.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from regtest.bitcoind_source import BitcoindPrograms
from regtest.command_line import main
from regtest.conftest import TWO_COMBINATIONS, MakeTill
from regtest.node import RegtestNode
from regtest.service import RunningService


@pytest.fixture
def parting_node(bitcoind_binary: BitcoindPrograms) -> Iterator[RegtestNode]:
    with RegtestNode(bitcoind_binary) as node:
        if "Knots" not in node.rpc("getnetworkinfo")["subversion"]:
            pytest.skip("only Bitcoin Knots has another coin's rules to offer: set BITCOIND to one")
        yield node.fund(10)


@pytest.fixture
def part(parting_node: RegtestNode, tmp_path: Path) -> Callable[[], None]:
    """Take the node over to the other coin, or, the second time, back to where it left."""
    kept, chain = tmp_path / "kept", parting_node.cookie_file.parent

    def change() -> None:
        height = parting_node.height
        parting_node.stop()
        if kept.exists():
            shutil.rmtree(chain)
            kept.rename(chain)
            parting_node.extra_args.clear()
        else:
            shutil.copytree(chain, kept)
            parting_node.extra_args.append(f"-testactivationheight=blake2b@{height + 1}")
        parting_node.start()

    return change


def header_size(node: RegtestNode) -> int:
    return len(bytes.fromhex(node.rpc("getblockheader", node.tip, False)))


def frozen(till: RunningService) -> bool:
    return till.figures()["nodetill_credits_frozen"] == 1


@pytest.mark.parametrize("combination", TWO_COMBINATIONS, ids="-".join)
def test_nothing_of_another_coin_is_credited(
    combination: tuple[str, str], parting_node: RegtestNode, part: Callable[[], None], make_till: MakeTill
) -> None:
    node = parting_node
    till = make_till(node, *combination)
    before = till.create("small", "before")
    node.pay(before["address"], 40_000)
    node.mine(3)
    till.wait_payment(before["payment_id"], "forwarded")
    early, during = till.create("small", "early"), till.create("small", "during")
    till.wait_level()
    height = node.height

    part()
    node.pay(early["address"], 40_000)  # above the last block of both coins it may be shown, as anybody's promise
    node.mine(1)
    node.pay(during["address"], 40_000)
    node.mine(3)
    assert node.rpc("getblockchaininfo")["chain"] == "regtest"
    assert (header_size(node), node.height) == (164, height + 4)
    till.wait("the reason", lambda: till.not_ready() == ["chain-mismatch"])
    for _ in range(3):
        node.mine(1)
        assert till.ask("POST", f"confirm/{during['payment_id']}").status == 409
        assert till.not_ready() == ["chain-mismatch"]
    (reason,) = till.ask("GET", "/readyz", key=None).json()["reasons"]
    assert "164 bytes" in reason["detail"]
    assert "node.rpc_url" in reason["detail"]
    assert frozen(till)
    doctor = main("doctor", "--config", str(till.config), "--json")
    assert doctor.code == 1
    assert {f["check"] for f in json.loads(doctor.out)["findings"] if f["colour"] == "red"} == {"chain", "service"}
    assert "164 bytes" in doctor.out
    # Said once: by the header's size, or, when the block was read before its tip was asked about, by its hash.
    assert till.log_says("follows the rules of another coin") == 1
    assert till.payment(during["payment_id"])["status"] == "pending"
    assert till.payment(early["payment_id"])["confirmations"] == 0
    assert [till.entries(user) for user in ("before", "early", "during")] == [[("payment", 400)], [], []]

    part()
    assert (header_size(node), node.height) == (80, height)
    till.wait_level()
    assert not frozen(till)
    assert till.payment(during["payment_id"])["status"] == "pending"
    node.pay(during["address"], 40_000)
    node.mine(3)
    assert till.wait_payment(during["payment_id"], "forwarded")["credited"] == 400
    assert [till.entries(user) for user in ("before", "early", "during")] == [
        [("payment", 400)],
        [],
        [("payment", 400)],
    ]
    assert till.stop() == 0


def test_a_service_that_starts_beside_another_coin_says_so_and_ends(
    parting_node: RegtestNode, part: Callable[[], None], make_till: MakeTill
) -> None:
    till = make_till(parting_node, start=False)
    part()
    parting_node.mine(1)
    till.serve().refused("164 bytes", "another coin")
    part()
    till.start()


def test_a_witness_node_of_the_settings_must_agree(make_node: Callable[..., RegtestNode], make_till: MakeTill) -> None:
    node, other = make_node(p2p=True).fund(5), make_node(p2p=True, zmq=False)
    node.connect(other)
    other.wait_for_tip(node.tip)
    address = {"rpc_url": other.rpc_url, "rpc_cookie_file": str(other.cookie_file)}
    till = make_till(node, settings={"node": {"witness_nodes": [address]}})
    payment = till.create("small", "split")
    node.disconnect()
    node.pay(payment["address"], 40_000)
    node.mine(4)
    other.mine(5)
    till.wait("the reason", lambda: till.not_ready() == ["witness-disagrees"])
    assert frozen(till)
    assert till.balance("split") == 0
    node.connect(other)
    node.wait_for_tip(other.tip)
    till.wait_level()
    assert till.balance("split") == 0
    node.mine(3)
    other.wait_for_tip(node.tip)
    assert till.wait_payment(payment["payment_id"], "forwarded")["credited"] == 400
    other.stop()
    node.mine(1)
    till.wait("the reason", lambda: till.not_ready() == ["witness-silent"])
    other.start()
    node.connect(other)
    till.wait_level()
    assert till.entries("split") == [("payment", 400)]
    assert till.stop() == 0
