"""Caps to the satoshi, and a day that neither a restart nor a replacement nor the clock makes longer."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from node_watcher.signing.journal import WINDOW_MS
from node_watcher.signing.signer import (
    SignedTx,
    SignerError,
    SigningFailed,
    SweepInput,
    SweepRefused,
    estimate_vsize,
)
from node_watcher.signing.signers import open_signer
from node_watcher.signing.signing_clock import SigningClock
from tests.node_watcher.signing.guard import DESTINATION, SEED, START, Guard, coin

HONEST = open_signer(lambda index: SEED.private_key("regtest", index))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def guard(file: Path) -> Iterator[Guard]:
    made = Guard(file)
    yield made
    made.close()


def test_another_destination_is_refused(guard: Guard) -> None:
    with pytest.raises(SweepRefused, match=r"own destination bcrt1p.*wallet\.forward_to"):
        guard.sign(coin(1), to=b"\x51\x20" + bytes(31) + b"\x02")
    assert guard.sign(coin(1))


def test_the_feerate_to_the_satoshi(guard: Guard) -> None:
    most = 10 * estimate_vsize(1, DESTINATION)
    assert guard.sign(coin(1), fee=most)
    with pytest.raises(SweepRefused, match=f"{most + 1} sat for .* max_feerate of 10 sat/vB, which allows {most} sat"):
        guard.sign(coin(1), fee=most + 1)


def test_a_feerate_that_is_no_whole_number_is_rounded_up(file: Path) -> None:
    guard = Guard(file, max_feerate=Decimal("1.001"))
    size = estimate_vsize(1, DESTINATION)
    assert guard.sign(coin(1), fee=size + 1)
    with pytest.raises(SweepRefused, match="max_feerate"):
        guard.sign(coin(1), fee=size + 2)
    guard.close()


def test_the_fee_of_one_sweep_to_the_satoshi(guard: Guard) -> None:
    coins = [coin(n, 10_000) for n in range(1, 41)]
    assert guard.sign(*coins, fee=5_000)
    with pytest.raises(SweepRefused, match="5001 sat is above the signer's max_fee_sat of 5000"):
        guard.sign(*coins, fee=5_001)


def test_dust_and_senseless_sweeps_are_refused(guard: Guard) -> None:
    with pytest.raises(SweepRefused, match="330"):
        guard.sign(coin(1, 1_000), fee=1_000 - 329)
    with pytest.raises(SweepRefused, match="twice"):
        guard.sign(coin(1), coin(1))
    with pytest.raises(SweepRefused, match="at least one"):
        guard.sign()


@pytest.mark.parametrize(
    "script", [b"\x00\x14" + bytes(20), b"\x51\x20" + bytes(32), b"\x76\xa9\x14" + bytes(20) + b"\x88\xac"]
)
def test_coins_of_others_are_refused(guard: Guard, script: bytes) -> None:
    with pytest.raises(SweepRefused, match=r"not of this signer's seed.*seed show-xpub"):
        guard.sign(coin(1)._replace(script_pubkey=script))
    with pytest.raises(SweepRefused, match="not of this signer's seed"):
        guard.sign(coin(1)._replace(key_index=2))
    with pytest.raises(SweepRefused, match="does not exist"):
        guard.sign(coin(1)._replace(key_index=2**31))


def test_without_a_script_its_own_is_signed(guard: Guard) -> None:
    assert guard.sign(coin(1)._replace(script_pubkey=None)) == guard.sign(coin(1))


def test_the_day_to_the_satoshi(guard: Guard) -> None:
    guard.sign(coin(1, 600_000))
    with pytest.raises(SweepRefused, match=r"400001 sat more would make 1000001 sat .* daily_cap_sat of 1000000"):
        guard.sign(coin(2, 400_001))
    guard.sign(coin(3, 400_000))
    with pytest.raises(SweepRefused, match="daily_cap_sat"):
        guard.sign(coin(4, 1_000))


def test_a_refusal_takes_nothing_of_the_day(guard: Guard, file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(SweepRefused):
        guard.sign(coin(1, 1_000_001))
    assert file.read_bytes() == before
    guard.sign(coin(2, 1_000_000))


def test_a_replacement_counts_once(guard: Guard) -> None:
    coins = coin(1, 500_000), coin(2, 400_000)
    first = guard.sign(*coins, fee=500)
    assert guard.sign(*coins, fee=900) != first
    guard.sign(*coins, coin(3, 100_000), fee=1_500)
    with pytest.raises(SweepRefused, match=r"1000 sat more would make 1001000 sat"):
        guard.sign(*coins, coin(4, 1_000), fee=1_500)


def test_a_false_value_does_not_hide_a_coin(guard: Guard) -> None:
    """The first signature is good for nothing, because BIP 143 commits to the value; the second counts in full."""
    guard.sign(coin(1, 1_000))
    with pytest.raises(SweepRefused, match="999001 sat more would make 1000001 sat"):
        guard.sign(coin(1, 1_000_001))
    guard.sign(coin(1, 1_000_000))
    guard.sign(coin(1, 1_000), fee=600)
    with pytest.raises(SweepRefused, match="daily_cap_sat"):
        guard.sign(coin(2, 1_000))


def test_a_day_later_there_is_room_again(guard: Guard) -> None:
    guard.sign(coin(1, 1_000_000))
    guard.now = START + WINDOW_MS - 1
    with pytest.raises(SweepRefused, match="daily_cap_sat"):
        guard.sign(coin(2, 1_000))
    guard.now = START + WINDOW_MS
    guard.sign(coin(2, 1_000_000))


def test_a_coin_counts_from_its_last_signature(guard: Guard) -> None:
    guard.sign(coin(1, 1_000_000), fee=500)
    guard.now = START + WINDOW_MS - 1
    guard.sign(coin(1, 1_000_000), fee=600)
    guard.now = START + WINDOW_MS + 1
    with pytest.raises(SweepRefused, match="daily_cap_sat"):
        guard.sign(coin(2, 1_000))


def test_a_restart_keeps_the_day(guard: Guard, file: Path) -> None:
    first = guard.sign(coin(1, 1_000_000))
    guard.close()
    again = Guard(file, now=START + 1_000)
    with pytest.raises(SweepRefused, match="daily_cap_sat"):
        again.sign(coin(2, 1_000))
    assert again.sign(coin(1, 1_000_000)) == first
    again.close()


class Once:
    """A signer that signs once, and never again."""

    def __init__(self) -> None:
        self.asked = 0

    def sign_sweep(self, inputs: Sequence[SweepInput], script: bytes, fee_sat: int, locktime: int) -> SignedTx:
        self.asked += 1
        assert self.asked == 1, "the answer was known"
        return HONEST.sign_sweep(inputs, script, fee_sat, locktime)


def test_a_repeat_is_answered_from_the_journal(file: Path) -> None:
    guard = Guard(file, signer=Once())
    first = guard.sign(coin(1, 1_000_000))
    before = file.read_bytes()
    assert guard.sign(coin(1, 1_000_000)) == first
    assert file.read_bytes() == before
    guard.close()


class Liar:
    """A library that signs for something else."""

    def __init__(self, **otherwise: int) -> None:
        self.otherwise = otherwise

    def sign_sweep(self, inputs: Sequence[SweepInput], script: bytes, fee_sat: int, locktime: int) -> SignedTx:
        asked = {"fee_sat": fee_sat, "locktime": locktime} | self.otherwise
        return HONEST.sign_sweep(inputs, script, asked["fee_sat"], asked["locktime"])


@pytest.mark.parametrize("lie", [{"fee_sat": 501}, {"locktime": 101}])
def test_what_the_library_made_is_checked_before_it_leaves(file: Path, lie: dict[str, int]) -> None:
    guard = Guard(file, signer=Liar(**lie))
    with pytest.raises(SigningFailed, match="not the sweep that was asked for"):
        guard.sign(coin(1))
    assert guard.journal.counted(START) == {}
    guard.close()


def test_what_cannot_be_written_down_is_not_signed(guard: Guard, file: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 10, before[1]))
    try:
        with pytest.raises(SignerError, match="cannot be written"):
            guard.sign(coin(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    first = guard.sign(coin(1, 1_000_000))
    guard.close()
    again = Guard(file)
    assert again.sign(coin(1, 1_000_000)) == first, "what was half written is gone"
    again.close()


class Clocks:
    """A wall clock that anybody sets, and a steady one."""

    def __init__(self) -> None:
        self.wall, self.steady = START, 50


def test_a_clock_that_is_set_back_or_forth_moves_nothing() -> None:
    clocks = Clocks()
    clock = SigningClock(0, wall=lambda: clocks.wall, steady=lambda: clocks.steady)
    assert clock() == START
    for wall in (START - 10 * WINDOW_MS, START + 10 * WINDOW_MS):
        clocks.wall, clocks.steady = wall, clocks.steady + 7
        assert clock() == START + clocks.steady - 50


def test_a_clock_behind_the_journal_begins_at_the_journal() -> None:
    clock = SigningClock(START + 1, wall=lambda: START - WINDOW_MS, steady=lambda: 0)
    assert clock() == START + 1
