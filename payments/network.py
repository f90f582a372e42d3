"""The four networks nodetill knows, and the marks by which their keys and addresses differ."""

from __future__ import annotations

from typing import Final, NamedTuple


class Network(NamedTuple):
    """The constants of one network (`chainparams.cpp` of Bitcoin Core, SLIP-44, SLIP-173)."""

    name: str
    hrp: str
    """Human-readable part of bech32 addresses."""
    p2pkh_version: int
    p2sh_version: int
    xpub_version: bytes
    coin_type: int
    """BIP44 coin type: 0 on main, 1 on all test networks."""

    @property
    def xpub_prefix(self) -> str:
        """How a public extended key of this network begins, for messages to people."""
        return "xpub" if self.coin_type == 0 else "tpub"


_TEST_XPUB: Final = bytes.fromhex("043587cf")

NETWORKS: Final = {
    network.name: network
    for network in (
        Network("main", "bc", 0x00, 0x05, bytes.fromhex("0488b21e"), 0),
        Network("testnet4", "tb", 0x6F, 0xC4, _TEST_XPUB, 1),
        Network("signet", "tb", 0x6F, 0xC4, _TEST_XPUB, 1),
        Network("regtest", "bcrt", 0x6F, 0xC4, _TEST_XPUB, 1),
    )
}


def network_of(name: str) -> Network:
    """The network of that name. Raises `ValueError` naming the four known ones."""
    try:
        return NETWORKS[name]
    except KeyError:
        known = ", ".join(NETWORKS)
        raise ValueError(f"{name!r} is not a network nodetill knows; use one of {known}") from None
