"""How large a sweep becomes once it is signed, known before anybody signs: what the fee is chosen by."""

from __future__ import annotations

from typing import Final

from embit import compact

from node_watcher.signing.wallet_scripts import CoinScripts, WalletScripts
from payments.descriptor import RangedDescriptor

_ECDSA_BYTES: Final = 72  # DER with low S (what nodes relay) and the largest r, and its hash type
_SCHNORR_BYTES: Final = 65  # 64, and the hash type that a wallet may spell out
_KEY_BYTES: Final = 33


def max_vsize(descriptor: RangedDescriptor, n_inputs: int, destination_script: bytes) -> int:
    """Virtual bytes (BIP141) of a signed sweep to one output, never too few: all signatures at their longest.

    A signature is mostly a byte or two shorter: a quarter of that per input, or the whole of it in `pkh`.
    """
    return max_wallet_vsize(WalletScripts(descriptor), n_inputs, destination_script)


def max_wallet_vsize(wallet: WalletScripts, n_inputs: int, destination_script: bytes) -> int:
    """`max_vsize` of a wallet whose descriptor has been read already."""
    script_sig, witness = _longest_input(wallet)
    inputs = n_inputs * (36 + _prefixed(script_sig) + 4)
    output = 8 + _prefixed(len(destination_script))
    stripped = 4 + _size(n_inputs) + inputs + 1 + output + 4
    marked = 2 + n_inputs * witness if witness else 0
    return -(-(4 * stripped + marked) // 4)


def _longest_input(wallet: WalletScripts) -> tuple[int, int]:
    """Bytes of the longest script signature, and of the longest witness with its counts."""
    scripts = wallet.at(0)  # all addresses of a descriptor are alike
    if wallet.kind == "tr":
        return 0, 1 + _prefixed(_SCHNORR_BYTES)
    if wallet.kind == "pkh":
        return _prefixed(_ECDSA_BYTES) + _prefixed(_KEY_BYTES), 0
    script_sig = 0 if scripts.redeem_script is None else _prefixed(len(scripts.redeem_script))
    return script_sig, _longest_witness(scripts, wallet.threshold)


def _longest_witness(scripts: CoinScripts, threshold: int) -> int:
    if scripts.witness_script is None:
        return 1 + _prefixed(_ECDSA_BYTES) + _prefixed(_KEY_BYTES)
    # The empty item in front is what CHECKMULTISIG takes too much (BIP147).
    items = _prefixed(0) + threshold * _prefixed(_ECDSA_BYTES) + _prefixed(len(scripts.witness_script))
    return _size(threshold + 2) + items


def _prefixed(length: int) -> int:
    return _size(length) + length


def _size(value: int) -> int:
    return len(compact.to_bytes(value))
