"""Both signers: exact fee, the same real signatures, which a real node accepts, and not one socket opened."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from embit.ec import PrivateKey
from embit.script import Script, p2pkh_from_p2wpkh
from embit.transaction import Transaction

from node_watcher.signing.seed import Seed
from node_watcher.signing.signer import (
    SignedTx,
    Signer,
    SigningFailed,
    SweepInput,
    SweepRefused,
    dust_limit,
    estimate_vsize,
)
from node_watcher.signing.signer_embit import EmbitSigner
from node_watcher.signing.signer_embit import sign_native as sign_by_embit
from payments.address import script_pubkey
from payments.descriptor import RangedDescriptor
from payments.keys import seed_of
from payments.model import OutPoint
from regtest.node import RegtestNode

ROOT = Path(__file__).resolve().parents[3]
SEED = Seed(seed_of("zoo " * 11 + "wrong"))
WALLET = RangedDescriptor.parse(SEED.account_descriptor("regtest"), "regtest")
P2WPKH = b"\x00\x14" + bytes(20)
P2TR = b"\x51\x20" + bytes(32)
P2WSH = b"\x00\x20" + bytes(32)
P2PKH = b"\x76\xa9\x14" + bytes(20) + b"\x88\xac"
P2SH = b"\xa9\x14" + bytes(20) + b"\x87"


HALF_THE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2
HAS_BIT = importlib.util.find_spec("bit") is not None
LIBRARIES = ["bit", "embit"] if HAS_BIT else ["embit"]


def signer_of(library: str, key_at: Callable[[int], bytes]) -> Signer:
    if library == "embit":
        return EmbitSigner(key_at)
    from node_watcher.signing.signer_bit import BitSigner

    return BitSigner(key_at)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def signer(library: str) -> Signer:
    return signer_of(library, lambda index: SEED.private_key("regtest", index))


def coin(number: int, value_sat: int = 100_000, key_index: int = 0) -> SweepInput:
    return SweepInput(OutPoint(f"{number:064x}", number), value_sat, key_index)


def signed_input(library: str, unsigned: str, place: int, secret: str, given: SweepInput) -> tuple[bytes, list[str]]:
    """Script signature and witness of one input after signing just that one."""
    if library == "embit":
        tx = Transaction.parse(bytes.fromhex(unsigned))
        sign_by_embit(tx, [(bytes.fromhex(secret), given)])
        return tx.vin[place].script_sig.data, [item.hex() for item in tx.vin[place].witness.items]
    from bit.transaction import deserialize

    from node_watcher.signing.signer_bit import sign_native

    tx = deserialize(unsigned)
    sign_native(tx, [(bytes.fromhex(secret), given)])
    witness = tx.TxIn[place].witness
    assert witness[0] == 2
    length = witness[1]
    return tx.TxIn[place].script_sig, [witness[2 : 2 + length].hex(), witness[3 + length :].hex()]


def test_bip143_native_p2wpkh_vector(library: str) -> None:
    """The second input of the BIP's first example; its first is P2PK, which is not our affair."""
    unsigned = (
        "0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f0000000000eeffffffef51e1b8"
        "04cc89d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000001976a914"
        "8280b37df378db99f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f016"
        "7faa815988ac11000000"
    )
    outpoint = OutPoint("8ac60eb9575db5b2d987e29f301b5b819ea83a5c6579d282d189cc04b8e151ef", 1)
    secret = "619c335025c7f4012e556c2a58b2506e30b8511b53ade95ea316fd8c3286feb9"
    script_sig, witness = signed_input(library, unsigned, 1, secret, SweepInput(outpoint, 600_000_000, 0))
    assert script_sig == b""
    assert witness == [
        "304402203609e17b84f6a7d30c80bfa610b5b4542f32a8a0d5447a12fb1366d7f01cc44a0220573a954c45183315"
        "61406f90300e8f3358f51928d43c212a8caed02de67eebee01",
        "025476c2e83188368da1ff3e292e7acafcdb3566bb0ad253f62fc70f07aeee6357",
    ]


@pytest.mark.skipif(not HAS_BIT, reason="bit has no release for this Python")
@pytest.mark.parametrize("count", [1, 2, 40])
def test_both_libraries_sign_the_same_bytes(count: int) -> None:
    """RFC 6979 leaves no choice, so a change of the library between two tries changes nothing."""
    inputs = [coin(n + 1, 50_000 + n, n % 7) for n in range(count)]
    made = [
        signer_of(library, lambda index: SEED.private_key("regtest", index)).sign_sweep(inputs, P2TR, 1_000, 800)
        for library in LIBRARIES
    ]
    assert made[0] == made[1]


def test_each_signature_is_good_by_a_third_library(signer: Signer) -> None:
    """OpenSSL verifies what libsecp256k1 signed, over embit's reading of BIP 143; S is the lower one."""
    inputs = [coin(n + 1, 50_000 + n, n) for n in range(20)]
    signed = signer.sign_sweep(inputs, P2TR, 1_000, 800)
    assert signer.sign_sweep(inputs, P2TR, 1_000, 800) == signed, "signatures are deterministic"
    tx = Transaction.parse(signed.raw)
    for place, given in enumerate(inputs):
        signature, public_key = tx.vin[place].witness.items
        script = Script(WALLET.script_pubkey(given.key_index))
        digest = tx.sighash_segwit(place, p2pkh_from_p2wpkh(script), given.value_sat)
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public_key)
        key.verify(signature[:-1], digest, ec.ECDSA(Prehashed(SHA256())))
        assert decode_dss_signature(signature[:-1])[1] <= HALF_THE_ORDER
        wrong = tx.sighash_segwit(place, p2pkh_from_p2wpkh(script), given.value_sat + 1)
        with pytest.raises(InvalidSignature):
            key.verify(signature[:-1], wrong, ec.ECDSA(Prehashed(SHA256())))


def test_the_fee_is_exact_and_the_figures_are_measured(signer: Signer) -> None:
    inputs = [coin(1, 50_000, 0), coin(2, 60_000, 3), coin(3, 70_000, 0)]
    signed = signer.sign_sweep(inputs, P2WPKH, 1_234, 800)
    tx = Transaction.parse(signed.raw)
    assert [output.value for output in tx.vout] == [180_000 - 1_234]
    assert tx.vout[0].script_pubkey.data == P2WPKH
    assert signed.fee_sat == 1_234
    assert signed.raw.hex() == signed.hex
    assert (tx.version, tx.locktime) == (2, 800)
    assert {entry.sequence for entry in tx.vin} == {0xFFFFFFFD}
    assert [entry.script_sig.data for entry in tx.vin] == [b""] * 3
    for entry, given in zip(tx.vin, inputs, strict=True):
        assert entry.witness.items[1] == PrivateKey(SEED.private_key("regtest", given.key_index)).sec()
        assert entry.txid.hex() == given.outpoint.txid


@pytest.mark.parametrize("script", [P2WPKH, P2WSH, P2TR, P2PKH, P2SH])
@pytest.mark.parametrize("count", [1, 2, 252, 253])
def test_the_estimate_is_never_too_small(signer: Signer, script: bytes, count: int) -> None:
    signed = signer.sign_sweep([coin(n + 1, key_index=n % 3) for n in range(count)], script, 500, 1)
    estimate = estimate_vsize(count, script)
    assert 0 <= estimate - signed.vsize <= 1 + count // 4


def test_dust_limits_are_those_of_the_nodes() -> None:
    limits = [dust_limit(script) for script in (P2WPKH, P2WSH, P2TR, P2PKH, P2SH)]
    assert limits == [294, 330, 330, 546, 540]


def test_the_smallest_sweep_is_signed_and_one_satoshi_less_is_not(signer: Signer) -> None:
    assert signer.sign_sweep([coin(1, 1_000)], P2WPKH, 1_000 - 294, 1).fee_sat == 706
    with pytest.raises(SweepRefused, match="294"):
        signer.sign_sweep([coin(1, 1_000)], P2WPKH, 1_000 - 293, 1)


@pytest.mark.parametrize(
    ("inputs", "script", "fee_sat", "locktime", "words"),
    [
        ([], P2WPKH, 100, 1, "at least one"),
        ([coin(1), coin(1)], P2WPKH, 100, 1, "twice"),
        ([coin(1, 0)], P2WPKH, 100, 1, "no positive value"),
        ([coin(1)], b"", 100, 1, "empty script"),
        ([coin(1)], P2WPKH, 100_000, 1, "leaves nothing"),
        ([coin(1)], P2WPKH, 200_000, 1, "leaves nothing"),
        ([coin(1)], P2WPKH, -1, 1, "leaves nothing"),
        ([coin(1)], P2WPKH, 100, -1, "block height"),
        ([coin(1)], P2WPKH, 100, 1_700_000_000, "block height"),
        ([coin(1, 2_100_000_000_000_001)], P2WPKH, 100, 1, "21 million"),
        ([coin(n) for n in range(1, 1_500)], P2WPKH, 100, 1, "several transactions"),
    ],
)
def test_a_senseless_sweep_is_refused(
    signer: Signer, inputs: list[SweepInput], script: bytes, fee_sat: int, locktime: int, words: str
) -> None:
    with pytest.raises(SweepRefused, match=words):
        signer.sign_sweep(inputs, script, fee_sat, locktime)


def test_a_key_that_does_not_fit_is_refused(signer: Signer) -> None:
    right = coin(1, key_index=5)._replace(script_pubkey=WALLET.script_pubkey(5))
    assert signer.sign_sweep([right], P2WPKH, 500, 1).txid
    with pytest.raises(SigningFailed, match="does not fit"):
        signer.sign_sweep([right._replace(key_index=6)], P2WPKH, 500, 1)


def test_an_input_that_is_not_in_the_transaction_is_noticed(library: str, signer: Signer) -> None:
    unsigned = signer.sign_sweep([coin(1)], P2WPKH, 500, 1).hex
    with pytest.raises(SigningFailed, match="without a signature"):
        signed_input(library, unsigned, 0, SEED.private_key("regtest", 0).hex(), coin(2))


def test_a_signer_shows_no_keys(library: str) -> None:
    shown = repr(signer_of(library, lambda index: SEED.private_key("regtest", index)))
    assert shown == f"{library.capitalize()}Signer()"


def run_python(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *words],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


SIGN_OFFLINE = """
import logging, socket, sys
seen = []
def watch(event, arguments):
    if event.startswith("socket."):
        seen.append((event, arguments))
sys.addaudithook(watch)

from node_watcher.signing.signer import SweepInput
from node_watcher.signing.signers import open_signer
from payments.model import OutPoint
assert "bit" not in sys.modules, "bit must be imported only when it is needed"
if sys.argv[1] == "embit":
    sys.modules["bit"] = None
signer = open_signer(lambda index: bytes(31) + bytes((index + 1,)))
assert repr(signer).lower() == sys.argv[1] + "signer()"
# urllib3, which bit imports, binds a socket to ::1 to learn whether there is IPv6. It calls nobody.
strange = [entry for entry in seen if entry[0] not in ("socket.__new__", "socket.bind")]
assert not strange, strange
assert all(entry[1][1] == ("::1", 0) for entry in seen if entry[0] == "socket.bind"), seen

seen.clear()
inputs = [SweepInput(OutPoint("%064x" % n, n), 100_000, n) for n in range(1, 4)]
signer.sign_sweep(inputs, b"\\x00\\x14" + bytes(20), 500, 800)
assert not seen, seen
assert not logging.getLogger().handlers, "the library put a handler on the root logger"
socket.socket().close()
assert seen, "the watch itself must work"
print("signed")
"""


def test_signing_opens_no_socket_and_installs_no_log_handler(library: str) -> None:
    done = run_python(SIGN_OFFLINE, library)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "signed\n"
    assert done.stderr == ""


def test_without_bit_embit_signs() -> None:
    done = run_python(
        "import sys; sys.modules['bit'] = None\n"
        "from node_watcher.signing.signers import open_signer\n"
        "print(open_signer(bytes))"
    )
    assert (done.returncode, done.stdout) == (0, "EmbitSigner()\n"), done.stderr


def fund(node: RegtestNode, indexes: list[int], value_sat: int) -> list[SweepInput]:
    """Really pay the receive addresses with these numbers, one block deep."""
    inputs = []
    for index in indexes:
        script, address = WALLET.derive(index)
        txid = node.pay(address, value_sat)
        outputs = node.rpc("getrawtransaction", txid, True)["vout"]
        vout = next(out["n"] for out in outputs if out["scriptPubKey"]["hex"] == script.hex())
        inputs.append(SweepInput(OutPoint(txid, vout), value_sat, index, script))
    node.mine(1)
    return inputs


@pytest.mark.parametrize("kind", ["bech32", "bech32m", "legacy", "p2sh-segwit"])
def test_the_node_accepts_and_mines_a_sweep(signer: Signer, node: RegtestNode, kind: str) -> None:
    destination = node.rpc("getnewaddress", "", kind, wallet="payer")
    script = script_pubkey(destination, "regtest")
    inputs = fund(node, [11, 12, 11], 70_000)
    fee_sat = 2 * estimate_vsize(len(inputs), script)
    signed = signer.sign_sweep(inputs, script, fee_sat, node.height)

    (verdict,) = node.rpc("testmempoolaccept", [signed.hex])
    assert verdict["allowed"], verdict
    assert (verdict["txid"], verdict["vsize"]) == (signed.txid, signed.vsize)
    assert int(verdict["fees"]["base"].scaleb(8)) == fee_sat
    assert node.rpc("sendrawtransaction", signed.hex) == signed.txid
    node.mine(1)
    seen = node.rpc("gettransaction", signed.txid, wallet="payer")
    assert seen["confirmations"] == 1
    assert int(seen["amount"].scaleb(8)) == 3 * 70_000 - fee_sat


def test_a_dearer_sweep_replaces_the_first(signer: Signer, node: RegtestNode) -> None:
    script = script_pubkey(node.rpc("getnewaddress", "", "bech32m", wallet="payer"), "regtest")
    inputs = fund(node, [20], 90_000)
    first = signer.sign_sweep(inputs, script, 300, node.height)
    node.rpc("sendrawtransaction", first.hex)
    second: SignedTx = signer.sign_sweep(inputs, script, 1_500, node.height)
    node.rpc("sendrawtransaction", second.hex)
    assert node.rpc("getrawmempool") == [second.txid]
    node.mine(1)


def test_a_sweep_with_a_wrong_key_is_not_accepted_by_the_node(signer: Signer, node: RegtestNode) -> None:
    """Without the script in hand the key cannot be checked; the node does it."""
    (funded,) = fund(node, [30], 90_000)
    wrong = funded._replace(key_index=31, script_pubkey=None)
    signed = signer.sign_sweep([wrong], P2WPKH, 500, node.height)
    (verdict,) = node.rpc("testmempoolaccept", [signed.hex])
    assert not verdict["allowed"]
