"""The signer as the service sees it: another process behind a UNIX socket, of which nothing is believed."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from node_watcher.signing import wire
from node_watcher.signing.guarded import Description
from node_watcher.signing.signer import SignedTx, SignerDown, SigningFailed, SweepInput, SweepRefused, sweep_value
from node_watcher.signing.sweep_bytes import check_signed

_PATIENCE_SECONDS: Final = 60.0
"""1,400 inputs take some two seconds; the signer may be busy with others before us."""


class RemoteSigner:
    """`node_watcher.signing.signer.Signer`: asks, and checks every byte and each signature of the answer."""

    def __init__(self, path: Path, patience: float = _PATIENCE_SECONDS) -> None:
        self.path, self._patience = path, patience

    def __repr__(self) -> str:
        return f"RemoteSigner({self.path})"

    def sign_sweep(
        self, inputs: Sequence[SweepInput], destination_script: bytes, fee_sat: int, locktime: int
    ) -> SignedTx:
        """See `Signer`; and `SignerDown` is raised while the signer's process does not answer."""
        sweep_value(inputs, destination_script, fee_sat, locktime)
        question = wire.sweep_question(inputs, destination_script, fee_sat, locktime)
        name, said = self._ask(question, "signed", "refused", "failed")
        if name == "refused":
            raise SweepRefused(said)
        if name == "failed":
            raise SigningFailed(said)
        return check_signed(said, inputs, destination_script, fee_sat, locktime)

    def describe(self) -> Description:
        """What the signer says of itself. Raises `SignerDown` or `SigningFailed`."""
        description: Description = self._ask(wire.describe_question(), "described")[1]
        return description

    def _ask(self, question: Mapping[str, Any], *answers: str) -> tuple[str, Any]:
        deadline = time.monotonic() + self._patience
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self._patience)
                connection.connect(str(self.path))
                wire.send(connection, question)
                message = wire.receive(connection, deadline)
        except (wire.HungUp, ConnectionResetError, BrokenPipeError) as error:
            raise SignerDown(
                f"the signer at {self.path} hung up without an answer; its log says why (it may have been ended just "
                "then, or this user is not its allow_uid or of its allow_group)"
            ) from error
        except OSError as error:
            raise SignerDown(
                f"the signer does not answer at {self.path} ({error.strerror or error}); it is asked again"
            ) from error
        except wire.Rubbish as error:
            raise SigningFailed(f"the signer at {self.path} answers nonsense ({error})") from error
        try:
            return wire.read_answer(message, *answers)
        except wire.Rubbish as error:
            raise SigningFailed(f"the signer at {self.path} answers nonsense ({error})") from error
