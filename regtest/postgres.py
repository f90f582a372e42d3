"""A private PostgreSQL server in a temporary folder, and empty databases in it."""

from __future__ import annotations

import itertools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from regtest.child_process import ChildProcess
from regtest.free_ports import free_port
from regtest.postgres_source import Progress, find_postgres

USER = "nodetill"


class PostgresStartError(RuntimeError):
    """initdb or the server failed; its last words are in the message."""


class PostgresServer:
    """`with PostgresServer() as server: url = server.create_database()`."""

    def __init__(
        self, programs: Path | None = None, *, fsync: bool = True, progress: Progress = lambda _: None
    ) -> None:
        """Nothing runs before `start()`. `fsync=False` is faster and forgets everything in a power cut."""
        self.programs = programs or find_postgres(progress)
        self.port = free_port()
        self._fsync = fsync
        # Somebody else on this machine must not get in by knowing the port.
        self._password = secrets.token_hex(16)
        self._numbers = itertools.count(1)
        self._process: ChildProcess | None = None
        self._account = _unprivileged() if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="nodetill-postgres-"))
        self._own(self.folder)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def start(self, timeout: float = 60.0) -> Self:
        """Make the cluster if there is none, start, wait until it answers. Raises `PostgresStartError`."""
        if self._process is not None and self._process.running:
            return self
        if not self.data.exists():
            self._make_cluster()
        command = [str(self.programs / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        for setting in (
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            f"fsync={'on' if self._fsync else 'off'}",
            "max_connections=200",
            "jit=off",  # the unpacked copy is without the compiler
            "shared_buffers=64MB",
            "dynamic_shared_memory_type=mmap",
        ):
            command += ["-c", setting]
        # SIGINT: PostgreSQL's fast shutdown, which does not wait for clients.
        self._process = ChildProcess(
            command,
            log_file=self.folder / "output.log",
            polite=signal.SIGINT,
            remove_on_orphan=self.folder,
            environment=_environment(),
            user=self._account.pw_uid if self._account else None,
            group=self._account.pw_gid if self._account else None,
            folder=self.folder,
        )
        self._wait_until_it_answers(self._process, timeout)
        return self

    def stop(self) -> None:
        """Fast shutdown; the data stay."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """`kill -9` of the whole server; the data stay as they are."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stop and remove everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def create_database(self, name: str | None = None) -> str:
        """A new empty database; its `postgresql://` URL."""
        name = name or f"till_{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            # template0 has never seen a client, so nobody can be connected to it while it is copied.
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, disconnecting whoever is still in it."""
        name = url.rsplit("/", 1)[1]
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _make_cluster(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(self._password)
        password_file.chmod(0o600)
        self._own(password_file)
        command = [
            str(self.programs / "initdb"),
            "-D",
            str(self.data),
            "-U",
            USER,
            f"--pwfile={password_file}",
        ]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=_environment(),
            user=self._account.pw_uid if self._account else None,
            group=self._account.pw_gid if self._account else None,
            extra_groups=[] if self._account else None,
        )
        if done.returncode:
            raise PostgresStartError(f"initdb failed: {(done.stderr or done.stdout).strip()[-600:]}")

    def _wait_until_it_answers(self, process: ChildProcess, timeout: float) -> None:
        end = time.monotonic() + timeout
        while True:
            if not process.running:
                self.kill()
                raise PostgresStartError(f"PostgreSQL ended: {process.last_words()}")
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError as not_yet:
                if time.monotonic() > end:
                    self.kill()
                    raise PostgresStartError(
                        f"PostgreSQL does not answer: {not_yet}; {process.last_words()}"
                    ) from not_yet
                time.sleep(0.05)
            else:
                return

    def _own(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)


def _unprivileged() -> pwd.struct_passwd:
    """An account to run as when we are root, which PostgreSQL refuses."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresStartError(
        "PostgreSQL does not run as root and there is no account postgres or nobody: use a plain user"
    )


def _environment() -> dict[str, str]:
    # A plain locale and zone: the unpacked copy has no translations, and bare machines no time zone files.
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "GMT"}
