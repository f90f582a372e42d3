"""The PSBT that is handed out: all that a signing device needs, and nothing that makes no sense."""

from __future__ import annotations

from typing import Any

import pytest
from embit.psbt import PSBT

from node_watcher.signing.psbt import build_psbt
from node_watcher.signing.signer import SweepInput, SweepRefused
from payments.descriptor import DescriptorError, RangedDescriptor
from tests.node_watcher.signing.imagined_coins import imagined_sweep
from tests.node_watcher.signing.offline_wallet import DESTINATIONS, KINDS, master_key

HARD = 0x80000000
MASTER = master_key(1)
ACCOUNT = MASTER.derive("m/84h/1h/0h").to_public()


@pytest.mark.parametrize(
    ("key", "fingerprint", "path"),
    [
        ("[d34db33f/84h/1h/0h]{}/0/*", bytes.fromhex("d34db33f"), [HARD + 84, HARD + 1, HARD, 0, 5]),
        ("[d34db33f]{}/*", bytes.fromhex("d34db33f"), [5]),
        ("[D34DB33F/84']{}/7/<3;4>/*", bytes.fromhex("d34db33f"), [HARD + 84, 7, 3, 5]),
        # Without an origin the key itself is the root, as in Bitcoin Core.
        ("{}/0/*", ACCOUNT.my_fingerprint, [0, 5]),
        ("{}/*", ACCOUNT.my_fingerprint, [5]),
    ],
)
@pytest.mark.parametrize("pattern", ["wpkh({})", "tr({})", "sh(wpkh({}))", "wsh(multi(1,{}))"])
def test_keys_are_named_by_their_origin(pattern: str, key: str, fingerprint: bytes, path: list[int]) -> None:
    wallet = RangedDescriptor.parse(pattern.format(key.format(ACCOUNT.to_base58())), "regtest")
    coin = imagined_sweep(KINDS["wpkh"]).coins[0]._replace(key_index=5, script_pubkey=None)
    scope = PSBT.from_string(build_psbt([coin], wallet, DESTINATIONS["p2tr"], 500, 1)).inputs[0]
    assert scope.witness_utxo.script_pubkey.data == wallet.script_pubkey(5)
    places: list[Any] = list(scope.bip32_derivations.values())
    places += [place for leaves, place in scope.taproot_bip32_derivations.values() if leaves == []]
    assert [(place.fingerprint, place.derivation) for place in places] == [(fingerprint, path)]


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_same_sweep_is_the_same_psbt(kind: str) -> None:
    sweep = imagined_sweep(KINDS[kind])
    assert sweep.psbt == sweep.psbt
    turned = imagined_sweep(KINDS[kind])
    turned.coins.reverse()
    assert turned.parsed.tx.vin[0].vout == 2
    assert [scope.bip32_derivations for scope in turned.parsed.inputs] == [
        scope.bip32_derivations for scope in reversed(sweep.parsed.inputs)
    ]


def refusal(**changes: Any) -> str:
    sweep = imagined_sweep(KINDS[changes.pop("kind", "wpkh")])
    asked: dict[str, Any] = {
        "coins": sweep.coins,
        "descriptor": sweep.wallet.public,
        "destination_script": sweep.script,
        "fee_sat": 1_000,
        "locktime": 800,
        "previous": sweep.previous,
    }
    with pytest.raises(SweepRefused) as refused:
        build_psbt(**{**asked, **changes})
    return str(refused.value)


def test_what_makes_no_sense_is_refused() -> None:
    coins: list[SweepInput] = imagined_sweep(KINDS["wpkh"]).coins
    assert "at least one" in refusal(coins=[])
    assert "twice" in refusal(coins=[coins[0], coins[0]])
    assert "leaves nothing" in refusal(fee_sat=200_000)
    assert "block height" in refusal(locktime=600_000_000)
    assert "was not paid to address 1 of wallet.descriptor" in refusal(coins=[coins[0]._replace(key_index=1)])
    with pytest.raises(DescriptorError, match="does not exist"):
        refusal(coins=[coins[0]._replace(key_index=HARD)])


def test_a_pkh_wallet_needs_the_transactions_that_paid() -> None:
    words = refusal(kind="pkh", previous=None)
    assert words.startswith("a pkh wallet signs only with the transaction")
    assert "getrawtransaction" in words


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tr"])
def test_a_wrong_transaction_is_not_handed_on(kind: str) -> None:
    sweep, other = imagined_sweep(KINDS[kind]), imagined_sweep(KINDS[kind], 4)
    txid = sweep.coins[0].outpoint.txid
    assert "does not pay" in refusal(kind=kind, previous={txid: next(iter(other.previous.values()))})
    assert "is no transaction" in refusal(kind=kind, previous={txid: b"rubbish"})
    wrong = [sweep.coins[0]._replace(value_sat=49_000)]
    assert "does not pay 49000 satoshi to address 0" in refusal(kind=kind, coins=wrong)


def test_taproot_is_given_no_whole_transactions() -> None:
    """It signs the amounts of all inputs (BIP341), and the file stays small."""
    assert all(scope.non_witness_utxo is None for scope in imagined_sweep(KINDS["tr"]).parsed.inputs)


def test_what_nodes_do_not_relay_is_not_built() -> None:
    assert "nodes do not relay" in refusal(**_many("sh-wsh-multi", 800))


def _many(kind: str, count: int) -> dict[str, Any]:
    sweep = imagined_sweep(KINDS[kind], count)
    return {"kind": kind, "coins": sweep.coins, "previous": sweep.previous}
