"""PSBTs that the node's wallet signs, as the owner's offline wallet would; the node then takes what came back."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from node_watcher.signing.psbt import build_psbt
from node_watcher.signing.signed_psbt import PsbtRefused, take_signed
from node_watcher.signing.signer import SignedTx, SweepInput
from node_watcher.signing.spending_size import max_vsize
from regtest.node import RegtestNode
from tests.node_watcher.signing.offline_wallet import DESTINATIONS, KINDS, OfflineWallet, PaidCoins, open_signer, pay

FEE_PER_VB = 3
LONGEST_SIGNATURES_SPARE = {"pkh": 2, "tr": 1}
"""Virtual bytes per input that the bound may be above the truth, 1 where not named: witness counts a quarter."""


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def wallet(kind: str) -> OfflineWallet:
    return KINDS[kind]


@pytest.fixture
def signers(node: RegtestNode, kind: str, wallet: OfflineWallet) -> Iterator[list[str]]:
    """Names of the node's wallets that hold a key each, as many as have to sign."""
    names = [f"{kind}-{place}-{secrets.token_hex(4)}" for place in range(wallet.needed)]
    for place, name in enumerate(names):
        open_signer(node, name, wallet, place)
    yield names
    for name in names:
        node.rpc("unloadwallet", name)


def signed_apart(node: RegtestNode, signers: list[str], psbt: str, *, finalize: bool) -> str:
    """Each signer signs the PSBT that was handed out, and what they made is put together."""
    options = (True, "DEFAULT", True, finalize)
    made = [node.rpc("walletprocesspsbt", psbt, *options, wallet=name)["psbt"] for name in signers]
    return str(made[0] if len(made) == 1 else node.rpc("combinepsbt", made))


def fee_of(wallet: OfflineWallet, count: int, script: bytes) -> int:
    return FEE_PER_VB * max_vsize(wallet.public, count, script)


def accepted(node: RegtestNode, signed: SignedTx) -> dict[str, Any]:
    answer: dict[str, Any] = node.rpc("testmempoolaccept", [signed.hex])[0]
    assert answer["allowed"], answer
    assert answer["txid"] == signed.txid
    assert answer["vsize"] == signed.vsize
    assert int(answer["fees"]["base"] * 100_000_000) == signed.fee_sat
    return answer


def check_size(kind: str, wallet: OfflineWallet, signed: SignedTx, count: int, script: bytes) -> None:
    spare = max_vsize(wallet.public, count, script) - signed.vsize
    assert 0 <= spare <= 1 + LONGEST_SIGNATURES_SPARE.get(kind, 1) * count


def test_all_destinations_in_all_forms(node: RegtestNode, kind: str, wallet: OfflineWallet, signers: list[str]) -> None:
    """One input, two, to each kind of address; the wallet finishes, or the finalizer of the node, or we."""
    paid = pay(node, wallet.public, 10, 30_000)
    for place, script in enumerate(DESTINATIONS.values()):
        coins = paid.coins[2 * place : 2 * place + 1 + place % 2]
        sweep = (coins, script, fee_of(wallet, len(coins), script), node.height)
        psbt = build_psbt(coins, wallet.public, *sweep[1:], paid.previous)
        with pytest.raises(PsbtRefused, match="not signed yet"):
            take_signed(psbt, *sweep)
        unfinished = signed_apart(node, signers, psbt, finalize=False)
        finished = node.rpc("finalizepsbt", unfinished, False)["psbt"]
        raw = node.rpc("finalizepsbt", unfinished, True)["hex"]
        signed = take_signed(unfinished, *sweep)
        assert take_signed(raw, *sweep) == take_signed(finished, *sweep)
        assert take_signed(raw, *sweep).hex == raw
        assert signed.txid == node.rpc("decoderawtransaction", raw)["txid"] or kind in ("pkh", "sh-wpkh")
        accepted(node, signed)
        check_size(kind, wallet, signed, len(coins), script)
        assert node.rpc("sendrawtransaction", signed.hex) == signed.txid
    node.mine(1)
    assert not node.mempool()


def test_three_hundred_inputs(node: RegtestNode, kind: str, wallet: OfflineWallet, signers: list[str]) -> None:
    paid: PaidCoins = pay(node, wallet.public, 300, 4_000)
    script = DESTINATIONS["p2wpkh"]
    sweep = (paid.coins, script, fee_of(wallet, 300, script), node.height)
    psbt = build_psbt(paid.coins, wallet.public, *sweep[1:], paid.previous)
    signed = take_signed(signed_apart(node, signers, psbt, finalize=True), *sweep)
    assert [given.outpoint.vout for given in paid.coins] == [
        vin["vout"] for vin in node.rpc("decoderawtransaction", signed.hex)["vin"]
    ]
    accepted(node, signed)
    check_size(kind, wallet, signed, 300, script)
    assert node.rpc("sendrawtransaction", signed.hex) == signed.txid
    node.mine(1)
    output = node.rpc("gettxout", signed.txid, 0)
    assert int(output["value"] * 100_000_000) == sum(coin.value_sat for coin in paid.coins) - signed.fee_sat


def test_what_the_node_sees_in_the_unsigned_psbt(node: RegtestNode, kind: str, wallet: OfflineWallet) -> None:
    """The node agrees about the fee, the inputs' scripts and where the keys come from."""
    paid = pay(node, wallet.public, 2, 30_000)
    psbt = build_psbt(paid.coins, wallet.public, DESTINATIONS["p2tr"], 2_345, node.height, paid.previous)
    seen = node.rpc("decodepsbt", psbt)
    assert int(seen["fee"] * 100_000_000) == 2_345
    assert (seen["tx"]["version"], seen["tx"]["locktime"]) == (2, node.height)
    assert [vin["sequence"] for vin in seen["tx"]["vin"]] == [0xFFFFFFFD] * 2
    told = node.rpc("utxoupdatepsbt", psbt, [wallet.public.text])
    for ours, theirs, coin in zip(seen["inputs"], node.rpc("decodepsbt", told)["inputs"], paid.coins, strict=True):
        assert ours.keys() == expected_fields(kind)
        for field in ("redeem_script", "witness_script", "taproot_internal_key", "witness_utxo"):
            assert ours.get(field) == theirs.get(field)
        for field in ("bip32_derivs", "taproot_bip32_derivs"):
            assert sorted(ours.get(field, []), key=str) == sorted(theirs.get(field, []), key=str)
        assert ours.get("non_witness_utxo", {"txid": coin.outpoint.txid})["txid"] == coin.outpoint.txid


def expected_fields(kind: str) -> set[str]:
    if kind == "tr":
        return {"witness_utxo", "taproot_internal_key", "taproot_bip32_derivs"}
    fields = {"non_witness_utxo", "bip32_derivs"}
    fields |= {"witness_utxo"} if kind != "pkh" else set()
    fields |= {"redeem_script"} if kind.startswith("sh") else set()
    return fields | ({"witness_script"} if "wsh" in kind else set())


def test_embit_signs_too(node: RegtestNode, kind: str, wallet: OfflineWallet) -> None:
    """A second signer that shares no code with the node."""
    paid = pay(node, wallet.public, 3, 30_000)
    script = DESTINATIONS["p2wsh"]
    sweep: tuple[list[SweepInput], bytes, int, int] = (paid.coins, script, fee_of(wallet, 3, script), node.height)
    psbt = build_psbt(paid.coins, wallet.public, *sweep[1:], paid.previous)
    signed = take_signed(wallet.signed_by_embit(psbt), *sweep)
    accepted(node, signed)
    check_size(kind, wallet, signed, 3, script)
