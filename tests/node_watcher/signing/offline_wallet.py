"""The owner's keys, which nodetill never sees: as descriptors for a node's wallet, or in embit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from embit.bip32 import HDKey
from embit.networks import NETWORKS
from embit.psbt import PSBT

from node_watcher.signing.signer import SweepInput
from payments.checksum import descriptor_checksum
from payments.descriptor import RangedDescriptor
from payments.model import OutPoint
from payments.tx import decode
from regtest.node import RegtestNode
from regtest.node_process import NodeProcess

PATH = "84h/1h/0h"
DESTINATIONS = {
    "p2pkh": b"\x76\xa9\x14" + bytes(20) + b"\x88\xac",
    "p2sh": b"\xa9\x14" + bytes(20) + b"\x87",
    "p2wpkh": b"\x00\x14" + bytes(20),
    "p2wsh": b"\x00\x20" + bytes(32),
    # The output key of the BIP341 test vectors' first case: bytes(32) is no point.
    "p2tr": bytes.fromhex("512053a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343"),
}


def master_key(number: int) -> HDKey:
    return HDKey.from_seed(bytes([number]) * 32, version=NETWORKS["regtest"]["xprv"])


@dataclass(frozen=True)
class OfflineWallet:
    """A wallet of one kind, `{}` in `pattern` for each key; `masters` hold the private halves."""

    pattern: str
    masters: tuple[int, ...] = (1,)
    needed: int = 1
    """How many of the masters must sign."""

    @cached_property
    def public(self) -> RangedDescriptor:
        """What nodetill is configured with."""
        keys = [self._public_key(number) for number in self.masters]
        return RangedDescriptor.parse(self.pattern.format(*keys), "regtest")

    def private(self, signer: int) -> str:
        """The descriptor for the node's wallet of one signer: his key private, the others' public."""
        keys = [
            f"{master_key(number).to_base58()}/{PATH}/0/*" if place == signer else self._public_key(number)
            for place, number in enumerate(self.masters)
        ]
        body = self.pattern.format(*keys)
        return f"{body}#{descriptor_checksum(body)}"

    def signed_by_embit(self, text: str, signers: Sequence[int] | None = None) -> str:
        """The PSBT with the signatures of the first `needed` masters, or of those named."""
        psbt = PSBT.from_string(text)
        for place in range(self.needed) if signers is None else signers:
            psbt.sign_with(master_key(self.masters[place]))
        signed: str = psbt.to_base64()
        return signed

    def _public_key(self, number: int) -> str:
        master = master_key(number)
        account = master.derive(f"m/{PATH}").to_public()
        return f"[{master.my_fingerprint.hex()}/{PATH}]{account.to_base58()}/0/*"


MULTI = "(2,{},{},{})"
KINDS = {
    "pkh": OfflineWallet("pkh({})"),
    "wpkh": OfflineWallet("wpkh({})"),
    "sh-wpkh": OfflineWallet("sh(wpkh({}))"),
    "tr": OfflineWallet("tr({})"),
    "wsh-multi": OfflineWallet(f"wsh(multi{MULTI})", (1, 2, 3), 2),
    "wsh-sortedmulti": OfflineWallet(f"wsh(sortedmulti{MULTI})", (1, 2, 3), 2),
    "sh-wsh-multi": OfflineWallet(f"sh(wsh(multi{MULTI}))", (1, 2, 3), 2),
    "sh-wsh-sortedmulti": OfflineWallet(f"sh(wsh(sortedmulti{MULTI}))", (1, 2, 3), 2),
}


@dataclass(frozen=True)
class PaidCoins:
    """Coins on a real chain, and the raw transactions that paid them."""

    coins: list[SweepInput]
    previous: dict[str, bytes]


def pay(node: RegtestNode, wallet: RangedDescriptor, count: int, sat: int) -> PaidCoins:
    """Pay `count` addresses of the wallet `sat` and some each, and mine that."""
    scripts = {wallet.script_pubkey(number): number for number in range(count)}
    txid = node.pay_many({wallet.derive(number)[1]: sat + number for number in range(count)})
    node.mine(1)
    raw = bytes.fromhex(node.rpc("gettransaction", txid, wallet="payer")["hex"])
    coins = [
        SweepInput(OutPoint(txid, out.vout), out.value_sat, scripts[out.script_pubkey], out.script_pubkey)
        for out in decode(raw).outputs
        if out.script_pubkey in scripts
    ]
    return PaidCoins(coins, {txid: raw})


def open_signer(node: NodeProcess, name: str, wallet: OfflineWallet, signer: int) -> None:
    """A wallet of the node that holds one signer's key."""
    node.rpc("createwallet", wallet_name=name, blank=True)
    asked = [{"desc": wallet.private(signer), "timestamp": "now", "range": [0, 400], "active": False}]
    answers: list[dict[str, Any]] = node.rpc("importdescriptors", asked, wallet=name)
    assert all(answer["success"] for answer in answers), answers
