"""Who signs for the service: nobody, a signer that runs elsewhere, or one that the service starts for itself."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from commands.console import refuse
from commands.keychain import Keychain, account_keychain, destination_of, public_keychain, wallet_passphrase
from config.settings import Settings
from node_watcher.signing.caps import fee_up_to
from node_watcher.signing.child import ChildRefused, SignerChild
from node_watcher.signing.guarded import Description
from node_watcher.signing.hardening import no_core_dumps
from node_watcher.signing.remote import RemoteSigner
from node_watcher.signing.signer import MAX_STANDARD_VSIZE, SignerDown, SignerError
from payments.address import script_pubkey
from payments.amount import MAX_MONEY_SAT
from payments.descriptor import RangedDescriptor

log = logging.getLogger("nodetill")

_SIGNER: Final = [sys.executable, str(Path(__file__).resolve().parent.parent / "main.py"), "signer", "--child"]


@contextmanager
def serving_keychain(settings: Settings, *, signs: bool = True) -> Iterator[Keychain]:
    """What `[wallet]` names, for as long as the service runs. Refuses in one line, naming the setting and the mend.

    With a seed file it starts the signer's process, which alone opens it. `signs=False` for a service that only needs
    the addresses: then nothing stays behind that could sign.
    """
    if settings.wallet.seed_file is None:
        keychain = public_keychain(settings)
        if signs and isinstance(keychain.signer, RemoteSigner):
            _compare(keychain, keychain.signer, settings)
        yield keychain
        return
    no_core_dumps()  # the passphrase is in the settings
    order = _order(settings) | {"describe_only": not signs}
    try:
        child = SignerChild(_SIGNER, order).__enter__()
    except ChildRefused as error:
        refuse(str(error))
    try:
        if not signs:
            child.close()
        yield account_keychain(settings, child.description.descriptor, RemoteSigner(child.socket) if signs else None)
    finally:
        child.close()


def _order(settings: Settings) -> dict[str, Any]:
    """What the child is told. Its caps are those of the settings, fixed while it lives."""
    destination, limits = destination_of(settings), settings.forwarding
    return {
        "network": settings.node.network,
        "seed_file": str(settings.wallet.seed_file),
        "passphrase": wallet_passphrase(settings),
        "destination": destination.address,
        "max_feerate": str(limits.max_feerate),
        "max_fee_sat": fee_up_to(limits.max_feerate, MAX_STANDARD_VSIZE),
        "daily_cap_sat": settings.wallet.daily_cap_sat or MAX_MONEY_SAT,
        "journal": str(_journal(settings)),
        "log_format": settings.log.format,
        "log_level": settings.log.level,
    }


def _journal(settings: Settings) -> Path:
    """Beside the database where that is a file: what writes there may write this. Else beside the seed file."""
    if settings.wallet.signer_journal is not None:
        return settings.wallet.signer_journal
    return Path(f"{settings.database.path or settings.wallet.seed_file}.signer-journal")


def _compare(keychain: Keychain, signer: RemoteSigner, settings: Settings) -> None:
    """Refuse a signer that signs for something else; one that is down is waited for."""
    try:
        differs = difference(signer.describe(), keychain, settings)
    except SignerDown as error:
        log.warning("Coins wait for the signer: %s", error)
        return
    except SignerError as error:
        refuse(f"wallet.signer_socket: {error}.")
    if differs:
        refuse(differs)


def difference(said: Description, keychain: Keychain, settings: Settings) -> str | None:
    """How a signer's account and destination differ from the settings, in words with the mend."""
    if said.network != settings.node.network:
        return f"wallet.signer_socket: the signer is for {said.network}, and node.network is {settings.node.network}."
    if RangedDescriptor.parse(said.descriptor, said.network).fingerprint != keychain.descriptor.fingerprint:
        return (
            f"wallet.descriptor: the signer has the keys of {said.descriptor} and could not spend what is paid to this "
            "one; write that descriptor, or give the signer the other seed."
        )
    ours = keychain.destination
    if ours is None or ours.script_pubkey != script_pubkey(said.destination, said.network):
        return (
            f"wallet.forward_to: the signer signs for {said.destination} only; write that address, or correct the "
            "signer's destination."
        )
    return None
