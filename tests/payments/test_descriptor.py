"""Descriptors: what is accepted, what is refused and in which words, and that the node derives the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from embit.bip32 import HDKey
from embit.networks import NETWORKS as EMBIT_NETWORKS

from payments.checksum import descriptor_checksum
from payments.descriptor import (
    ChecksumMismatch,
    DescriptorError,
    PrivateKeyFound,
    RangedDescriptor,
)
from payments.keys import assert_fast_backend, base58check_decode, base58check_encode
from regtest.node import RegtestNode

ROOT_FOLDER = Path(__file__).resolve().parents[2]

# BIP84's and BIP86's test vectors: account 0 of "abandon … about".
BIP84_ZPUB = (
    "zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG868RvUUkgDKf31mGDtKsAYz2oz2AGutZYs"
)
BIP86_XPUB = (
    "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ"
)
ROOT = HDKey.from_seed(bytes(range(32)), version=EMBIT_NETWORKS["regtest"]["xprv"])
XPRV = ROOT.derive("m/84h/1h/0h").to_string()
XPUBS = [ROOT.derive(f"m/84h/1h/{account}h").to_public().to_string() for account in range(3)]
XPUB = XPUBS[0]
ORIGIN = f"[{ROOT.my_fingerprint.hex()}/84h/1h/0h]"

KINDS = [
    "wpkh({0}/0/*)",
    "wpkh(" + ORIGIN + "{0}/0/*)",
    "wpkh({0}/*)",
    "wpkh({0}/7/2147483647/3/*)",
    "tr({0}/0/*)",
    "pkh({0}/0/*)",
    "sh(wpkh({0}/0/*))",
    "wsh(multi(2,{0}/0/*,{1}/0/*,{2}/0/*))",
    "wsh(sortedmulti(1,{2}/0/*,{0}/5/*))",
    "sh(wsh(sortedmulti(2,{0}/0/*,{1}/0/*)))",
    "wsh(sortedmulti(17," + ",".join(f"{{0}}/{branch}/*" for branch in range(20)) + "))",
]


def altered(key: str, place: int, new: bytes) -> str:
    """The extended key with other bytes at one place, its checksum right again."""
    payload = base58check_decode(key)
    return base58check_encode(payload[:place] + new + payload[place + len(new) :])


def parse(text: str) -> RangedDescriptor:
    return RangedDescriptor.parse(text, "regtest")


def test_the_curve_is_computed_in_c() -> None:
    assert_fast_backend()


def test_bip84_vector() -> None:
    with pytest.raises(DescriptorError) as caught:
        RangedDescriptor.parse(f"wpkh({BIP84_ZPUB}/0/*)", "main")
    mended = re.search(r"as (wpkh\(xpub\w+/0/\*\))", str(caught.value))
    assert mended is not None, "the message shows the descriptor as it should be"
    wallet = RangedDescriptor.parse(mended[1], "main")
    assert wallet.derive(0)[1] == "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"
    assert wallet.derive(1)[1] == "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g"


def test_bip86_vector() -> None:
    wallet = RangedDescriptor.parse(f"tr([73c5da0a/86'/0'/0']{BIP86_XPUB}/<0;1>/*)", "main")
    assert wallet.derive(0)[1] == "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"
    assert wallet.derive(1)[1] == "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh"


def test_bip380_checksum_vector() -> None:
    assert descriptor_checksum("raw(deadbeef)") == "89f8spxm"


def test_canonical_text_says_the_same_wallet() -> None:
    quoted = ORIGIN.replace("h", "'").upper()
    wallet = parse(f"  wpkh({quoted}{XPUB}/<0;1>/*)\n")
    plain = f"wpkh({ORIGIN}{XPUB}/0/*)"
    assert wallet.text == f"{plain}#{descriptor_checksum(plain)}"
    assert parse(wallet.text).text == wallet.text


def test_spelling_does_not_change_the_fingerprint_but_the_wallet_does() -> None:
    same = {
        parse(text).fingerprint for text in (f"wpkh({XPUB}/0/*)", f"wpkh({ORIGIN}{XPUB}/0/*)", f"wpkh({XPUB}/<0;1>/*)")
    }
    assert len(same) == 1
    assert re.fullmatch("[0-9a-f]{16}", same.pop())
    assert len({parse(kind.format(*XPUBS)).fingerprint for kind in KINDS}) == len(KINDS) - 1


def test_a_wrong_checksum_names_the_right_one() -> None:
    text = f"wpkh({XPUB}/0/*)"
    right = descriptor_checksum(text)
    for given in ("qqqqqqqq", "", right[:-1], right.upper()):
        with pytest.raises(ChecksumMismatch) as caught:
            parse(f"{text}#{given}")
        assert caught.value.right == right
        assert f"#{right}" in str(caught.value)


WIF = ROOT.derive("m/84h/1h/0h/0/0").key.wif(EMBIT_NETWORKS["regtest"])


@pytest.mark.parametrize(
    "text",
    [
        f"wpkh({XPRV}/0/*)",
        f"wpkh({ORIGIN}{XPRV}/0/*)#qqqqqqqq",
        f"tr({XPRV}/0/*)",
        f"wsh(multi(1,{XPUB}/0/*,{XPRV}/0/*))",
        f"combo({XPRV}/0/*)",
        f"wpkh({XPRV[:-3]}/0/*)",
        XPRV,
        f"wpkh({WIF})",
        WIF,
        f"addr({WIF})",
    ],
)
def test_private_keys_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(PrivateKeyFound, match="private key") as caught:
        parse(text)
    assert XPRV[:-3] not in str(caught.value)
    assert WIF not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"wpkh({XPUB})", "one fixed address"),
        (f"wpkh({XPUB}/0/5)", "one fixed address"),
        (f"wpkh({XPUB}/*/0)", "one fixed address"),
        (f"wsh(multi(1,{XPUB}/0/*,{XPUBS[1]}/0/1))", "one fixed address"),
        (f"wpkh({XPUB}/0/*h)", "hardened"),
        (f"wpkh({XPUB}/0/*')", "hardened"),
        (f"wpkh({XPUB}/0h/*)", "hardened"),
        (f"wpkh({XPUB}/<0h;1h>/*)", "not a number"),
        (f"wpkh({XPUB}/<0;1>/<0;1>/*)", "not a number"),
        (f"wpkh({XPUB}/*/*)", "not a number"),
        (f"wpkh({XPUB}//*)", "not a number"),
        (f"wpkh({XPUB}/4294967296/*)", "above"),
        (f"wpkh({BIP86_XPUB}/0/*)", "not of the network regtest"),
        (f"wpkh({XPUB[:-1]}q/0/*)", "mistyped"),
        (f"wpkh({altered(XPUB, 4, bytes(1) + bytes.fromhex('01'))}/0/*)", "names a parent"),
        (f"wpkh({altered(XPUB, 45, bytes((5,)))}/0/*)", "no point"),
        (f"wpkh({altered(XPUB, 46, bytes((255,) * 32))}/0/*)", "no point"),
        (f"wpkh({altered(XPUB, 45, bytes(1))}/0/*)", "private"),
        (f"wpkh({altered(XPUB, 77, bytes(2))}/0/*)", "no extended public key"),
        (f"wpkh([xyz/84h]{XPUB}/0/*)", "key origin"),
        (f"wpkh([d34db33f/84h{XPUB}/0/*)", "key origin"),
        (f"wpkh([d34db33f/4294967295]{XPUB}/0/*)", "key origin"),
        ("wpkh(02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5)", "tpub"),
        ("addr(bcrt1qcr8te4kr609gcawutmrza0j4xv80jy8zeqchgx)", "one fixed output"),
        ("raw(0014751e76e8199196d454941c45d1b3a323f1433bd6)", "one fixed output"),
        (f"combo({XPUB}/0/*)", "several addresses"),
        (f"tr({XPUB}/0/*,pk({XPUBS[1]}/0/*))", "script paths"),
        (f"sh(multi(1,{XPUB}/0/*))", "no kind"),
        (f"wsh(multi(0,{XPUB}/0/*))", "never be spent"),
        (f"wsh(multi(2,{XPUB}/0/*))", "never be spent"),
        ("wsh(multi(1," + ",".join([f"{XPUB}/0/*"] * 21) + "))", "more than the 20"),
        (f"wpkh({XPUB}/0/*", "no kind"),
        (f"wpkh({XPUB}/0/*))", "no kind"),
        (XPUB, "only a key"),
        (f"{XPUB}/0/*", "only a key"),
        ("", "no kind"),
        ("€", "no kind"),
        ("€#abc", "cannot stand"),
        (f"wpkh({XPUB}/0/*)#a#b", "checksum"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(text: str, words: str) -> None:
    with pytest.raises(DescriptorError, match=words):
        parse(text)


def test_a_test_key_is_refused_on_main() -> None:
    with pytest.raises(DescriptorError, match="begin with xpub"):
        RangedDescriptor.parse(f"wpkh({XPUB}/0/*)", "main")


@pytest.mark.parametrize(("letter", "embit_name"), [("u", "ypub"), ("v", "zpub"), ("U", "Ypub"), ("V", "Zpub")])
def test_slip132_keys_say_what_to_write_instead(letter: str, embit_name: str) -> None:
    key = ROOT.to_public().to_string(version=EMBIT_NETWORKS["test"][embit_name])
    assert key.startswith(f"{letter}pub")
    with pytest.raises(DescriptorError, match="SLIP-132") as caught:
        parse(f"wpkh({key}/0/*)")
    assert ROOT.to_public().to_string() in str(caught.value)


def test_indexes_end_where_bip32_ends() -> None:
    wallet = parse(f"wpkh({XPUB}/0/*)")
    assert wallet.derive(2**31 - 1)
    for index in (-1, 2**31):
        with pytest.raises(DescriptorError, match="does not exist"):
            wallet.derive(index)


@pytest.mark.parametrize("kind", KINDS)
def test_the_node_derives_the_same_addresses(node: RegtestNode, kind: str) -> None:
    wallet = parse(kind.format(*XPUBS))
    info = node.rpc("getdescriptorinfo", wallet.text)
    assert info["descriptor"].replace("'", "h") == wallet.text.replace("'", "h")
    assert info["isrange"]
    expected = node.rpc("deriveaddresses", wallet.text, [0, 19])
    assert [wallet.derive(index)[1] for index in range(20)] == expected
    script, address = wallet.derive(19)
    assert node.rpc("validateaddress", address)["scriptPubKey"] == script.hex()


def test_descriptors_of_the_nodes_own_wallet_parse(node: RegtestNode) -> None:
    listed = node.rpc("listdescriptors", wallet="payer")["descriptors"]
    kinds = set()
    for entry in listed:
        wallet = parse(entry["desc"])
        kinds.add(wallet.kind)
        first = node.rpc("deriveaddresses", entry["desc"], [0, 2])
        assert [wallet.derive(index)[1] for index in range(3)] == first
    assert {"wpkh", "tr", "pkh", "sh(wpkh)"} <= kinds


def test_private_descriptors_of_the_nodes_own_wallet_are_refused(node: RegtestNode) -> None:
    for entry in node.rpc("listdescriptors", True, wallet="payer")["descriptors"]:
        with pytest.raises(PrivateKeyFound):
            parse(entry["desc"])
