"""A private PostgreSQL server in a temporary folder, and empty databases in it."""

from __future__ import annotations

import itertools
import os
import pwd
import secrets
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

from regtest.child_process import ChildProcess
from regtest.child_server import ChildServer, DidNotStart
from regtest.free_ports import free_port
from regtest.postgres_source import Progress, find_postgres

USER = "nodetill"


class PostgresServer(ChildServer):
    """`with PostgresServer() as server: url = server.create_database()`."""

    called = "PostgreSQL"

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
        self._account = _unprivileged() if os.geteuid() == 0 else None
        super().__init__(Path(tempfile.mkdtemp(prefix="nodetill-postgres-")), temporary=True)
        self._own(self.folder)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def _spawn(self) -> ChildProcess:
        """Makes the cluster if there is none."""
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
        return ChildProcess(
            command,
            log_file=self.log_file,
            polite=signal.SIGINT,
            remove_on_orphan=self.remove_on_orphan,
            environment=_environment(),
            user=self._account.pw_uid if self._account else None,
            group=self._account.pw_gid if self._account else None,
            folder=self.folder,
        )

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

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
            raise DidNotStart(f"initdb failed: {(done.stderr or done.stdout).strip()[-600:]}")

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
    raise DidNotStart("PostgreSQL does not run as root and there is no account postgres or nobody: use a plain user")


def _environment() -> dict[str, str]:
    # A plain locale and zone: the unpacked copy has no translations, and bare machines no time zone files.
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "GMT"}
