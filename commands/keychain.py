"""The ways to the owner: what the wallet settings mean, checked before anything is written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from getpass import getpass

from commands.console import refuse
from config.settings import Settings
from node_watcher.forwarding.forwarder import Destination
from node_watcher.signing.remote import RemoteSigner
from node_watcher.signing.seed import open_seed
from node_watcher.signing.seed_file import SeedError
from node_watcher.signing.signer import Signer
from node_watcher.signing.spending_size import max_wallet_vsize
from node_watcher.signing.wallet_scripts import WalletScripts
from payments.address import AddressError, script_pubkey
from payments.descriptor import DescriptorError, RangedDescriptor
from payments.sweep_plan import VsizeOf


@dataclass(frozen=True, slots=True)
class Keychain:
    """`descriptor` gives the addresses. Coins stay there (`watch_only`), or go on to `destination`: signed by
    `signer`, or, where there is none, by somebody else in their own time."""

    descriptor: RangedDescriptor
    watch_only: bool = True
    signer: Signer | None = None
    destination: Destination | None = None

    @property
    def size(self) -> VsizeOf | None:
        """Virtual bytes of a sweep, where somebody signs elsewhere for a wallet of any kind; None where a signer does,
        for P2WPKH coins."""
        if self.signer is not None or self.destination is None:
            return None
        wallet, script = WalletScripts(self.descriptor), self.destination.script_pubkey
        return lambda inputs: max_wallet_vsize(wallet, inputs, script)


def open_keychain(settings: Settings, ask: Callable[[str], str] = getpass) -> Keychain:
    """What `[wallet]` names, without anybody who signs: for commands that look. A seed file is opened and left again.

    Refuses in one line, naming the setting and the mend."""
    if settings.wallet.seed_file is None:
        return public_keychain(settings)
    destination, passphrase = destination_of(settings), wallet_passphrase(settings, ask)
    try:
        account = open_seed(settings.wallet.seed_file, passphrase).account_descriptor(settings.node.network)
    except SeedError as error:
        refuse(f"wallet.seed_file: {error}")
    return Keychain(_descriptor(account, settings.node.network), False, None, destination)


def public_keychain(settings: Settings) -> Keychain:
    """Of the ways that need no seed here: watch-only, offline, or a signer that somebody else runs."""
    wallet = settings.wallet
    if wallet.descriptor is None:
        refuse("wallet: set either descriptor, or seed_file and forward_to.")
    descriptor = _descriptor(wallet.descriptor, settings.node.network)
    if wallet.mode == "watch-only":
        return Keychain(descriptor)
    if wallet.signer_socket is None:
        return Keychain(descriptor, False, None, destination_of(settings))
    if descriptor.kind != "wpkh":
        refuse(
            f"wallet.descriptor: a signer signs for wpkh(…) with one key, and this is {descriptor.kind}; take what "
            "`nodetill seed show-xpub` prints, or leave wallet.signer_socket out and sign PSBTs elsewhere."
        )
    return Keychain(descriptor, False, RemoteSigner(wallet.signer_socket), destination_of(settings))


def account_keychain(settings: Settings, account: str, signer: Signer | None) -> Keychain:
    """With the public side of a seed that somebody else has opened."""
    return Keychain(_descriptor(account, settings.node.network), False, signer, destination_of(settings))


def destination_of(settings: Settings) -> Destination:
    """`wallet.forward_to`, checked."""
    if (address := settings.wallet.forward_to) is None:
        refuse("wallet.forward_to is missing; set it to an address of your own wallet.")
    try:
        return Destination(address, script_pubkey(address, settings.node.network))
    except AddressError as error:
        refuse(f"wallet.forward_to: {error}")


def wallet_passphrase(settings: Settings, ask: Callable[[str], str] = getpass) -> str:
    """That of `wallet.seed_file`: from the settings, or asked for on the terminal."""
    if settings.wallet.seed_passphrase is not None:
        return settings.wallet.seed_passphrase.get_secret_value()
    if not sys.stdin.isatty():
        refuse(
            "wallet.seed_passphrase is missing and there is no terminal to ask; "
            "set wallet.seed_passphrase_file to a file that holds it."
        )
    return ask(f"Passphrase of {settings.wallet.seed_file}: ")


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
