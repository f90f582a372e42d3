"""The unsigned sweep as a PSBT (BIP174, BIP371), for owners whose keys are on another device.

The format is embit's affair. embit shares one dictionary for unknown fields between all inputs it makes
(a default argument), so nothing is ever written to that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from embit.base import EmbitError
from embit.ec import PublicKey
from embit.psbt import PSBT, DerivationPath
from embit.script import Script
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from node_watcher.signing.signer import (
    MAX_STANDARD_VSIZE,
    SEQUENCE_RBF,
    SweepInput,
    SweepRefused,
    sweep_value,
)
from node_watcher.signing.spending_size import max_wallet_vsize
from node_watcher.signing.wallet_scripts import CoinScripts, WalletScripts
from payments.descriptor import RangedDescriptor
from payments.tx import MalformedTransaction, decode

TX_VERSION: Final = 2


def build_psbt(
    coins: Sequence[SweepInput],
    descriptor: RangedDescriptor,
    destination_script: bytes,
    fee_sat: int,
    locktime: int,
    previous: Mapping[str, bytes] | None = None,
) -> str:
    """Spend all coins, in the order given, to one output of their sum less exactly `fee_sat`; base64.

    `previous` holds raw transactions by txid. A `pkh` wallet needs the one of each coin. Wallets of segwit
    version 0 sign without, but hardware wallets ask for them, because the amount of an input is otherwise
    only claimed; taproot signs all amounts and is given none. Replaceable (BIP125), `locktime` is a block
    height. Raises `SweepRefused`.
    """
    tx = unsigned_sweep(coins, destination_script, fee_sat, locktime)
    wallet = WalletScripts(descriptor)
    size = max_wallet_vsize(wallet, len(coins), destination_script)
    if size > MAX_STANDARD_VSIZE:
        raise SweepRefused(
            f"{len(coins)} inputs of {descriptor.kind} make a transaction of up to {size} vB, which nodes do not"
            f" relay (more than {MAX_STANDARD_VSIZE}): sweep them in several transactions"
        )
    psbt = PSBT(tx)
    for scope, coin in zip(psbt.inputs, coins, strict=True):
        scripts = wallet.of(coin)
        _put_coin(scope, coin, scripts, wallet.kind, (previous or {}).get(coin.outpoint.txid))
        _put_keys(scope, scripts, wallet.kind)
    text: str = psbt.to_base64()
    return text


def unsigned_sweep(coins: Sequence[SweepInput], destination_script: bytes, fee_sat: int, locktime: int) -> Any:
    """The sweep without signatures, embit's `Transaction`. Raises `SweepRefused` where it makes no sense."""
    value = sweep_value(coins, destination_script, fee_sat, locktime)
    return Transaction(
        TX_VERSION,
        [TransactionInput(bytes.fromhex(c.outpoint.txid), c.outpoint.vout, sequence=SEQUENCE_RBF) for c in coins],
        [TransactionOutput(value, Script(destination_script))],
        locktime,
    )


def _put_coin(scope: Any, coin: SweepInput, scripts: CoinScripts, kind: str, raw: bytes | None) -> None:
    """What is spent: its value and script, and where it is of use the whole transaction that paid it."""
    if kind == "pkh" and raw is None:
        raise SweepRefused(
            f"a pkh wallet signs only with the transaction {coin.outpoint.txid} at hand, which paid the coin:"
            " fetch it from the node (getrawtransaction with its block, or txindex=1) and build the PSBT again"
        )
    if raw is not None and kind != "tr":
        scope.non_witness_utxo = _previous(coin, scripts, raw)
    if kind != "pkh":
        scope.witness_utxo = TransactionOutput(coin.value_sat, Script(scripts.script_pubkey))
    if scripts.redeem_script is not None:
        scope.redeem_script = Script(scripts.redeem_script)
    if scripts.witness_script is not None:
        scope.witness_script = Script(scripts.witness_script)


def _previous(coin: SweepInput, scripts: CoinScripts, raw: bytes) -> Any:
    """The transaction that paid the coin. Raises `SweepRefused` if it is another one or says otherwise."""
    try:
        read = decode(raw)
        tx = Transaction.parse(raw)
    except (MalformedTransaction, EmbitError, ValueError, RuntimeError) as error:
        raise SweepRefused(f"what was given as transaction {coin.outpoint.txid} is no transaction") from error
    paid = [(out.value_sat, out.script_pubkey) for out in read.outputs if out.vout == coin.outpoint.vout]
    if read.txid != coin.outpoint.txid or paid != [(coin.value_sat, scripts.script_pubkey)]:
        raise SweepRefused(
            f"the transaction given for {coin.outpoint.txid}:{coin.outpoint.vout} does not pay"
            f" {coin.value_sat} satoshi to address {coin.key_index}: look whether the node is on the right chain"
        )
    return tx


def _put_keys(scope: Any, scripts: CoinScripts, kind: str) -> None:
    for key in scripts.keys:
        public_key = PublicKey.parse(key.public_key)
        place = DerivationPath(key.fingerprint, list(key.path))
        if kind == "tr":
            scope.taproot_internal_key = PublicKey.from_xonly(public_key.xonly())
            scope.taproot_bip32_derivations[scope.taproot_internal_key] = ([], place)
        else:
            scope.bip32_derivations[public_key] = place
