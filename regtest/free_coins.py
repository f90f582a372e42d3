"""Coins that anybody may spend, so that thousands of transactions need no signature.

They lie in P2WSH outputs of the script OP_TRUE (BIP 141); regtest only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from payments.address import address_of
from regtest.node import PAYER, RegtestNode, to_btc

_OP_TRUE = b"\x51"
ANYBODYS_SCRIPT = b"\x00\x20" + hashlib.sha256(_OP_TRUE).digest()
_AT_ONCE = 1_000
FEE_SAT = 1_000


@dataclass(frozen=True, slots=True)
class FreeCoin:
    """One such output."""

    txid: str
    vout: int
    value_sat: int

    def pay(self, *outputs: tuple[int, bytes]) -> str:
        """Raw transaction (hex) with these outputs, (satoshi, script), whatever the node thinks of them; the rest
        is the fee."""
        prevout = bytes.fromhex(self.txid)[::-1] + self.vout.to_bytes(4, "little")
        inputs = b"\x01" + prevout + b"\x00" + (0xFFFFFFFD).to_bytes(4, "little")
        written = _size(len(outputs)) + b"".join(_output(value, script) for value, script in outputs)
        witness = b"\x01\x01" + _OP_TRUE
        return ((2).to_bytes(4, "little") + b"\x00\x01" + inputs + written + witness + bytes(4)).hex()

    def spend(self, script_pubkey: bytes, value_sat: int) -> str:
        """Raw transaction (hex) that pays `value_sat` to a script and the rest back to anybody."""
        return self.pay((value_sat, script_pubkey), (self.value_sat - value_sat - FEE_SAT, ANYBODYS_SCRIPT))

    def shuffle(self) -> str:
        """Raw transaction (hex) that concerns nobody."""
        return self.spend(ANYBODYS_SCRIPT, self.value_sat // 2)


def _output(value_sat: int, script_pubkey: bytes) -> bytes:
    return value_sat.to_bytes(8, "little") + _size(len(script_pubkey)) + script_pubkey


def _size(number: int) -> bytes:
    """Bitcoin's CompactSize."""
    if number < 0xFD:
        return bytes([number])
    return b"\xfd" + number.to_bytes(2, "little") if number <= 0xFFFF else b"\xfe" + number.to_bytes(4, "little")


def free_coins(node: RegtestNode, count: int, value_sat: int = 100_000) -> list[FreeCoin]:
    """Make `count` confirmed coins of `value_sat` each."""
    address = address_of(ANYBODYS_SCRIPT, "regtest")
    found: list[FreeCoin] = []
    while len(found) < count:
        some = min(_AT_ONCE, count - len(found))
        funding = node.rpc("createrawtransaction", [], [{address: to_btc(some * value_sat)}])
        funded = node.rpc("fundrawtransaction", funding, {"fee_rate": 5}, wallet=PAYER)
        signed = node.rpc("signrawtransactionwithwallet", funded["hex"], wallet=PAYER)
        parent = node.rpc("sendrawtransaction", signed["hex"])
        outputs = node.rpc("decoderawtransaction", signed["hex"])["vout"]
        vout = next(o["n"] for o in outputs if o["scriptPubKey"].get("address") == address)
        share = value_sat - 100  # leaves the fee of the fan-out
        prevout = bytes.fromhex(parent)[::-1] + vout.to_bytes(4, "little")
        raw = (2).to_bytes(4, "little") + b"\x00\x01\x01" + prevout + b"\x00" + b"\xff" * 4
        raw += _size(some)
        raw += _output(share, ANYBODYS_SCRIPT) * some + b"\x01\x01" + _OP_TRUE + bytes(4)
        txid = node.rpc("sendrawtransaction", raw.hex(), 0)
        found += [FreeCoin(txid, number, share) for number in range(some)]
        node.mine(1)
    return found
