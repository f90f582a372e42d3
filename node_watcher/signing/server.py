"""The signer's process at work: one question after the other, each on a connection of its own."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from node_watcher.signing import wire
from node_watcher.signing.door import Admitted
from node_watcher.signing.guarded import Description
from node_watcher.signing.signer import Signer, SignerError, SweepRefused

log = logging.getLogger("nodetill")

PATIENCE_SECONDS: Final = 5.0
"""So long a question may take to arrive, and an answer to leave. Who is slower makes others wait no longer."""


class SignerServer:
    """Answers at a door until it is told to stop."""

    def __init__(self, door: socket.socket, admitted: Admitted, signer: Signer, description: Description) -> None:
        self._door, self._admitted = door, admitted
        self._signer, self._description = signer, description

    def serve(self, parent: int | None = None) -> None:
        """Until SIGTERM or SIGINT comes, or the pipe `parent` ends: its other end died."""
        with _told_to_stop() as stop, selectors.DefaultSelector() as waiting:
            self._door.setblocking(False)
            waiting.register(self._door, selectors.EVENT_READ)
            waiting.register(stop, selectors.EVENT_READ)
            if parent is not None:
                waiting.register(parent, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in waiting.select()}
                if stop in ready or (parent in ready and parent is not None and not os.read(parent, 4096)):
                    return
                if self._door in ready:
                    self._let_in()

    def _let_in(self) -> None:
        try:
            connection, _ = self._door.accept()
        except OSError:
            return  # it went away again
        with connection:
            if not self._admitted.admits(connection):
                log.warning("Somebody asked the signer who may not: see allow_uid and allow_group in its settings")
                return
            try:
                question = wire.read_question(wire.receive(connection, time.monotonic() + PATIENCE_SECONDS))
            except (wire.Rubbish, OSError) as error:
                log.warning("The signer was asked nothing that it understands (%s)", error)
                return
            answer = wire.described(self._description) if question is None else self._answer(question)
            try:
                connection.settimeout(PATIENCE_SECONDS)
                wire.send(connection, answer)
            except OSError as error:
                log.warning("The signer's answer did not arrive (%s); the same question gets it again", error)

    def _answer(self, question: wire.SweepQuestion) -> dict[str, Any]:
        try:
            signed = self._signer.sign_sweep(
                question.inputs, question.destination_script, question.fee_sat, question.locktime
            )
        except SweepRefused as error:
            log.warning("Refused to sign a sweep: %s", error)
            return wire.refused(str(error))
        except SignerError as error:
            log.error("Could not sign a sweep: %s", error)
            return wire.failed(str(error))
        return wire.signed(signed.raw)


@contextmanager
def _told_to_stop() -> Iterator[socket.socket]:
    """A socket that becomes readable when a signal to stop comes."""
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)
    before = signal.set_wakeup_fd(there.fileno())
    handlers = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield here
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        here.close()
        there.close()
