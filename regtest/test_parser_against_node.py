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
                match(raw, scripts, set())
                pytest.fail(f"read by us, refused by the node: {shown}")
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
        ours = match(raw, {script: 1 for script in scripts if script not in bad}, set())
        assert ours is None or {tuple(out) for out in ours.outputs} <= set(outputs)
        return Differs.VALUE
    tx = decode(raw)
    assert tx.txid == answer["txid"], shown
    assert [tuple(out) for out in tx.outputs] == outputs, shown
    spent = [None if "coinbase" in coin else (coin["txid"], coin["vout"]) for coin in answer["vin"]]
    assert tx.coinbase == (spent == [None]), shown
    if None not in spent:  # where it stands among others the node shows no outpoint: nothing can spend that one
        assert [tuple(prevout) for prevout in tx.prevouts] == spent, shown
    assert match(raw, scripts, set()) == (tx if outputs else None), shown
    keys = {outpoint_key(prevout) for prevout in tx.prevouts}
    assert match(raw, {}, keys) == (tx._replace(outputs=()) if keys else None), shown
    return Outcome.SAME


# ------------------------------------------------------------------ by the thousand


@settings(settled, max_examples=50)
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

SEGWIT = VERSION + b"\x00\x01" + size(1) + IN + size(1) + OUT
READ = {
    "nothing at all": VERSION + b"\x00\x00" + LOCKTIME,
    "no outputs": VERSION + size(1) + IN + size(0) + LOCKTIME,
    "no outputs, with a witness": VERSION + b"\x00\x01" + size(1) + IN + size(0) + b"\x01\x01w" + LOCKTIME,
    "10,000 inputs": VERSION + size(10_000) + IN * 10_000 + size(1) + OUT + LOCKTIME,
    "10,000 outputs": VERSION + size(1) + IN + size(10_000) + OUT * 10_000 + LOCKTIME,
    "65,536 outputs": VERSION + size(1) + IN + size(65_536) + (bytes(8) + b"\x00") * 65_536 + LOCKTIME,
    "a witness of 3.9 MB": SEGWIT + size(1) + vector(b"w" * 3_900_000) + LOCKTIME,
    "a witness of 500,001 empty items": SEGWIT + size(500_001) + b"\x00" * 500_001 + LOCKTIME,
    "998 of 999 signatures": SEGWIT + size(1_001) + vector(b"s" * 64) * 998 + b"\x00" * 3 + LOCKTIME,
    "one item, which is empty": SEGWIT + b"\x01\x00" + LOCKTIME,
    "the second input has the only witness": VERSION + b"\x00\x01" + size(2) + IN * 2 + size(1) + OUT + b"\x00\x01\x00" + LOCKTIME,
    "an annex": SEGWIT + size(2) + vector(b"s" * 64) + vector(b"\x50" + b"a" * 300) + LOCKTIME,
    "ten thousand pushes to spend": VERSION + size(1) + NULL + vector(b"\x51" * 10_000) + b"\xff" * 4 + size(1) + OUT + LOCKTIME,
    "a coinbase with a witness": VERSION + b"\x00\x01" + size(1) + NULL + b"\x02\x51\x51" + b"\xff" * 4 + size(1) + OUT + size(1) + vector(bytes(32)) + LOCKTIME,
    "a null input among others": VERSION + size(2) + IN + NULL + b"\x00" + b"\xff" * 4 + size(1) + OUT + LOCKTIME,
    "all bitcoin": VERSION + size(1) + IN + size(1) + MAX_MONEY.to_bytes(8, "little") + b"\x01\x51" + LOCKTIME,
    **{
        f"script {number} of {len(script)} bytes": VERSION + size(1) + IN + size(1) + bytes(8) + vector(script) + LOCKTIME
        for number, script in enumerate(SCRIPTS)
    },
}  # fmt: skip
NOT_READ = {
    "a version": VERSION,
    "a byte too many": VERSION + size(1) + IN + size(1) + OUT + LOCKTIME + b"\x00",
    "a byte too few": VERSION + size(1) + IN + size(1) + OUT + LOCKTIME[:3],
    "two of them": (VERSION + size(1) + IN + size(1) + OUT + LOCKTIME) * 2,
    "a witness announced and empty": SEGWIT + b"\x00" + LOCKTIME,
    "a witness announced and not there": SEGWIT + LOCKTIME,
    "a witness for no inputs": VERSION + b"\x00\x01\x00\x00" + LOCKTIME,
    "flag 0 with inputs": VERSION + b"\x00\x00" + size(1) + IN + size(1) + OUT + LOCKTIME,
    "flag 2": VERSION + b"\x00\x02" + size(1) + IN + size(1) + OUT + LOCKTIME,
    "flag 3 with a witness": VERSION + b"\x00\x03" + size(1) + IN + size(1) + OUT + b"\x01\x01w" + LOCKTIME,
    "flag 253": VERSION + b"\x00\xfd\xfd\x00" + size(1) + IN + size(1) + OUT + LOCKTIME,
    "marker twice": VERSION + b"\x00\x01\x00\x01" + size(1) + IN + size(1) + OUT + b"\x01\x01w" + LOCKTIME,
    "more inputs than bytes": VERSION + size(2**64 - 1) + IN + size(1) + OUT + LOCKTIME,
    "more outputs than bytes": VERSION + size(1) + IN + size(2**32) + OUT + LOCKTIME,
    "a script of 32 MiB and one byte": VERSION + size(1) + IN + size(1) + OUT[:8] + size(0x0200_0001) + b"\x51" + LOCKTIME,
}  # fmt: skip


@pytest.mark.parametrize("shape", READ)
def test_read_by_both(node: RegtestNode, shape: str) -> None:
    assert compare(node, [READ[shape]]) == {Outcome.SAME: 1}


@pytest.mark.parametrize("shape", NOT_READ)
def test_refused_by_both(node: RegtestNode, shape: str) -> None:
    assert compare(node, [NOT_READ[shape]]) == {Outcome.REFUSED: 1}


# ------------------------------------------------------------------ where we differ


@pytest.mark.parametrize(
    ("value", "words"),
    [(MAX_MONEY + 1, "bad-txns-vout-toolarge"), (2**63, "bad-txns-vout-negative"), (2**64 - 1, "bad-txns-vout-negative")],
)  # fmt: skip
def test_the_node_shows_values_that_no_block_can_have(node: RegtestNode, value: int, words: str) -> None:
    raw = VERSION + size(1) + IN + size(1) + value.to_bytes(8, "little") + b"\x01\x51" + LOCKTIME
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
    with pytest.raises(NodeError, match="Block decode failed"):
        raw = node.rpc("getblock", node.tip, 0)
        node.rpc("submitblock", raw[:160] + "01" + unfunded)
