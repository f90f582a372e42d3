"""Addresses are for people, scripts for the machine: this is where one becomes the other."""

from __future__ import annotations

from collections.abc import Callable

from payments.bech32 import Bech32Error, decode_segwit, encode_segwit
from payments.keys import KeyFormatError, base58check_decode, base58check_encode
from payments.network import NETWORKS, Network, network_of


class AddressError(ValueError):
    """The text is not a Bitcoin address that nodetill would send to or show."""


class WrongNetwork(AddressError):
    """A sound address, but of another network. `belongs_to` says which."""

    def __init__(self, address: str, belongs_to: str, network: str) -> None:
        super().__init__(f"{address} belongs to {belongs_to}, not to {network}")
        self.belongs_to = belongs_to
        self.network = network


def script_pubkey(address: str, network: str) -> bytes:
    """The output script an address stands for: P2PKH, P2SH, P2WPKH, P2WSH or P2TR.

    Raises `WrongNetwork` for an address of another network and `AddressError` for anything
    else that is not right, including witness programs that no rule protects yet (BIP141:
    anyone could take the coins).
    """
    chosen = network_of(network)
    if not address.isascii() or not address.isalnum():
        raise AddressError("an address consists of letters and digits only; copy it again")
    # Base58 addresses have no separator "1" after a known prefix, so the prefix decides.
    if address.lower().startswith(("bc1", "tb1", "bcrt1")):
        return _segwit_script(address, chosen)
    return _base58_script(address, chosen)


def _segwit_script(address: str, network: Network) -> bytes:
    try:
        hrp, version, program = decode_segwit(address)
    except Bech32Error as error:
        raise AddressError(f"{_short(address)}: {error}") from None
    if hrp != network.hrp:
        raise WrongNetwork(address, _names(lambda known: known.hrp == hrp), network.name)
    if version > 1 or (version == 1 and len(program) != 32):
        raise AddressError(
            f"{address} has witness version {version} with {len(program)} bytes, for which Bitcoin"
            " has no spending rules yet: coins sent there could be taken by anyone"
        )
    return bytes((0x50 + version if version else 0, len(program))) + program


def _base58_script(address: str, network: Network) -> bytes:
    try:
        payload = base58check_decode(address)
    except KeyFormatError:
        # Nothing longer than an address is repeated: it may be a private key, pasted by mistake.
        shown = address if len(address) <= 35 else "the text"
        raise AddressError(f"{shown} is not a Bitcoin address: a character is missing or mistyped") from None
    if len(payload) != 21:
        raise AddressError(f"the text has {len(payload)} bytes where an address has 21")
    version, body = payload[0], payload[1:]
    if version == network.p2pkh_version:
        return b"\x76\xa9\x14" + body + b"\x88\xac"
    if version == network.p2sh_version:
        return b"\xa9\x14" + body + b"\x87"
    owner = _names(lambda known: version in (known.p2pkh_version, known.p2sh_version))
    if owner:
        raise WrongNetwork(address, owner, network.name)
    raise AddressError(f"{address} is no address of any Bitcoin network")


def address_of(script: bytes, network: str) -> str:
    """The address of an output script, bech32 in lower case. Raises `AddressError` if it has none."""
    chosen = network_of(network)
    size = len(script)
    if (size == 22 and script[:2] == b"\x00\x14") or (size == 34 and script[:2] == b"\x00\x20"):
        return encode_segwit(chosen.hrp, 0, script[2:])
    if size == 34 and script[:2] == b"\x51\x20":
        return encode_segwit(chosen.hrp, 1, script[2:])
    if size == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return base58check_encode(bytes((chosen.p2pkh_version,)) + script[3:23])
    if size == 23 and script[:2] == b"\xa9\x14" and script[22:] == b"\x87":
        return base58check_encode(bytes((chosen.p2sh_version,)) + script[2:22])
    raise AddressError("the script is of no kind that has an address")


def _names(match: Callable[[Network], bool]) -> str:
    """Which networks share a mark, for people: `main`, or `testnet4 or signet`."""
    return " or ".join(known.name for known in NETWORKS.values() if match(known))


def _short(text: str) -> str:
    return text if len(text) <= 90 else text[:20] + "…"
