"""A signer that the service starts for itself, and starts again when it dies. It ends with its parent.

What it needs to know goes to it as one line of JSON over its standard input, the passphrase too: neither argv nor the
environment hold a secret. The pipe stays open; when it ends, because we ended, however that came, so does the child.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from node_watcher.signing import wire
from node_watcher.signing.guarded import Description

log = logging.getLogger("nodetill")

_ENVIRONMENT: Final = (
    *("PATH", "HOME", "TMPDIR", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ"),
    *("LD_LIBRARY_PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"),
)
"""All that the child inherits: no setting, and no secret in one."""

_LONGEST_TMPDIR: Final = 60  # a socket's path holds some hundred bytes
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
_GOOD_LIFE_SECONDS: Final = 60.0
_END_SECONDS: Final = 5.0


class ChildRefused(Exception):
    """The signer says why it cannot begin, in words for the operator."""


class SignerChild:
    """`with SignerChild(program, order) as child: RemoteSigner(child.socket)`, and `child.description`."""

    def __init__(self, program: Sequence[str], order: Mapping[str, Any]) -> None:
        """`program` is run with `order` on its standard input, to which the place of its socket is added."""
        self._program, self._order = list(program), dict(order)
        self._folder = _private_folder()
        self.socket = self._folder / "socket"
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._watch = threading.Thread(target=self._keep_alive, name="signer", daemon=True)

    def __enter__(self) -> Self:
        try:
            self.description = self._start()
        except BaseException:
            self.close()
            raise
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the child that lives now, or lived last."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """End it, and take its folder away."""
        self._closing.set()
        if self._watch.is_alive():
            self._watch.join(2 * _END_SECONDS + _LONGEST_PAUSE)
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> Description:
        """Raises `ChildRefused`, and then nothing runs."""
        began = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT}
        self._process = subprocess.Popen(
            self._program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=began,
            start_new_session=True,  # Ctrl-C is for us, and we end it in our order
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both were asked for")
        order = {**self._order, "socket": str(self.socket)}
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline(wire.MAX_BYTES)
        try:
            name, said = wire.read_answer(json.loads(line), "described", "refused")
        except (ValueError, AttributeError):
            self._end()
            raise ChildRefused("the signer's process ended before it said anything; its log says why") from None
        if name == "refused":
            self._end()
            raise ChildRefused(said)
        description: Description = said
        return description

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _keep_alive(self) -> None:
        pause = _SHORTEST_PAUSE
        born = time.monotonic()
        while not self._closing.is_set():
            if (process := self._process) is not None and process.poll() is None:
                self._closing.wait(0.1)
                continue
            if time.monotonic() - born > _GOOD_LIFE_SECONDS:
                pause = _SHORTEST_PAUSE
            if process is not None:
                log.error("The signer's process ended with code %s; it is started again", process.returncode)
                self._end()
            if self._closing.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)
            born = time.monotonic()
            try:
                if self._start() == self.description:
                    log.info("The signer's process runs again")
                else:
                    self._end()
                    log.error("The seed file is another one than at the start: restart the service if that is right")
            except (ChildRefused, OSError) as error:
                log.error("The signer's process cannot be started again: %s", error)


def _private_folder() -> Path:
    """A new folder of mode 0700."""
    place = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="nodetill-signer-", dir="/tmp" if len(place) > _LONGEST_TMPDIR else place))  # noqa: S108 - what is made in it is private
