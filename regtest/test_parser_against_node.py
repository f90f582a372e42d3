"""Our parser of transactions against `decoderawtransaction`: same txid and outputs, or both refuse.

The node is told `iswitness=true`. Then it reads as it reads from its peers and out of blocks, and as we do: bytes
0x00 0x01 after the version are BIP 144's marker. Left to itself it guesses, and then also reads what a wallet has
before it adds inputs: see `test_the_node_guesses_unless_told`. What else differs is named by `Differs`, and always
the same way round: the node shows what it would neither relay nor mine, and we have no output that it has not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payments.tx import MAX_MONEY, MalformedTransaction, decode, match, outpoint_key, scan, wire_hash
from regtest.node import NodeError, RegtestNode, to_sat
from regtest.real_transactions import real_transactions
from tests.fuzz.plain import NULL, size, vector
from tests.fuzz.shapes import IN, LOCKTIME, OUT, PIECES, SCRIPTS, VERSION, damaged, transactions

REFUSED = -22  # RPC_DESERIALIZATION_ERROR
settled = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


class Outcome(StrEnum):
    SAME = "read by both, the same"
    REFUSED = "refused by both"


class Differs(StrEnum):
    VALUE = "the node decodes it, and we refuse it where it would be ours: an output below 0 or above all bitcoin"
    """Of the format it is; `CheckTransaction` refuses it in mempools and blocks (bad-txns-vout-negative, -toolarge)."""


@pytest.fixture(scope="module")
def real(node: RegtestNode) -> list[bytes]:
    annexed = VERSION + b"\x00\x01" + size(1) + IN + size(1) + OUT + size(2) + vector(b"s" * 64) + vector(b"\x50a")
    return [*real_transactions(node), annexed + LOCKTIME, VERSION + size(1) + IN + size(1) + OUT + LOCKTIME]


def compare(node: RegtestNode, raws: Sequence[bytes]) -> Counter[str]:
    """One question to the node about all of them; how they turned out."""
    answers = node.batch("decoderawtransaction", [(raw.hex(), True) for raw in raws])
    return Counter(_compare(raw, answer) for raw, answer in zip(raws, answers, strict=True))


def _compare(raw: bytes, answer: Any) -> Outcome | Differs:
    shown = raw.hex() if len(raw) < 4000 else f"{raw[:200].hex()}… ({len(raw)} bytes)"
    if isinstance(answer, NodeError):
        assert answer.code == REFUSED, answer
        for scripts in ({}, {b"\x51": 1}):
            with pytest.raises(MalformedTransaction):
                pytest.fail(f"read as {match(raw, scripts, set())}, and the node refuses it: {shown}")
        return Outcome.REFUSED
    outputs = [(out["n"], to_sat(out["value"]), bytes.fromhex(out["scriptPubKey"]["hex"])) for out in answer["vout"]]
    scripts = {script: 1 for *_, script in outputs}
    txids: list[bytes] = []
    assert scan(raw, 0, 1, {}, set(), [], txids) == len(raw), shown
    assert txids == [wire_hash(answer["txid"])], shown
    assert match(raw, {}, set()) is None
    bad = {script for _, value, script in outputs if not 0 <= value <= MAX_MONEY}
    if bad:
        with pytest.raises(MalformedTransaction, match="more than all bitcoin"):
            match(raw, dict.fromkeys(bad, 1), set())
        rest = match(raw, {script: 1 for script in scripts if script not in bad}, set())
        assert rest is None or {tuple(out) for out in rest.outputs} <= set(outputs)
        return Differs.VALUE
    ours = decode(raw)
    assert ours.txid == answer["txid"], shown
    assert [tuple(out) for out in ours.outputs] == outputs, shown
    spent = [None if "coinbase" in coin else (coin["txid"], coin["vout"]) for coin in answer["vin"]]
    assert ours.coinbase == (spent == [None]), shown
    if None not in spent:  # where it stands among others the node shows no outpoint: nothing can spend that one
        assert [tuple(prevout) for prevout in ours.prevouts] == spent, shown
    assert match(raw, scripts, set()) == (ours if outputs else None), shown
    keys = {outpoint_key(prevout) for prevout in ours.prevouts}
    assert match(raw, {}, keys) == (ours._replace(outputs=()) if keys else None), shown
    return Outcome.SAME


# ------------------------------------------------------------------ by the thousand


@settings(settled, max_examples=40)
@given(raws=st.lists(transactions(), min_size=1, max_size=10))
def test_shapes_made_from_parts(node: RegtestNode, raws: list[bytes]) -> None:
    compare(node, raws)


def test_real_ones_with_damage(node: RegtestNode, real: list[bytes]) -> None:
    """Bits turned over, cuts, insertions, pieces of one in another. Where it stays readable it is the same."""
    came: Counter[str] = Counter(compare(node, real))
    assert came == {Outcome.SAME: len(real)}

    @settings(settled, max_examples=40)
    @given(seed=st.integers(0, 2**32))
    def many(seed: int) -> None:
        random = Random(seed)
        came.update(compare(node, [raw for _ in range(150) if (raw := damaged(real, random))]))

    many()
    assert came[Outcome.SAME] > 500, came
    assert came[Outcome.REFUSED] > 500, came
    assert came[Differs.VALUE], came


@settings(settled, max_examples=30)
@given(raws=st.lists(st.binary(min_size=1, max_size=200).map(lambda tail: VERSION + tail), min_size=1, max_size=40))
def test_bytes_of_no_meaning(node: RegtestNode, raws: list[bytes]) -> None:
    compare(node, [*raws, *(raw[4:] for raw in raws)])


def test_each_size_written_in_each_width(node: RegtestNode) -> None:
    """In every place where a size may stand: as short as can be it is read, and longer it is refused by both."""
    places = [b"\x01", b"\x00", b"\x01", b"\x01", b"\x01", b"\x02"]
    between = [
        (VERSION + b"\x00\x01", b""),
        (IN[:36], b""),
        (b"\xff" * 4, b""),
        (OUT[:8], b""),
        (b"\x51", b""),
        (b"", b"ab" + LOCKTIME),
    ]

    def written(place: int, piece: bytes) -> bytes:
        sizes = [piece if number == place else short for number, short in enumerate(places)]
        return b"".join(before + one + after for one, (before, after) in zip(sizes, between, strict=True))

    assert compare(node, [written(-1, b"")]) == {Outcome.SAME: 1}
    wide = [written(place, size(places[place][0], width)) for place in range(6) for width in (2, 4, 8)]
    assert compare(node, wide) == {Outcome.REFUSED: 18}
    compare(node, [written(place, piece) for place in range(6) for piece in PIECES])


# ------------------------------------------------------------------ one by one

W = b"\x01\x01w"  # a witness of one item


def tx(ins: bytes = size(1) + IN, outs: bytes = size(1) + OUT, witness: bytes = b"", marker: bytes = b"") -> bytes:
    return VERSION + (marker or b"\x00\x01" * bool(witness)) + ins + outs + witness + LOCKTIME


def null_in(script: bytes) -> bytes:
    return NULL + vector(script) + b"\xff" * 4


READ = {
    "nothing at all": tx(b"\x00", b"\x00"),
    "no outputs": tx(outs=b"\x00"),
    "no outputs, with a witness": tx(outs=b"\x00", witness=W),
    "10,000 inputs": tx(ins=size(10_000) + IN * 10_000),
    "10,000 outputs": tx(outs=size(10_000) + OUT * 10_000),
    "a witness of 3.9 MB": tx(witness=b"\x01" + vector(b"w" * 3_900_000)),
    "a witness of 500,001 empty items": tx(witness=size(500_001) + b"\x00" * 500_001),
    "998 of 999 signatures": tx(witness=size(1_001) + vector(b"s" * 64) * 998 + b"\x00" * 3),
    "one item, which is empty": tx(witness=b"\x01\x00"),
    "only the second input has a witness": tx(ins=size(2) + IN * 2, witness=b"\x00" + W),
    "an annex": tx(witness=b"\x02" + vector(b"s" * 64) + vector(b"\x50" + b"a" * 300)),
    "a coinbase": tx(ins=size(1) + null_in(b"\x03abc")),
    "a coinbase with a witness": tx(ins=size(1) + null_in(b"\x03abc"), witness=b"\x01" + vector(bytes(32))),
    "a coinbase of ten thousand pushes": tx(ins=size(1) + null_in(b"\x51" * 10_000)),
    "a null input among others": tx(ins=size(2) + IN + null_in(b"")),
    "all bitcoin": tx(outs=size(1) + MAX_MONEY.to_bytes(8, "little") + b"\x01\x51"),
    **{
        f"script {number} of {len(script)} bytes": tx(outs=size(1) + bytes(8) + vector(script))
        for number, script in enumerate(SCRIPTS)
    },
}
NOT_READ = {
    "a version": VERSION,
    "a byte too many": tx() + b"\x00",
    "a byte too few": tx()[:-1],
    "two of them": tx() * 2,
    "a witness announced and empty": tx(witness=b"\x00"),
    "a witness announced and not there": tx(marker=b"\x00\x01"),
    "a witness for no inputs": tx(b"\x00", b"\x00", marker=b"\x00\x01"),
    "flag 0 with inputs": tx(marker=b"\x00\x00"),
    "flag 2": tx(marker=b"\x00\x02"),
    "flag 3 with a witness": tx(witness=W, marker=b"\x00\x03"),
    "flag 253": tx(marker=b"\x00\xfd\xfd\x00"),
    "the marker twice": tx(witness=W, marker=b"\x00\x01\x00\x01"),
    "more inputs than bytes": tx(ins=size(2**64 - 1) + IN),
    "more outputs than bytes": tx(outs=size(2**32) + OUT),
    "a script of 32 MiB and one byte": tx(outs=size(1) + OUT[:8] + size(0x0200_0001) + b"\x51"),
}


@pytest.mark.parametrize("shape", READ)
def test_read_by_both(node: RegtestNode, shape: str) -> None:
    assert compare(node, [READ[shape]]) == {Outcome.SAME: 1}


@pytest.mark.parametrize("shape", NOT_READ)
def test_refused_by_both(node: RegtestNode, shape: str) -> None:
    assert compare(node, [NOT_READ[shape]]) == {Outcome.REFUSED: 1}


@pytest.mark.parametrize(("number", "wider"), [(252, 2), (253, 4), (65_535, 4), (65_536, 8)])
def test_where_sizes_grow(node: RegtestNode, number: int, wider: int) -> None:
    """The last number of each width and the first of the next, true in each place: read, and a step wider refused."""

    def written(width: int) -> list[bytes]:
        count = size(number, width)
        of_bytes = count + b"\x51" * number
        made = [
            tx(ins=size(1) + IN[:36] + of_bytes + b"\xff" * 4),
            tx(outs=size(1) + bytes(8) + of_bytes),
            tx(witness=count + b"\x00" * (number - 1) + b"\x01w"),
            tx(witness=b"\x01" + of_bytes),
        ]
        if number < 65_535:  # the node takes seconds to show so many
            made += [tx(ins=count + IN * number), tx(outs=count + OUT * number)]
        return made

    shortest = written(0)
    assert compare(node, shortest) == {Outcome.SAME: len(shortest)}
    assert compare(node, written(wider)) == {Outcome.REFUSED: len(shortest)}


# ------------------------------------------------------------------ where we differ


TOO_LARGE, NEGATIVE = "bad-txns-vout-toolarge", "bad-txns-vout-negative"


@pytest.mark.parametrize(
    ("value", "words"), [(MAX_MONEY + 1, TOO_LARGE), (2**63 - 1, TOO_LARGE), (2**63, NEGATIVE), (2**64 - 1, NEGATIVE)]
)
def test_the_node_shows_values_that_no_block_can_have(node: RegtestNode, value: int, words: str) -> None:
    raw = tx(outs=size(1) + value.to_bytes(8, "little") + b"\x01\x51")
    assert compare(node, [raw]) == {Differs.VALUE: 1}
    (verdict,) = node.rpc("testmempoolaccept", [raw.hex()])
    assert verdict["reject-reason"] == words


def test_the_node_guesses_unless_told(node: RegtestNode) -> None:
    """What a wallet begins with, outputs and no inputs yet, reads like a marker. The node finds out what was meant;
    whoever reads blocks must not: there the marker is a marker."""
    address = node.new_address()
    unfunded = node.rpc("createrawtransaction", [], [{address: "0.0004"}])
    assert len(node.rpc("decoderawtransaction", unfunded)["vout"]) == 1
    assert len(node.rpc("decoderawtransaction", unfunded, False)["vout"]) == 1
    assert compare(node, [bytes.fromhex(unfunded)]) == {Outcome.REFUSED: 1}
    raw = node.rpc("getblock", node.tip, 0)
    with pytest.raises(NodeError, match="Block decode failed"):
        node.rpc("submitblock", raw[:160] + "01" + unfunded)
