"""The owner's wallet as a ranged output descriptor: where each payment's address comes from.

Read by our own small parser and not by a library's: a till needs few kinds, must be strict about
what it refuses, and derives an address for each payment (BIP380-386, BIP389).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Final, NoReturn

from payments.address import address_of
from payments.checksum import ChecksumInputError, descriptor_checksum
from payments.key_expression import (
    DescriptorError,
    PrivateKeyFound,
    RangedKey,
    parse_key,
    refuse_private_keys,
)
from payments.keys import HARDENED, PublicNode, hash160, taproot_output_key
from payments.network import Network, network_of

__all__ = ["ChecksumMismatch", "DescriptorError", "PrivateKeyFound", "RangedDescriptor"]

_SINGLE: Final = re.compile(r"(?P<kind>wpkh|tr|pkh|sh\(wpkh)\((?P<key>[^(),]+)(?P<close>\)+)")
_MULTI: Final = re.compile(
    r"(?P<outer>sh\(wsh|wsh)\((?P<sort>sortedmulti|multi)\((?P<threshold>[0-9]{1,2}),"
    r"(?P<keys>[^()]+)(?P<close>\)+)"
)
_MAX_MULTI_KEYS: Final = 20  # Bitcoin's rule (MAX_PUBKEYS_PER_MULTISIG)
_PLAIN_KEY: Final = re.compile(r"(\[[^\]]*\])?[a-zA-Z]pub[1-9A-HJ-NP-Za-km-z]+(/.*)?")

_ScriptAt = Callable[[int], bytes]


class ChecksumMismatch(DescriptorError):
    """The checksum does not belong to the descriptor. `right` is the one that would."""

    def __init__(self, given: str, right: str) -> None:
        super().__init__(
            f"the descriptor's checksum is #{given[:16]}, but for this text it would be #{right}:"
            " a character is missing or mistyped, so copy the descriptor again from the wallet"
        )
        self.right = right


class RangedDescriptor:
    """A descriptor whose addresses are numbered from 0. Immutable; safe to share by threads."""

    __slots__ = ("_script_at", "fingerprint", "kind", "network", "text")

    def __init__(self, kind: str, body: str, network: Network, script_at: _ScriptAt) -> None:
        self.kind: Final = kind
        """`wpkh`, `tr`, `pkh`, `sh(wpkh)`, `wsh(sortedmulti)`, …"""
        self.network: Final = network.name
        self.text: Final = f"{body}#{descriptor_checksum(body)}"
        """Canonical text with its checksum, receive branch chosen: the node takes it as it is."""
        self._script_at: Final = script_at
        # By what it derives and not by its spelling: adding a key origin, or writing ' for h,
        # must not look like a new wallet, whose numbering would begin at 0 again.
        self.fingerprint: Final = hashlib.sha256(script_at(0) + script_at(1)).hexdigest()[:16]
        """16 hex digits that name the wallet: equal for all spellings of the same descriptor."""

    def __repr__(self) -> str:
        return f"RangedDescriptor({self.kind}, {self.network}, {self.fingerprint})"

    @classmethod
    def parse(cls, text: str, network: str) -> RangedDescriptor:
        """Read a descriptor of a wallet on this network.

        Accepts wpkh, tr (key path), pkh, sh(wpkh) and wsh or sh(wsh) of multi or sortedmulti, each
        key a public extended key ending in `*`; of `<0;1>` the receive branch is taken. A checksum
        is verified where there is one. Raises `DescriptorError` with what is wrong and the mend;
        no message repeats a private key.
        """
        chosen = network_of(network)
        refuse_private_keys(text)
        body = _without_checksum(text.strip())
        single = _SINGLE.fullmatch(body)
        if single is not None and _closed(single["kind"], single["close"]):
            return cls._single(single["kind"], parse_key(single["key"], chosen), chosen)
        multi = _MULTI.fullmatch(body)
        if multi is not None and _closed(f"{multi['outer']}(", multi["close"]):
            keys = [parse_key(key, chosen) for key in multi["keys"].split(",")]
            return cls._multi(multi["outer"], multi["sort"], int(multi["threshold"]), keys, chosen)
        _refuse(body, chosen)

    @classmethod
    def _single(cls, opened: str, key: RangedKey, network: Network) -> RangedDescriptor:
        closing = ")" * (opened.count("(") + 1)
        kind = opened + ")" * opened.count("(")
        script_at = _SINGLE_SCRIPTS[opened](key.parent)
        return cls(kind, f"{opened}({key.text}{closing}", network, script_at)

    @classmethod
    def _multi(cls, outer: str, sort: str, threshold: int, keys: list[RangedKey], network: Network) -> RangedDescriptor:
        if len(keys) > _MAX_MULTI_KEYS:
            raise DescriptorError(f"{len(keys)} keys are more than the {_MAX_MULTI_KEYS} allowed")
        if not 1 <= threshold <= len(keys):
            raise DescriptorError(
                f"the descriptor asks for {threshold} signatures of {len(keys)} keys, which can never be spent"
            )
        closing = ")" * (outer.count("(") + 2)
        body = f"{outer}({sort}({threshold},{','.join(key.text for key in keys)}{closing}"
        kind = f"{outer}({sort}){')' * outer.count('(')}"
        parents = [key.parent for key in keys]
        script_at = _multi_script(parents, threshold, sort == "sortedmulti", outer != "wsh")
        return cls(kind, body, network, script_at)

    def script_pubkey(self, index: int) -> bytes:
        """The output script of address `index`, 0 to 2^31 - 1. Raises `DescriptorError` outside."""
        if not 0 <= index < HARDENED:
            raise DescriptorError(f"address number {index} does not exist (0 to {HARDENED - 1})")
        return self._script_at(index)

    def derive(self, index: int) -> tuple[bytes, str]:
        """The output script and the address at `index`. Raises as `script_pubkey` does."""
        script = self.script_pubkey(index)
        return script, address_of(script, self.network)


def _wpkh(parent: PublicNode) -> _ScriptAt:
    return lambda index: b"\x00\x14" + hash160(parent.child_sec(index))


def _pkh(parent: PublicNode) -> _ScriptAt:
    return lambda index: b"\x76\xa9\x14" + hash160(parent.child_sec(index)) + b"\x88\xac"


def _tr(parent: PublicNode) -> _ScriptAt:
    return lambda index: b"\x51\x20" + taproot_output_key(parent.child_sec(index))


def _sh_wpkh(parent: PublicNode) -> _ScriptAt:
    inner = _wpkh(parent)
    return lambda index: _p2sh(inner(index))


_SINGLE_SCRIPTS: Final[dict[str, Callable[[PublicNode], _ScriptAt]]] = {
    "wpkh": _wpkh,
    "pkh": _pkh,
    "tr": _tr,
    "sh(wpkh": _sh_wpkh,
}


def _multi_script(parents: list[PublicNode], threshold: int, in_order: bool, nested: bool) -> _ScriptAt:
    def script_at(index: int) -> bytes:
        keys = [parent.child_sec(index) for parent in parents]
        if in_order:  # sortedmulti: BIP67's order
            keys.sort()
        pushes = b"".join(b"\x21" + key for key in keys)
        witness_script = _number(threshold) + pushes + _number(len(keys)) + b"\xae"
        program = b"\x00\x20" + hashlib.sha256(witness_script).digest()
        return _p2sh(program) if nested else program

    return script_at


def _number(value: int) -> bytes:
    """A small number as script: OP_1 to OP_16 by opcode, larger ones as a push of one byte."""
    return bytes((0x50 + value,)) if value <= 16 else bytes((1, value))


def _p2sh(script: bytes) -> bytes:
    return b"\xa9\x14" + hash160(script) + b"\x87"


def _closed(opened: str, close: str) -> bool:
    return len(close) == opened.count("(") + 1


def _without_checksum(text: str) -> str:
    body, separator, given = text.partition("#")
    if not separator:
        return body
    try:
        right = descriptor_checksum(body)
    except ChecksumInputError as error:
        raise DescriptorError(str(error)) from error
    if given != right:
        raise ChecksumMismatch(given, right)
    return body


def _refuse(body: str, network: Network) -> NoReturn:
    """Say why a text of no accepted form is refused."""
    if _PLAIN_KEY.fullmatch(body):
        parse_key(body if body.endswith("*") else f"{body}/0/*", network)  # its own troubles first
        raise DescriptorError(
            "the descriptor is only a key and does not say which kind of address the wallet uses:"
            f" for native segwit (BIP84) write wpkh({network.xpub_prefix}…/0/*), for taproot"
            f" (BIP86) tr({network.xpub_prefix}…/0/*)"
        )
    name = body.partition("(")[0]
    if name in ("addr", "raw", "rawtr"):
        raise DescriptorError(
            f"{name}() stands for one fixed output, and each payment needs an address of its own:"
            " use the wallet's descriptor with its extended public key, e.g. wpkh(…/0/*)"
        )
    if name == "tr":
        raise DescriptorError("of tr() descriptors only tr(KEY) is supported, without script paths or musig()")
    if name == "combo":
        raise DescriptorError("combo() means several addresses per key: write wpkh(…) or tr(…)")
    raise DescriptorError(
        "the descriptor is of no kind nodetill can use: wpkh(KEY), tr(KEY), pkh(KEY), sh(wpkh(KEY)),"
        " wsh(multi(K,KEY,…)) or wsh(sortedmulti(K,KEY,…)), with each KEY like"
        f" [d34db33f/84h/0h/0h]{network.xpub_prefix}…/0/*"
    )
