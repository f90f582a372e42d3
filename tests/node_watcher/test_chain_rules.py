"""The data file that says what each network's chain looks like, and the operator's word over it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node_watcher.chain_rules import rules_of
from payments.model import BlockId
from payments.network import NETWORKS
from payments.proof_of_work import target_of
from tests.payments.test_proof_of_work import GENESIS

KNOTS = "/Satoshi:29.5.0/Knots:20260508/"


@pytest.mark.parametrize("network", NETWORKS)
def test_each_network_has_its_marks(network: str) -> None:
    rules = rules_of(network)
    _, genesis, limit = GENESIS[network]
    assert (rules.network, rules.genesis) == (network, genesis)
    assert target_of(rules.easiest_bits) <= target_of(limit)
    assert (rules.stale_after_ms is None) == (network == "regtest")
    for pin in rules.checkpoints:
        assert pin.height > 0
        assert len(pin.hash) == 64
        # A block of that network: its hash alone shows the work.
        assert int(pin.hash, 16) <= target_of(rules.easiest_bits)


def test_the_floor_of_main_is_far_from_both_sides() -> None:
    floor = target_of(rules_of("main").easiest_bits)
    assert target_of(0x17034219) * 8 == floor  # block 840,000
    assert target_of(0x1D00FFFF) // floor > 10**13


@pytest.mark.parametrize(
    ("version", "refused"),
    [
        (KNOTS, True),
        ("/Satoshi:29.5.0(my shop)/Knots:20260508/", True),
        ("/Satoshi:30.1.0/Knots:20270101/", True),
        ("/Satoshi:29.2.0/Knots:20251110/", False),
        ("/Satoshi:29.5.0/", False),
        ("/Satoshi:30.0.0/", False),
        ("", False),
    ],
)
def test_versions_that_main_refuses(version: str, refused: bool) -> None:
    assert (rules_of("main").refusal(version) is not None) == refused
    assert rules_of("regtest").refusal(version) is None


def test_a_word_for_one_version_is_for_no_other() -> None:
    rules = rules_of("main", accept_version=KNOTS)
    assert rules.refusal(KNOTS) is None
    assert rules.refusal(KNOTS.replace("0508", "0601")) is not None
    assert rules.refusal(f"{KNOTS}x/") is not None


def test_pins_of_the_operator_come_beside_the_shipped_ones_and_win_at_their_height() -> None:
    shipped = rules_of("main").checkpoints
    own = (BlockId(961_700, "ab" * 32), BlockId(shipped[0].height, "cd" * 32))
    assert rules_of("main", checkpoints=own).checkpoints == (own[1], *shipped[1:], own[0])


def test_age_of_the_tip() -> None:
    assert rules_of("main").stale_after_ms == 90 * 60_000
    assert rules_of("regtest", stale_after_ms=1).stale_after_ms == 1
    assert replace(rules_of("main"), stale_after_ms=None).stale_after_ms is None
