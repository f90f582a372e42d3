"""The two ways to the owner: what the wallet settings mean, checked before anything is written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from getpass import getpass

from commands.console import refuse
from config.settings import Settings
from node_watcher.forwarding.forwarder import Destination
from node_watcher.signing.seed import open_seed
from node_watcher.signing.seed_file import SeedError
from node_watcher.signing.signer import Signer, SignerUnavailable
from node_watcher.signing.signers import open_signer
from payments.address import AddressError, script_pubkey
from payments.descriptor import DescriptorError, RangedDescriptor


@dataclass(frozen=True, slots=True)
class Keychain:
    """`descriptor` gives the addresses. In forwarding mode `signer` and `destination` are there too."""

    descriptor: RangedDescriptor
    signer: Signer | None = None
    destination: Destination | None = None

    @property
    def watch_only(self) -> bool:
        return self.signer is None


def open_keychain(settings: Settings, ask: Callable[[str], str] = getpass) -> Keychain:
    """Open what `[wallet]` names. Refuses in one line, naming the setting and the mend."""
    wallet, network = settings.wallet, settings.node.network
    if wallet.descriptor is not None:
        return Keychain(_descriptor(wallet.descriptor, network))
    if wallet.seed_file is None or wallet.forward_to is None:
        refuse("wallet: set either descriptor, or seed_file and forward_to.")
    try:
        destination = Destination(wallet.forward_to, script_pubkey(wallet.forward_to, network))
    except AddressError as error:
        refuse(f"wallet.forward_to: {error}")
    if wallet.seed_passphrase is not None:
        passphrase = wallet.seed_passphrase.get_secret_value()
    elif sys.stdin.isatty():
        passphrase = ask(f"Passphrase of {wallet.seed_file}: ")
    else:
        refuse(
            "wallet.seed_passphrase is missing and there is no terminal to ask; "
            "set wallet.seed_passphrase_file to a file that holds it."
        )
    try:
        seed = open_seed(wallet.seed_file, passphrase)
        signer = open_signer(lambda index: seed.private_key(network, index))
    except SeedError as error:
        refuse(f"wallet.seed_file: {error}")
    except SignerUnavailable as error:
        refuse(f"wallet.seed_file: {error}")
    return Keychain(_descriptor(seed.account_descriptor(network), network), signer, destination)


def _descriptor(text: str, network: str) -> RangedDescriptor:
    try:
        return RangedDescriptor.parse(text, network)
    except DescriptorError as error:
        refuse(f"wallet.descriptor: {error}")


def passphrase_from(file: str | None, *, twice: bool) -> str:
    """A passphrase for the seed commands: from a file, the environment, or asked for on the terminal."""
    if file is not None:
        try:
            with open(file, encoding="utf-8") as handle:
                return handle.readline().rstrip("\r\n")
        except OSError as error:
            refuse(f"--passphrase-file: {file} cannot be read: {error.strerror}.")
        except UnicodeDecodeError:
            refuse(f"--passphrase-file: {file} is no text (UTF-8); write the passphrase on its first line.")
    if value := os.environ.get("NODETILL_WALLET__SEED_PASSPHRASE"):
        return value
    if not sys.stdin.isatty():
        refuse("--passphrase-file is missing and there is no terminal to ask for the passphrase.")
    first = getpass("Passphrase: ")
    if twice and getpass("Again: ") != first:
        refuse("The two passphrases differ; nothing was written.")
    return first
