"""What comes back is taken only if it is the sweep that was handed out, signed by the wallet's keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from embit.ec import PrivateKey, PublicKey
from embit.psbt import PSBT
from embit.script import Script, Witness, p2pkh_from_p2wpkh
from embit.transaction import SIGHASH, Transaction, TransactionInput, TransactionOutput

from node_watcher.signing.signed_psbt import PsbtRefused, take_signed
from node_watcher.signing.signer import SweepRefused
from payments.tx import decode
from tests.node_watcher.signing.imagined_coins import ImaginedSweep, imagined_sweep
from tests.node_watcher.signing.offline_wallet import DESTINATIONS, KINDS, OfflineWallet, master_key

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of secp256k1 (SEC 2)
ECDSA_KINDS = [kind for kind in KINDS if kind != "tr"]
MULTI_KINDS = [kind for kind in KINDS if "multi" in kind]


@pytest.fixture(params=list(KINDS))
def sweep(request: pytest.FixtureRequest) -> ImaginedSweep:
    return imagined_sweep(KINDS[request.param])


def refusal(sweep: ImaginedSweep, given: str | bytes) -> str:
    with pytest.raises(PsbtRefused) as refused:
        sweep.take(given)
    return str(refused.value)


def test_all_forms_give_the_same(sweep: ImaginedSweep) -> None:
    psbt = sweep.signed
    raw = psbt.serialize()
    signed = sweep.take(psbt.to_base64())
    wrapped = "\r\n".join(psbt.to_base64()[at : at + 76] for at in range(0, len(psbt.to_base64()), 76))
    forms: list[str | bytes] = [
        raw,
        raw.hex(),
        wrapped + "\n",
        wrapped.encode(),
        signed.hex,
        signed.raw,
        f" {signed.hex}\n",
    ]
    assert [sweep.take(form) for form in forms] == [signed] * len(forms)
    told = decode(signed.raw)
    assert told.prevouts == tuple(coin.outpoint for coin in sweep.coins)
    assert [(out.value_sat, out.script_pubkey) for out in told.outputs] == [(150_003 - 1_000, sweep.script)]
    assert (signed.txid, signed.fee_sat) == (told.txid, 1_000)


def _more_inputs(tx: Any) -> None:
    tx.vin.append(TransactionInput(bytes(31) + b"\x07", 0, sequence=0xFFFFFFFD))


def _two_outputs(tx: Any) -> None:
    tx.vout[0].value -= 500
    tx.vout.append(TransactionOutput(500, Script(DESTINATIONS["p2pkh"])))


CHANGES: dict[str, tuple[Callable[[Any], None], str]] = {
    "version": (lambda tx: setattr(tx, "version", 1), "version is 1 instead of 2"),
    "version 0": (lambda tx: setattr(tx, "version", 0), "version is 0 instead of 2"),
    "locktime": (lambda tx: setattr(tx, "locktime", 799), "locktime is 799 instead of 800"),
    "sequence": (lambda tx: setattr(tx.vin[1], "sequence", 0xFFFFFFFF), "sequence number"),
    "sequence 0": (lambda tx: setattr(tx.vin[2], "sequence", 0), "sequence number is 0"),
    "txid": (lambda tx: setattr(tx.vin[0], "txid", bytes(31) + b"\x09"), "was not in the sweep"),
    "vout": (lambda tx: setattr(tx.vin[0], "vout", 7), ":7, which was not in the sweep"),
    "order": (lambda tx: tx.vin.reverse(), "another order"),
    "twice": (lambda tx: tx.vin.append(tx.vin[0]), "doubled"),
    "missing": (lambda tx: tx.vin.pop(), ":2, which was in the sweep"),
    "more": (_more_inputs, "was not in the sweep"),
    "value": (lambda tx: setattr(tx.vout[0], "value", 148_000), "148000 satoshi instead of 149003, so the fee was"),
    "address": (lambda tx: setattr(tx.vout[0].script_pubkey, "data", DESTINATIONS["p2tr"]), "pays another address"),
    "change": (_two_outputs, "2 outputs instead of one"),
    "no output": (lambda tx: tx.vout.clear(), "damaged|0 outputs"),
}


@pytest.mark.parametrize("what", list(CHANGES))
def test_a_changed_transaction_is_refused(sweep: ImaginedSweep, what: str) -> None:
    """Changed before signing, so that its signatures are right; in both forms."""
    change, words = CHANGES[what]
    signed = sweep.take(sweep.signed.serialize())
    raw = Transaction.parse(signed.raw)
    change(raw)
    with pytest.raises(PsbtRefused, match=words):
        sweep.take(raw.serialize().hex())
    unsigned = sweep.parsed.tx
    change(unsigned)
    psbt = PSBT(unsigned)
    for theirs, ours in zip(psbt.inputs, sweep.signed.inputs, strict=False):
        theirs.unknown, theirs.partial_sigs = ours.unknown, ours.partial_sigs
        theirs.final_scriptwitness = ours.final_scriptwitness
    text = psbt.serialize().replace(sweep.parsed.tx.serialize(), unsigned.serialize())
    # embit writes 0 as something else in both places.
    text = text.replace(psbt.tx.serialize(), unsigned.serialize())
    with pytest.raises(PsbtRefused, match=words):
        sweep.take(text)


def test_what_is_not_signed_is_named(sweep: ImaginedSweep) -> None:
    words = refusal(sweep, sweep.psbt)
    txid = sweep.coins[0].outpoint.txid
    assert words.startswith(f"it is not signed yet: input 1 ({txid}:0) lacks a signature")
    assert words.endswith("(and 2 more inputs are not signed)")
    assert "input 1" in refusal(sweep, sweep.parsed.tx.serialize().hex())
    psbt = sweep.signed
    psbt.inputs[1].partial_sigs.clear()
    psbt.inputs[1].final_scriptwitness = None
    assert f"not signed yet: input 2 ({txid}:1) lacks a signature" in refusal(sweep, psbt.serialize())
    raw = Transaction.parse(sweep.take(sweep.signed.serialize()).raw)
    raw.vin[2].script_sig, raw.vin[2].witness = Script(), Witness()
    assert f"not signed yet: input 3 ({txid}:2) lacks a signature" in refusal(sweep, raw.serialize().hex())


@pytest.mark.parametrize("hash_type", [SIGHASH.NONE, SIGHASH.SINGLE, SIGHASH.ALL | SIGHASH.ANYONECANPAY])
def test_only_signatures_over_everything_count(sweep: ImaginedSweep, hash_type: int) -> None:
    sweep = imagined_sweep(sweep.wallet, 1)  # SINGLE needs an output for each input
    psbt = sweep.parsed
    for number in sweep.wallet.masters[: sweep.wallet.needed]:
        psbt.sign_with(master_key(number), sighash=hash_type)
    assert "sighash ALL" in refusal(sweep, psbt.serialize())
    psbt = sweep.signed
    psbt.inputs[0].sighash_type = hash_type
    assert "input 1 " in (words := refusal(sweep, psbt.serialize()))
    assert "sighash ALL" in words


def test_taproot_may_spell_its_hash_type_out() -> None:
    sweep = imagined_sweep(KINDS["tr"])
    psbt = sweep.parsed
    psbt.sign_with(master_key(1), sighash=SIGHASH.ALL)
    assert sweep.take(psbt.serialize()).vsize == sweep.take(sweep.signed.serialize()).vsize + 1
    raw = Transaction.parse(sweep.take(sweep.signed.serialize()).raw)
    raw.vin[0].witness.items[0] += b"\x00"  # BIP341: DEFAULT is never written
    assert "not valid" in refusal(sweep, raw.serialize())
    raw.vin[0].witness.items = [raw.vin[0].witness.items[0][:64], b"\x50"]  # an annex
    assert "not unlocked by the keys" in refusal(sweep, raw.serialize())


def test_a_taproot_signature_in_its_own_field() -> None:
    """PSBT_IN_TAP_KEY_SIG of BIP371, which embit does not write."""
    sweep = imagined_sweep(KINDS["tr"])
    psbt = sweep.signed
    for scope in psbt.inputs:
        scope.unknown = {b"\x13": scope.final_scriptwitness.items[0]}
        scope.final_scriptwitness = None
    assert sweep.take(psbt.serialize()) == sweep.take(sweep.signed.serialize())


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_wallet_deceived_about_the_amount_signs_in_vain(kind: str) -> None:
    """A device that believes a smaller amount would give the difference away as fee (segwit version 0)."""
    sweep = imagined_sweep(KINDS[kind])
    psbt = sweep.parsed
    for scope in psbt.inputs:
        if scope.witness_utxo is not None:
            scope.witness_utxo.value -= 10_000
    signed = sweep.wallet.signed_by_embit(psbt.to_base64())
    if kind == "pkh":  # signs no amounts; the device reads them in the whole transaction
        assert sweep.take(signed).fee_sat == 1_000
    else:
        assert "not valid for this sweep" in refusal(sweep, signed)


def test_another_wallets_signatures_are_refused(sweep: ImaginedSweep) -> None:
    other = OfflineWallet(sweep.wallet.pattern, tuple(n + 10 for n in sweep.wallet.masters), sweep.wallet.needed)
    theirs = imagined_sweep(other)
    psbt, foreign = sweep.parsed, theirs.signed
    for scope, source in zip(psbt.inputs, foreign.inputs, strict=True):
        scope.partial_sigs, scope.final_scriptwitness = source.partial_sigs, source.final_scriptwitness
    assert "input 1 " in (words := refusal(sweep, psbt.serialize()))
    assert "not unlocked by the keys" in words or "not valid for this sweep" in words
    raw = Transaction.parse(sweep.take(sweep.signed.serialize()).raw)
    finished = Transaction.parse(theirs.take(theirs.signed.serialize()).raw)
    for vin, source in zip(raw.vin, finished.vin, strict=True):
        vin.script_sig, vin.witness = source.script_sig, source.witness
    words = refusal(sweep, raw.serialize())
    assert "not unlocked by the keys" in words or "not valid for this sweep" in words


def test_each_byte_of_a_signature_counts(sweep: ImaginedSweep) -> None:
    raw = sweep.take(sweep.signed.serialize()).raw
    tx = Transaction.parse(raw)
    pieces = list(filter(None, [tx.vin[1].script_sig.data, *tx.vin[1].witness.items]))
    assert sum(len(piece) for piece in pieces) > 60
    for piece in pieces:
        for offset in range(0, len(piece), 3):
            changed = bytearray(raw)
            changed[raw.index(piece) + offset] ^= 1
            refusal(sweep, bytes(changed).hex())


@pytest.mark.parametrize("kind", ECDSA_KINDS)
def test_only_the_form_of_a_signature_that_nodes_relay(kind: str) -> None:
    sweep = imagined_sweep(KINDS[kind])

    def replaced(make: Callable[[bytes], bytes]) -> str:
        psbt = sweep.signed
        for scope in psbt.inputs:
            for key, signature in scope.partial_sigs.items():
                scope.partial_sigs[key] = make(signature)
        text: str = psbt.to_base64()
        return text

    assert sweep.take(replaced(bytes)) == sweep.take(sweep.signed.serialize())
    assert "not valid" in refusal(sweep, replaced(_high_s))
    assert "not valid" in refusal(
        sweep, replaced(lambda given: given[:1] + bytes([given[1] + 1]) + given[2:-1] + b"\0\1")
    )
    for length in (0, 1, 2, 9, 76, 300):
        words = refusal(sweep, replaced(lambda given, length=length: (given * 5)[:length]))  # type: ignore[misc]
        assert "input 1 " in words


def _high_s(signature: bytes) -> bytes:
    """The same signature in its other form, which anybody can make of it (BIP62)."""
    r_length = signature[3]
    r, s = signature[4 : 4 + r_length], signature[6 + r_length : -1]
    high = (_ORDER - int.from_bytes(s, "big")).to_bytes(33, "big").lstrip(b"\0")
    high = (b"\0" if high[0] & 0x80 else b"") + high
    body = b"\x02" + bytes([len(r)]) + r + b"\x02" + bytes([len(high)]) + high
    return b"\x30" + bytes([len(body)]) + body + signature[-1:]


@pytest.mark.parametrize("hash_type", [0, 2, 3, 0x41, 0x81])
def test_the_hash_type_cannot_be_changed_afterwards(sweep: ImaginedSweep, hash_type: int) -> None:
    """The rest of the signature is right, and a node would refuse it."""
    psbt = sweep.parsed
    for number in sweep.wallet.masters[: sweep.wallet.needed]:
        psbt.sign_with(master_key(number), sighash=SIGHASH.ALL)
    sweep.take(psbt.serialize())
    for scope in psbt.inputs:
        for key, signature in scope.partial_sigs.items():
            scope.partial_sigs[key] = signature[:-1] + bytes([hash_type])
        if scope.final_scriptwitness is not None:
            scope.final_scriptwitness.items = [scope.final_scriptwitness.items[0][:64] + bytes([hash_type])]
    assert "input 1 " in refusal(sweep, psbt.serialize())


@pytest.mark.parametrize("kind", ECDSA_KINDS)
def test_a_stranger_may_sign_the_right_sweep_in_vain(kind: str) -> None:
    """His signature is valid and his key is there, but the coin was not paid to it."""
    sweep = imagined_sweep(KINDS[kind], 1)
    stranger = PrivateKey(b"\x07" * 32)
    tx, coin = sweep.parsed.tx, sweep.coins[0]
    program = Script(coin.script_pubkey)
    if kind.startswith("sh-"):
        program = sweep.parsed.inputs[0].redeem_script
        tx.vin[0].script_sig = Script(program.serialize())
    if kind == "pkh":
        signature = stranger.sign(tx.sighash_legacy(0, program)).serialize() + b"\x01"
        pieces = (signature, stranger.sec())
        tx.vin[0].script_sig = Script(b"".join(bytes([len(piece)]) + piece for piece in pieces))
    elif "wpkh" in kind:
        digest = tx.sighash_segwit(0, p2pkh_from_p2wpkh(program), coin.value_sat)
        tx.vin[0].witness = Witness([stranger.sign(digest).serialize() + b"\x01", stranger.sec()])
    else:
        script = Script(b"\x51\x21" + stranger.sec() + b"\x51\xae")
        digest = tx.sighash_segwit(0, script, coin.value_sat)
        tx.vin[0].witness = Witness([b"", stranger.sign(digest).serialize() + b"\x01", script.data])
    assert "not unlocked by the keys its coin was paid to" in refusal(sweep, tx.serialize())


def test_nothing_is_added_to_what_unlocks(sweep: ImaginedSweep) -> None:
    raw = sweep.take(sweep.signed.serialize()).raw
    longer = Transaction.parse(raw)
    longer.vin[0].script_sig = Script(b"\x51" + longer.vin[0].script_sig.data)
    assert "input 1 " in refusal(sweep, longer.serialize())
    longer = Transaction.parse(raw)
    longer.vin[0].script_sig = Script(longer.vin[0].script_sig.data + b"\x51")
    assert "input 1 " in refusal(sweep, longer.serialize())
    longer = Transaction.parse(raw)
    longer.vin[0].witness.items.insert(0, b"\x01")
    assert "input 1 " in refusal(sweep, longer.serialize())


@pytest.mark.parametrize("kind", MULTI_KINDS)
def test_multisig_needs_its_number_of_valid_signatures(kind: str) -> None:
    wallet = KINDS[kind]
    sweep = imagined_sweep(wallet)
    assert "has 1 of the 2 signatures it needs" in refusal(sweep, wallet.signed_by_embit(sweep.psbt, [1]))
    for pair in ([0, 1], [0, 2], [2, 1]):
        assert sweep.take(wallet.signed_by_embit(sweep.psbt, pair))
    all_three = PSBT.from_string(wallet.signed_by_embit(sweep.psbt, [0, 1, 2]))
    assert sweep.take(all_three.serialize())
    # One that is wrong does no harm where enough others are right.
    for scope in all_three.inputs:
        first = next(iter(scope.partial_sigs))
        scope.partial_sigs[first] = scope.partial_sigs[first][:-2] + b"\x55\x01"
    assert sweep.take(all_three.serialize())
    two = PSBT.from_string(wallet.signed_by_embit(sweep.psbt, [0, 1]))
    two.inputs[2].partial_sigs[next(iter(two.inputs[2].partial_sigs))] = b"\x30\x01"
    assert "input 3 " in refusal(sweep, two.serialize())


@pytest.mark.parametrize("kind", MULTI_KINDS)
def test_multisig_by_a_stripped_or_foreign_script(kind: str) -> None:
    sweep = imagined_sweep(KINDS[kind])
    stripped = sweep.signed
    for scope in stripped.inputs:
        scope.witness_utxo = scope.non_witness_utxo = scope.redeem_script = None
        scope.bip32_derivations.clear()
    assert sweep.take(stripped.serialize()) == sweep.take(sweep.signed.serialize())
    stripped.inputs[0].witness_script = None
    assert "input 1 " in refusal(sweep, stripped.serialize())
    for script in (b"", b"\x51", b"\x51\x51\xae", b"\x52" + stripped.inputs[1].witness_script.data[1:]):
        stripped.inputs[0].witness_script = Script(script)
        assert "input 1 " in refusal(sweep, stripped.serialize())


@pytest.mark.parametrize("kind", MULTI_KINDS)
def test_an_unfinished_multisig_as_a_raw_transaction(kind: str) -> None:
    sweep = imagined_sweep(KINDS[kind])
    raw = Transaction.parse(sweep.take(sweep.signed.serialize()).raw)
    finished = raw.vin[0].witness.items
    for items, words in (
        ([b"", finished[1], b"", finished[3]], "has 1 of the 2 signatures"),
        ([b"", finished[1], finished[3]], "has 1 of the 2 signatures"),
        ([b"", finished[2], finished[1], finished[3]], "not valid"),
        ([b"", finished[1], finished[1], finished[3]], "not valid"),
        ([b"\x01", *finished[1:]], "not unlocked"),
        ([b"", b"", *finished[1:]], "not unlocked"),
        ([finished[3]], "not unlocked|has 0 of"),
    ):
        raw.vin[0].witness.items = items
        with pytest.raises(PsbtRefused, match=words):
            sweep.take(raw.serialize().hex())


def test_a_foreign_partial_signature_beside_ours_does_no_harm(sweep: ImaginedSweep) -> None:
    psbt = sweep.signed
    stranger = PrivateKey(b"\x07" * 32)
    for scope in psbt.inputs:
        if scope.partial_sigs:
            scope.partial_sigs = {PublicKey.parse(stranger.sec()): b"\x30\x01", **scope.partial_sigs}
    assert sweep.take(psbt.serialize()) == sweep.take(sweep.signed.serialize())


def test_the_caller_must_know_the_scripts() -> None:
    sweep = imagined_sweep(KINDS["wpkh"])
    unknown = [coin._replace(script_pubkey=None) for coin in sweep.coins]
    with pytest.raises(SweepRefused, match="script of an input is not known"):
        take_signed(sweep.signed.serialize(), unknown, sweep.script, 1_000, 800)
