"""Addresses: the vectors of BIP173 and BIP350, other networks, and the node's own opinion."""

from __future__ import annotations

import pytest

from payments.address import AddressError, WrongNetwork, address_of, script_pubkey
from payments.bech32 import Bech32Error, decode_segwit, encode_segwit
from payments.keys import taproot_output_key
from regtest.node import RegtestNode

VALID_PROGRAMS = [  # BIP350, "valid segwit addresses"
    ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "0014751e76e8199196d454941c45d1b3a323f1433bd6"),
    (
        "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
        "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
    ),
    (
        "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
        "5128751e76e8199196d454941c45d1b3a323f1433bd6751e76e8199196d454941c45d1b3a323f1433bd6",
    ),
    ("BC1SW50QGDZ25J", "6002751e"),
    ("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", "5210751e76e8199196d454941c45d1b3a323"),
    (
        "tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
        "0020000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
    ),
    (
        "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
        "5120000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
    ),
    (
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    ),
]

INVALID_PROGRAMS = [  # BIP350, "invalid segwit addresses", with our words for the reason
    ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", "not the bech32m"),
    ("tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf", "not the bech32m"),
    ("BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL", "not the bech32m"),
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh", "not the bech32 "),
    ("tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq24jc47", "not the bech32 "),
    ("bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4", "never use"),
    ("BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R", "witness version 17"),
    ("bc1pw5dgrnzv", "program of 1 bytes"),
    (
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
        "program of 41 bytes",
    ),
    ("BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P", "program of 16 bytes"),
    ("tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq", "upper and lower"),
    ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf", "padding"),
    ("tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j", "padding"),
    ("bc1gmk9yu", "shape"),
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "checksum"),
]

MAIN_P2PKH = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
TEST_P2PKH = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"
TEST_P2SH = "2Mww8dCYPUpKHofjgcXcBCEGmniw9CoaiD2"
MAIN_P2WPKH = "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"
TEST_P2WPKH = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"


def raw_script(address: str) -> str:
    _, version, program = decode_segwit(address)
    return bytes((0x50 + version if version else 0, len(program))).hex() + program.hex()


@pytest.mark.parametrize(("address", "script"), VALID_PROGRAMS)
def test_segwit_addresses_of_the_bip_are_read_and_written(address: str, script: str) -> None:
    assert raw_script(address) == script
    assert encode_segwit(*decode_segwit(address)) == address.lower()


@pytest.mark.parametrize(("address", "reason"), INVALID_PROGRAMS)
def test_invalid_segwit_addresses_of_the_bip_are_refused(address: str, reason: str) -> None:
    with pytest.raises(Bech32Error, match=reason):
        decode_segwit(address)
    with pytest.raises(AddressError):
        script_pubkey(address, "main" if address.lower().startswith("bc1") else "signet")


@pytest.mark.parametrize(
    ("address", "network"),
    [(MAIN_P2PKH, "main"), (TEST_P2PKH, "regtest"), (TEST_P2SH, "testnet4"), (MAIN_P2WPKH, "main")],
)
def test_an_address_survives_the_way_to_script_and_back(address: str, network: str) -> None:
    assert address_of(script_pubkey(address, network), network) == address


@pytest.mark.parametrize(
    ("address", "network", "belongs_to"),
    [
        (MAIN_P2PKH, "regtest", "main"),
        (MAIN_P2WPKH, "regtest", "main"),
        (MAIN_P2WPKH.upper(), "signet", "main"),
        (TEST_P2PKH, "main", "testnet4 or signet or regtest"),
        (TEST_P2SH, "main", "testnet4 or signet or regtest"),
        (TEST_P2WPKH, "regtest", "testnet4 or signet"),
        ("bcrt1qcr8te4kr609gcawutmrza0j4xv80jy8zeqchgx", "signet", "regtest"),
    ],
)
def test_an_address_of_another_network_is_named(address: str, network: str, belongs_to: str) -> None:
    with pytest.raises(WrongNetwork) as caught:
        script_pubkey(address, network)
    assert caught.value.belongs_to == belongs_to
    assert belongs_to in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "", "bc1", MAIN_P2PKH[:-1] + "b", MAIN_P2WPKH + "q", "1" * 34, "hello", f" {MAIN_P2PKH}",
        "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut", "ltc1q" + "q" * 38,
        "bc1\N{KELVIN SIGN}", "1" * 5000, "bc1q" + "q" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(AddressError):
        script_pubkey(address, "main")


def test_a_program_without_spending_rules_gets_no_coins() -> None:
    for address in (VALID_PROGRAMS[2][0], VALID_PROGRAMS[3][0], VALID_PROGRAMS[4][0]):
        with pytest.raises(AddressError, match="taken by anyone"):
            script_pubkey(address, "main")


def test_a_private_key_pasted_as_address_is_not_repeated() -> None:
    wif = "KyZpNDKnfs94vbrwhJneDi77V6jF64PWPF8x5cdJb8ifgg2DUc9d"
    for text in (wif, wif[:-1] + "e"):
        with pytest.raises(AddressError) as caught:
            script_pubkey(text, "main")
        assert text not in str(caught.value)


def test_a_script_without_address_is_refused() -> None:
    with pytest.raises(AddressError):
        address_of(bytes.fromhex("6a0161"), "main")


def test_the_node_agrees(node: RegtestNode) -> None:
    wallet_addresses = [
        node.rpc("getnewaddress", "", kind, wallet="payer") for kind in ("legacy", "p2sh-segwit", "bech32", "bech32m")
    ]
    foreign = [MAIN_P2PKH, MAIN_P2WPKH, TEST_P2WPKH]
    broken = [address[:-1] + ("q" if address[-1] != "q" else "p") for address in wallet_addresses]
    accepted = []
    for address in [*wallet_addresses, TEST_P2PKH, TEST_P2SH, *foreign, *broken]:
        answer = node.rpc("validateaddress", address)
        try:
            script = script_pubkey(address, "regtest")
        except AddressError:
            assert not answer["isvalid"], address
        else:
            accepted.append(address)
            assert answer["isvalid"], address
            assert answer["scriptPubKey"] == script.hex()
            assert answer["address"] == address_of(script, "regtest") == address
    assert accepted == [*wallet_addresses, TEST_P2PKH, TEST_P2SH]


BIP341_OUTPUTS = [  # scriptPubKey and bip350Address of the BIP's wallet test vectors
    (
        "512053a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343",
        "bc1p2wsldez5mud2yam29q22wgfh9439spgduvct83k3pm50fcxa5dps59h4z5",
    ),
    (
        "5120147c9c57132f6e7ecddba9800bb0c4449251c92a1e60371ee77557b6620f3ea3",
        "bc1pz37fc4cn9ah8anwm4xqqhvxygjf9rjf2resrw8h8w4tmvcs0863sa2e586",
    ),
    (
        "5120e4d810fd50586274face62b8a807eb9719cef49c04177cc6b76a9a4251d5450e",
        "bc1punvppl2stp38f7kwv2u2spltjuvuaayuqsthe34hd2dyy5w4g58qqfuag5",
    ),
    (
        "5120712447206d7a5238acc7ff53fbe94a3b64539ad291c7cdbc490b7577e4b17df5",
        "bc1pwyjywgrd0ffr3tx8laflh6228dj98xkjj8rum0zfpd6h0e930h6saqxrrm",
    ),
    (
        "512077e30a5522dd9f894c3f8b8bd4c4b2cf82ca7da8a3ea6a239655c39c050ab220",
        "bc1pwl3s54fzmk0cjnpl3w9af39je7pv5ldg504x5guk2hpecpg2kgsqaqstjq",
    ),
    (
        "512091b64d5324723a985170e4dc5a0f84c041804f2cd12660fa5dec09fc21783605",
        "bc1pjxmy65eywgafs5tsunw95ruycpqcqnev6ynxp7jaasylcgtcxczs6n332e",
    ),
    (
        "512075169f4001aa68f15bbed28b218df1d0a62cbbcf1188c6665110c293c907b831",
        "bc1pw5tf7sqp4f50zka7629jrr036znzew70zxyvvej3zrpf8jg8hqcssyuewe",
    ),
]


@pytest.mark.parametrize(("script", "address"), BIP341_OUTPUTS)
def test_bip341_outputs_are_destinations(script: str, address: str) -> None:
    assert script_pubkey(address, "main").hex() == script
    assert address_of(bytes.fromhex(script), "main") == address


def test_bip341_output_key_of_an_internal_key() -> None:
    """The first of the BIP's wallet test vectors, which has no scripts."""
    internal = bytes.fromhex("d6889cb081036e0faefa3a35157ad71086b123b2b144b649798b494c300a961d")
    assert taproot_output_key(b"\x02" + internal).hex() == BIP341_OUTPUTS[0][0][4:]
