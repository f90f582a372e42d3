"""What can go wrong between us and the database."""

from __future__ import annotations


class StorageError(Exception):
    """The database refused."""


class DatabaseUnusable(StorageError):
    """The database cannot be opened or written as it is set up. The text names the setting and the mend."""


class DatabaseBusy(StorageError):
    """Another process holds the database just now. Asking again is right."""


class AlreadyThere(StorageError):
    """A unique key refused a second row: what was to happen once has happened."""


class NotToBeSpent(StorageError):
    """These coins cannot go in a sweep now. One sentence; nothing was changed."""


class CursorMoved(StorageError):
    """The chain cursor is not where the caller thought: somebody else moved it. Read it again."""


class LeadershipLost(StorageError):
    """Another nodetill watches for this database now, and this one must not write any more."""


class BackupRefused(StorageError):
    """A backup cannot be written, read, or put where it was to go. One sentence; nothing was changed."""
