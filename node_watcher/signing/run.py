"""The signer's process, put together from plain values."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from node_watcher.signing.caps import Caps
from node_watcher.signing.door import Admitted, DoorTaken, open_door
from node_watcher.signing.exposure import Exposed, refuse_exposed_folder
from node_watcher.signing.guarded import Description, GuardedSigner
from node_watcher.signing.journal import Journal, JournalError
from node_watcher.signing.seed import Seed, open_seed
from node_watcher.signing.seed_file import SeedError
from node_watcher.signing.server import SignerServer
from node_watcher.signing.signers import open_signer
from node_watcher.signing.signing_clock import SigningClock
from payments.descriptor import RangedDescriptor

log = logging.getLogger("nodetill")


class CannotSign(Exception):
    """The signer cannot begin; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class SignerPlan:
    """All that a signer works by. `seed_file` is opened once, at the start."""

    network: str
    seed_file: Path
    socket: Path
    journal: Path
    caps: Caps
    admitted: Admitted
    patience: float = 0.0
    """Seconds that an earlier signer with this journal may take to end."""


def describe(seed: Seed, network: str, caps: Caps) -> Description:
    """What may be known of a signer."""
    return Description(network, seed.account_descriptor(network), seed.fingerprint, caps.destination)


def opened(plan: SignerPlan, passphrase: str) -> Seed:
    """The seed. Raises `CannotSign`."""
    try:
        return open_seed(plan.seed_file, passphrase)
    except SeedError as error:
        raise CannotSign(str(error)) from error


def run_signer(plan: SignerPlan, seed: Seed, on_ready: Callable[[Description], None], parent: int | None) -> None:
    """Answer until told to stop (see `SignerServer.serve`). Raises `CannotSign`."""
    description = describe(seed, plan.network, plan.caps)
    try:
        refuse_exposed_folder(plan.journal.parent, "the signer's journal")
        with (
            closing(Journal(plan.journal, patience=plan.patience)) as journal,
            open_door(plan.socket, plan.admitted) as door,
        ):
            guarded = GuardedSigner(
                open_signer(lambda index: seed.private_key(plan.network, index)),
                RangedDescriptor.parse(description.descriptor, plan.network),
                plan.caps,
                journal,
                SigningClock(journal.newest),
            )
            on_ready(description)
            SignerServer(door, plan.admitted, guarded, description).serve(parent)
    except (Exposed, JournalError, DoorTaken) as error:
        raise CannotSign(str(error)) from error
    except OSError as error:
        raise CannotSign(f"{error.filename or plan.socket}: {error.strerror}") from error
