"""The life of a private bitcoind: start, stop, kill, hang, come back."""

from __future__ import annotations

import http.client
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from regtest.bitcoind_source import BitcoindPrograms, find_bitcoind
from regtest.child_process import ChildProcess
from regtest.child_server import ChildServer
from regtest.free_ports import free_port
from regtest.node_rpc import NodeError, NodeRpc


class NodeProcess(NodeRpc, ChildServer):
    """One bitcoind with its own datadir and ports."""

    called = "bitcoind"

    def __init__(
        self,
        programs: BitcoindPrograms | None = None,
        *,
        datadir: Path | None = None,
        remove_on_orphan: Path | None = None,
        p2p: bool = False,
        zmq: bool = True,
        extra_args: Sequence[str] = (),
    ) -> None:
        """Nothing runs before `start()`. Without `datadir` a temporary one is made and removed by `close()`.

        `remove_on_orphan` is removed should we be killed: by default the temporary one.
        `p2p` listens for other nodes (see `connect`); `zmq=False` is a node without notifications.
        """
        self.programs = programs or find_bitcoind()
        folder = datadir or Path(tempfile.mkdtemp(prefix="nodetill-node-"))
        folder.mkdir(parents=True, exist_ok=True)
        ChildServer.__init__(self, folder, temporary=datadir is None)
        self.remove_on_orphan = remove_on_orphan or self.remove_on_orphan
        NodeRpc.__init__(self, self.programs.bitcoin_cli, folder, free_port())
        self.p2p_port = free_port()
        self._zmq_ports = [free_port() for _ in range(3)] if zmq else []
        self._p2p = p2p
        self.extra_args = list(extra_args)

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
        # A tenth of the usual keys in advance makes a wallet, and starts with it, five times as fast.
        words += ["-rpcworkqueue=256", "-rpcthreads=8", "-keypool=100"]
        # On regtest a node checks its whole index and mempool at each step: that is for its own developers.
        words += ["-checkblockindex=0", "-checkmempool=0"]
        words += ["-listen=1", f"-bind=127.0.0.1:{self.p2p_port}"] if self._p2p else ["-listen=0"]
        if self._zmq_ports:
            # The default high-water mark of 1000 drops a third of a full block's transactions.
            for topic in ("rawtx", "hashblock", "sequence"):
                words += [f"-zmqpub{topic}={getattr(self, f'zmq_{topic}')}", f"-zmqpub{topic}hwm=10000"]
        return words + self.extra_args

    def _spawn(self) -> ChildProcess:
        self.cookie_file.unlink(missing_ok=True)  # a killed node leaves one that no longer opens
        return ChildProcess(self.command(), log_file=self.log_file, remove_on_orphan=self.remove_on_orphan)

    def _answers(self) -> bool:
        try:
            self.rpc("getblockchaininfo")
        except NodeError as still_loading:
            if still_loading.code != -28:
                raise
            return False
        except (OSError, http.client.HTTPException):
            return False
        return True

    def suspend(self) -> None:
        """The node hangs: connections are accepted by the kernel, nothing is answered (SIGSTOP)."""
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send(signal.SIGCONT)
