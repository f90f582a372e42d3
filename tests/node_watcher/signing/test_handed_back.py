"""Whatever is handed back is read or refused in words: the BIP's vectors, slips of the hand, rubbish, malice."""

from __future__ import annotations

import base64

import pytest
from embit import compact
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node_watcher.signing.handed_back import PsbtRefused, ReadPsbt, read_handed_back
from node_watcher.signing.input_signature import SweepSignatures
from node_watcher.signing.input_unlock import InputUnsigned, check_unlock, unlock_of_psbt
from node_watcher.signing.signer import SweepInput
from payments.model import OutPoint
from payments.tx import decode
from tests.node_watcher.signing import bip174_vectors as bip174
from tests.node_watcher.signing.imagined_coins import imagined_sweep
from tests.node_watcher.signing.offline_wallet import KINDS

SWEEPS = {kind: imagined_sweep(KINDS[kind]) for kind in ("pkh", "wpkh", "tr", "sh-wsh-sortedmulti")}
SIGNED = {kind: sweep.signed.serialize() for kind, sweep in SWEEPS.items()}


@pytest.mark.parametrize("vector", [bip174.ONE_OF_TWO_SIGNATURES, bip174.FIRST_INPUT_FINALIZED, bip174.UNKNOWN_FIELD])
def test_valid_vectors(vector: str) -> None:
    for form in (vector, bytes.fromhex(vector), base64.b64encode(bytes.fromhex(vector))):
        read = read_handed_back(form)
        assert isinstance(read, ReadPsbt)
        assert read.unsigned.serialize() in bytes.fromhex(vector)


@pytest.mark.parametrize("what", list(bip174.CHANGED_FIELDS))
def test_invalid_vectors(what: str) -> None:
    valid, invalid = bip174.CHANGED_FIELDS[what]
    assert bip174.ONE_OF_TWO_SIGNATURES.count(valid) == 1
    start, end = bip174.ONE_OF_TWO_SIGNATURES.split(valid)
    if what in ("partial signature key", "derivation key"):
        end = end.replace(*bip174.SHORT_KEY, 1)
    vector = start + invalid + end
    with pytest.raises(PsbtRefused, match="damaged"):
        read_handed_back(vector)


@pytest.mark.parametrize("vector", [bip174.SIGNED_SCRIPT_INSIDE, bip174.NO_INPUTS_NO_OUTPUTS])
def test_the_transaction_inside_must_be_unsigned_and_spend_something(vector: str) -> None:
    with pytest.raises(PsbtRefused, match="damaged"):
        read_handed_back(vector)


def test_a_psbt_is_finished_as_the_bip_says() -> None:
    read = read_handed_back(bip174.COMBINED)
    assert isinstance(read, ReadPsbt)
    coins = [
        SweepInput(OutPoint(vin.txid.hex(), vin.vout), scope.utxo.value, 0, scope.utxo.script_pubkey.data)
        for vin, scope in zip(read.unsigned.vin, read.inputs, strict=True)
    ]
    signatures = SweepSignatures(read.unsigned, coins)
    script = coins[1].script_pubkey or b""
    unlock = unlock_of_psbt(read.inputs[1], 1, script, signatures)
    assert unlock.script_sig.hex() == bip174.EXTRACTED_SCRIPT_SIG
    assert tuple(item.hex() for item in unlock.witness) == bip174.EXTRACTED_WITNESS
    check_unlock(unlock, 1, script, signatures)
    one = read_handed_back(bip174.ONE_OF_TWO_SIGNATURES)
    assert isinstance(one, ReadPsbt)
    utxo = one.inputs[0].witness_utxo
    coin = SweepInput(OutPoint(one.unsigned.vin[0].txid.hex(), 0), utxo.value, 0, utxo.script_pubkey.data)
    with pytest.raises(InputUnsigned, match="has 1 of the 2"):
        unlock_of_psbt(one.inputs[0], 0, utxo.script_pubkey.data, SweepSignatures(one.unsigned, [coin]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing was handed over"),
        (" \n", "nothing was handed over"),
        (b"", "nothing was handed over"),
        ('{"psbt": "cHNidP8BAH", "complete": true}', "this is JSON"),
        ("00" * 32, "transaction id"),
        ("abc", "neither a PSBT"),
        ("cHNidP8", "cut short"),
        ("cHNidP8B", "cut short"),
        ("hello world", "neither a PSBT"),
        ("deadbeef", "neither a PSBT nor a whole transaction"),
        (b"\xff\xfe\x00", "neither a PSBT nor a whole transaction"),
        ("ümlaut", "neither a PSBT"),
        (SWEEPS["wpkh"].psbt[:-40], "cut short"),
        (SWEEPS["wpkh"].psbt[:-41], "cut short"),
        (SWEEPS["wpkh"].take(SIGNED["wpkh"]).hex[:-2], "whole transaction"),
        (SWEEPS["wpkh"].take(SIGNED["wpkh"]).hex[:-1], "cut short"),
        (SWEEPS["wpkh"].take(SIGNED["wpkh"]).hex + "00", "whole transaction"),
        (SIGNED["wpkh"] + b"\x00", "damaged"),
    ],
)
def test_slips_of_the_hand(text: str | bytes, words: str) -> None:
    with pytest.raises(PsbtRefused, match=words):
        read_handed_back(text)


def _field(key: bytes, value: bytes) -> bytes:
    whole: bytes = compact.to_bytes(len(key)) + key + compact.to_bytes(len(value)) + value
    return whole


def test_a_psbt_of_version_two_is_named() -> None:
    fields = _field(b"\x02", b"\2\0\0\0") + _field(b"\xfb", b"\2\0\0\0")
    with pytest.raises(PsbtRefused, match="PSBT of version 2: let the wallet export version 0"):
        read_handed_back(b"psbt\xff" + fields + b"\0")


MANY = b"\xff" + b"\xff" * 7 + b"\x0f"
"""A number of parts that no memory holds."""


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "fields",
    [
        _field(b"\x04", MANY) + b"\0",
        _field(b"\x05", MANY) + b"\0",
        _field(b"\x00", SWEEPS["wpkh"].parsed.tx.serialize()) + _field(b"\x05", MANY) + b"\0",
        b"\x01\x00" + MANY,
        MANY,
        _field(b"\x00", b"\2\0\0\0" + MANY) + b"\0",
        _field(b"\x00", b"\2\0\0\0\0\1" + MANY) + b"\0",
    ],
)
def test_announced_masses_are_not_waited_for(fields: bytes) -> None:
    with pytest.raises(PsbtRefused):
        read_handed_back(b"psbt\xff" + fields)


@pytest.mark.timeout(10)
def test_announced_masses_in_derivations_are_left_out() -> None:
    """They are of no use here, and embit would make a list of what they announce."""
    sweep = SWEEPS["tr"]
    whole = SIGNED["tr"]
    input_field = _field(b"\x16" + bytes(32), MANY)
    output_field = _field(b"\x07" + bytes(32), MANY)
    assert whole.endswith(b"\0\0")  # the end of the last input, and an output without fields
    assert sweep.take(whole[:-2] + input_field + b"\0" + output_field + b"\0") == sweep.take(whole)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(st.text(max_size=200), st.binary(max_size=200), st.binary(max_size=300).map(lambda b: b"psbt\xff" + b))
)
def test_rubbish_is_refused(given_back: str | bytes) -> None:
    with pytest.raises(PsbtRefused):
        SWEEPS["wpkh"].take(given_back)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), kind=st.sampled_from(list(SWEEPS)), raw=st.booleans())
def test_a_damaged_one_is_refused_or_the_same_sweep(data: st.DataObject, kind: str, raw: bool) -> None:
    """Whatever is taken pays what was agreed: the damage was in what nobody reads."""
    sweep = SWEEPS[kind]
    good = sweep.take(SIGNED[kind])
    damaged = bytearray(good.raw if raw else SIGNED[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        cut = data.draw(st.integers(0, 3))
        damaged[at : at + cut] = data.draw(st.binary(max_size=3))
    try:
        taken = sweep.take(bytes(damaged))
    except PsbtRefused:
        return
    told = decode(taken.raw)
    assert told.prevouts == tuple(coin.outpoint for coin in sweep.coins)
    assert [(out.value_sat, out.script_pubkey) for out in told.outputs] == [(149_003, sweep.script)]
    assert taken.vsize == good.vsize
    if kind != "pkh":
        assert taken.txid == good.txid
