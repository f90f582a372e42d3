"""The signer's UNIX socket: where it stands, and who may come in."""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node_watcher.signing.exposure import Exposed, refuse_exposed_folder
from node_watcher.signing.file_lock import FileLock, Held

_LONGEST: Final = 100  # sun_path holds 108 bytes, on some systems 104
_SO_PEERGROUPS: Final = 59  # Linux 4.13; Python has no name for it
_MOST_GROUP_BYTES: Final = 1024  # Python asks for no more; who is in over 256 groups is not known by them
_PEER: Final = struct.Struct("3i")


class DoorTaken(Exception):
    """Another signer listens there."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who may ask beside the signer's own user: one user, or the members of one group."""

    uid: int | None = None
    gid: int | None = None

    def admits(self, connection: socket.socket) -> bool:
        """By what the kernel says of the other end, which cannot be forged (SO_PEERCRED)."""
        _, uid, gid = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid in (os.geteuid(), self.uid):
            return True
        return self.gid is not None and self.gid in (gid, *_groups(connection))

    @property
    def mode(self) -> int:
        """Of the socket's file: 0600; wider only where others are named, and then `admits` decides."""
        return 0o600 if self == Admitted() else 0o660 if self.uid is None else 0o666


@contextmanager
def open_door(path: Path, admitted: Admitted) -> Iterator[socket.socket]:
    """Listen there, until the end of the block. What a dead signer left there is removed.

    Raises `Exposed` for a place where others could put a socket of theirs, `DoorTaken`, or `OSError`.
    """
    refuse_exposed_folder(path.parent, "the signer's socket")
    if len(os.fsencode(path)) > _LONGEST:
        raise Exposed(
            f"the path of the signer's socket is longer than {_LONGEST} bytes: take a shorter one than {path}"
        )
    taken = f"a signer listens at {path} already: end it, or name another socket"
    try:
        lock = FileLock(path.with_name(f"{path.name}.lock"))
    except Held:
        raise DoorTaken(taken) from None
    try:
        if os.path.lexists(path):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise Exposed(f"{path} is there and no socket: the signer does not remove it; name another place")
            if _somebody_listens(path):
                raise DoorTaken(taken)
            path.unlink()
        with socket.socket(socket.AF_UNIX) as door:
            before = os.umask(0o177)
            try:
                door.bind(str(path))
            finally:
                os.umask(before)
            try:
                if admitted.gid is not None:
                    os.chown(path, -1, admitted.gid)
                path.chmod(admitted.mode)
                door.listen(16)
                yield door
            finally:
                path.unlink(missing_ok=True)
    finally:
        lock.release()


def _somebody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except TimeoutError:
            return True
    return True


def _groups(connection: socket.socket) -> list[int]:
    """The further groups of the process at the other end; empty where the kernel does not tell."""
    with suppress(OSError):
        said = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_GROUP_BYTES)
        return [group for (group,) in struct.iter_unpack("I", said)]
    return []
