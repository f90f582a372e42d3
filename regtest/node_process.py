"""The life of a private bitcoind: start, stop, kill, hang, come back."""

from __future__ import annotations

import http.client
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from regtest.bitcoind_source import BitcoindPrograms, find_bitcoind
from regtest.child_process import ChildProcess
from regtest.free_ports import free_port
from regtest.node_rpc import NodeError, NodeRpc


class NodeStartError(RuntimeError):
    """bitcoind ended or stayed silent instead of starting; the end of its log is in the message."""


class NodeProcess(NodeRpc):
    """One bitcoind with its own datadir and ports; both stay the same over stop and start."""

    def __init__(
        self,
        programs: BitcoindPrograms | None = None,
        *,
        datadir: Path | None = None,
        p2p: bool = False,
        zmq: bool = True,
        extra_args: Sequence[str] = (),
    ) -> None:
        """Nothing runs before `start()`. Without `datadir` a temporary one is made and removed by `close()`.

        `p2p` listens for other nodes (see `connect`); `zmq=False` is a node without notifications.
        """
        self.programs = programs or find_bitcoind()
        self._temporary = datadir is None
        self.datadir = datadir or Path(tempfile.mkdtemp(prefix="nodetill-node-"))
        self.datadir.mkdir(parents=True, exist_ok=True)
        super().__init__(self.programs.bitcoin_cli, self.datadir, free_port())
        self.p2p_port = free_port()
        self._zmq_ports = [free_port() for _ in range(3)] if zmq else []
        self._p2p = p2p
        self.extra_args = list(extra_args)
        self._process: ChildProcess | None = None

    # ------------------------------------------------------------------ where it is

    @property
    def zmq_rawtx(self) -> str:
        return f"tcp://127.0.0.1:{self._zmq_ports[0]}"

    @property
    def zmq_hashblock(self) -> str:
        return f"tcp://127.0.0.1:{self._zmq_ports[1]}"

    @property
    def zmq_sequence(self) -> str:
        return f"tcp://127.0.0.1:{self._zmq_ports[2]}"

    @property
    def pid(self) -> int:
        return self._alive().pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    # ------------------------------------------------------------------ life and death

    def command(self) -> list[str]:
        """The command line of this node."""
        words = [
            str(self.programs.bitcoind),
            "-regtest",
            f"-datadir={self.datadir}",
            "-server",
            f"-rpcport={self.rpc_port}",
        ]
        words += [
            "-daemon=0",
            "-printtoconsole=0",
            "-fallbackfee=0.0001",
            "-dnsseed=0",
            "-discover=0",
            "-listenonion=0",
        ]
        words += ["-rpcworkqueue=256", "-rpcthreads=8"]
        words += ["-listen=1", f"-bind=127.0.0.1:{self.p2p_port}"] if self._p2p else ["-listen=0"]
        if self._zmq_ports:
            # The default high-water mark of 1000 drops a third of a full block's transactions.
            for topic in ("rawtx", "hashblock", "sequence"):
                words += [f"-zmqpub{topic}={getattr(self, f'zmq_{topic}')}", f"-zmqpub{topic}hwm=10000"]
        return words + self.extra_args

    def start(self, timeout: float = 60.0) -> Self:
        """Start and wait until RPC answers. Raises `NodeStartError`."""
        if self.running:
            return self
        orphan = self.datadir if self._temporary else None
        self.cookie_file.unlink(missing_ok=True)  # a killed node leaves one that no longer opens
        self._process = ChildProcess(self.command(), log_file=self.datadir / "output.log", remove_on_orphan=orphan)
        try:
            self.wait("RPC", self._answers, timeout=timeout)
        except TimeoutError as slow:
            self.kill()
            raise NodeStartError(str(slow)) from slow
        return self

    def _answers(self) -> bool:
        process = self._alive()
        if not process.running:
            code, words = process.exit_code, process.last_words()
            process.kill()
            raise NodeStartError(f"bitcoind ended with code {code}: {words}")
        try:
            self.rpc("getblockchaininfo")
        except NodeError as still_loading:
            if still_loading.code != -28:
                raise
            return False
        except (OSError, http.client.HTTPException):
            return False
        return True

    def stop(self) -> None:
        """Shut down in order; the datadir stays."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """`kill -9`; the datadir stays as it is."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def suspend(self) -> None:
        """The node hangs: connections are accepted by the kernel, nothing is answered (SIGSTOP)."""
        self._alive().send(signal.SIGSTOP)

    def resume(self) -> None:
        self._alive().send(signal.SIGCONT)

    def close(self) -> None:
        """Stop, and remove the datadir if it was a temporary one."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.datadir, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _alive(self) -> ChildProcess:
        if self._process is None:
            raise RuntimeError("this node is not running: call start()")
        return self._process

    def wait(self, what: str, condition: Callable[[], object], *, timeout: float = 30.0) -> None:
        """Ask `condition` every 20 ms until it is true. Raises `TimeoutError` naming `what`."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                words = "" if self._process is None else self._process.last_words()
                raise TimeoutError(f"waited {timeout:g} s for {what}; the node's last words: {words or '(none)'}")
            time.sleep(0.02)
