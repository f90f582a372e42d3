"""One key of a descriptor: `[origin]xpub/steps/*` (BIP380), read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from payments.keys import (
    HARDENED,
    KeyFormatError,
    PublicNode,
    base58check_decode,
    parse_extended_public_key,
    with_version,
)
from payments.network import NETWORKS, Network

_BASE58: Final = "[1-9A-HJ-NP-Za-km-z]"
_PRIVATE: Final = re.compile(rf"(?<![0-9A-Za-z])[xtyzuvYZUV]prv{_BASE58}{{20}}")
_WIF: Final = re.compile(rf"(?<![0-9A-Za-z])[5KLc9]{_BASE58}{{50,51}}(?![0-9A-Za-z])")
_ORIGIN: Final = re.compile(r"\[([0-9a-fA-F]{8})((?:/[0-9]{1,10}[hH']?)*)\]")
_BRANCHES: Final = re.compile(r"<([0-9]{1,10})(?:;[0-9]{1,10})+>")
_NUMBER: Final = re.compile(r"[0-9]{1,10}")

# SLIP-132 put the script type into the key's first letter; descriptors say it in words.
_SLIP132: Final = {
    "ypub": ("main", "sh(wpkh({}/0/*))"),
    "zpub": ("main", "wpkh({}/0/*)"),
    "Ypub": ("main", "sh(wsh(sortedmulti(…,{}/0/*,…)))"),
    "Zpub": ("main", "wsh(sortedmulti(…,{}/0/*,…))"),
    "upub": ("regtest", "sh(wpkh({}/0/*))"),
    "vpub": ("regtest", "wpkh({}/0/*)"),
    "Upub": ("regtest", "sh(wsh(sortedmulti(…,{}/0/*,…)))"),
    "Vpub": ("regtest", "wsh(sortedmulti(…,{}/0/*,…))"),
}


class DescriptorError(ValueError):
    """The text is not a descriptor that nodetill can hand out addresses from."""


class PrivateKeyFound(DescriptorError):
    """There is a private key where only public ones may be."""

    def __init__(self) -> None:
        super().__init__(
            "the descriptor holds a private key, and whoever reads it can take the coins: nodetill"
            " needs the public descriptor only (`bitcoin-cli listdescriptors` prints it; in other"
            " wallets it is called xpub or output descriptor)"
        )


@dataclass(frozen=True, slots=True)
class RangedKey:
    """A public extended key and the way from it to its `*`."""

    text: str
    """Canonical text: `h` marks hardened steps, the receive branch is chosen, ends in `/*`."""
    parent: PublicNode
    """The node whose children are the keys, the fixed steps already walked."""


def refuse_private_keys(text: str) -> None:
    """Raise `PrivateKeyFound` if an extended private key or a WIF key stands anywhere in the text.

    Runs before all other checks, so that no message ever repeats a secret.
    """
    if _PRIVATE.search(text):
        raise PrivateKeyFound
    for match in _WIF.finditer(text):
        try:
            version = base58check_decode(match[0])[0]
        except KeyFormatError:
            continue
        if version in (0x80, 0xEF):
            raise PrivateKeyFound


def parse_key(text: str, network: Network) -> RangedKey:
    """Read one ranged public key expression of this network.

    Raises `DescriptorError` saying what is wrong and how to mend it.
    """
    origin, rest = _split_origin(text)
    extended, *steps = rest.split("/")
    _refuse_slip132(extended)
    if extended[1:4] != "pub":
        raise DescriptorError(
            f"a key of the descriptor is no extended public key: it must begin with"
            f" {network.xpub_prefix} and end in /0/*, so that each payment gets its own address"
        )
    try:
        version, node = parse_extended_public_key(extended)
    except KeyFormatError as error:
        raise DescriptorError(f"a key of the descriptor is wrong: {error}") from error
    if version != network.xpub_version:
        raise DescriptorError(
            f"the key is an {extended[:4]} and so not of the network {network.name}, whose keys"
            f" begin with {network.xpub_prefix}: take the key of a {network.name} wallet, or set"
            " node.network to the network the key is for"
        )
    indexes = _fixed_steps(steps)
    for index in indexes:
        node = node.child(index)
    path = "".join(f"/{index}" for index in indexes)
    return RangedKey(text=f"{origin}{extended}{path}/*", parent=node)


def _split_origin(text: str) -> tuple[str, str]:
    """The canonical key origin (or nothing) and what follows it."""
    if not text.startswith("["):
        return "", text
    match = _ORIGIN.match(text)
    if match is None:
        raise DescriptorError(
            "the key origin is wrong: write it like [d34db33f/84h/0h/0h], the master key's"
            " fingerprint in 8 hexadecimal digits and then the path"
        )
    fingerprint, path = match.groups()
    for step in path.split("/")[1:]:
        if int(step.rstrip("hH'")) >= HARDENED:
            raise DescriptorError(f"the key origin has a step above {HARDENED - 1}")
    path = path.replace("'", "h").replace("H", "h")
    return f"[{fingerprint.lower()}{path}]", text[match.end() :]


def _refuse_slip132(extended: str) -> None:
    mend = _SLIP132.get(extended[:4])
    if mend is None:
        return
    network, pattern = mend
    try:
        plain = with_version(extended, NETWORKS[network].xpub_version)
    except KeyFormatError:
        plain = f"{NETWORKS[network].xpub_prefix}…"
    raise DescriptorError(
        f"{extended[:4]} is a SLIP-132 key, which descriptors do not use: the same key reads"
        f" {plain}, so write wallet.descriptor as {pattern.format(plain)}"
    )


def _fixed_steps(steps: list[str]) -> list[int]:
    """The steps between the key and `*`; of `<0;1>` the first, the receive branch (BIP389)."""
    if steps and steps[-1] in ("*h", "*H", "*'"):
        raise DescriptorError(
            f"the descriptor ends in /{steps[-1]}, but hardened addresses cannot be derived from"
            " a public key: it must end in /*"
        )
    if not steps or steps[-1] != "*":
        raise DescriptorError(
            "the descriptor gives one fixed address only, and each payment needs its own: let"
            " each key end in /0/* (the wallet's receive addresses)"
        )
    indexes, branched = [], False
    for step in steps[:-1]:
        branches = _BRANCHES.fullmatch(step)
        if branches is not None and not branched:
            branched = True
            indexes.append(_index(branches[1]))
        elif _NUMBER.fullmatch(step):
            indexes.append(_index(step))
        elif step.endswith(("h", "H", "'")):
            raise DescriptorError(
                f"the step /{step} after the key is hardened, which a public key cannot follow:"
                " export the key of the account itself (for BIP84 at m/84h/0h/0h)"
            )
        else:
            raise DescriptorError("a step after the key is not a number: write it like xpub…/0/* or xpub…/<0;1>/*")
    return indexes


def _index(text: str) -> int:
    index = int(text)
    if index >= HARDENED:
        raise DescriptorError(f"the step /{text} is above {HARDENED - 1}")
    return index
