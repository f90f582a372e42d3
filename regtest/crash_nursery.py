"""Where services are born that are to be killed: `python -m regtest.crash_nursery`, steered by `crashing_service.py`.

Loading the service takes a second, and a test of crash points starts it hundreds of times. So this process loads it
once, and forks: each child runs `serve` from its first line, with parts that pass named points. Nothing of an earlier
life is in it, because nothing ran here. Commands come as lines of JSON, each is answered by one:

    {"config": …, "log": …, "passed": …, "armed": ["after book", 2] or null}  ->  the child's pid
    "wait"                                                                     ->  its exit code, or null while it runs

When the commands end, so does the child: whoever steered it is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import commands.node_client
import commands.serve
import commands.service
import storage.postgres  # noqa: F401 - loaded late by the service; here once, for all children
from commands.keychain import Keychain, account_keychain, public_keychain, wallet_passphrase
from config.settings import Settings
from main import main
from node_watcher.signing.seed import open_seed
from node_watcher.signing.signers import open_signer
from regtest.crash_points import POINTS, Armed, PointedDatabase, PointedRest, PointedRpc

open_signer(bytes)  # loads its library, with the same intent


@contextlib.contextmanager
def keychain_here(settings: Settings, *, signs: bool = True) -> Iterator[Keychain]:
    """The signer in the service's own process: a process of its own for each of hundreds of lives would take minutes.
    What happens when that one is killed stands in `test_signer_process.py`."""
    if settings.wallet.seed_file is None:
        yield public_keychain(settings)
        return
    network = settings.node.network
    seed = open_seed(settings.wallet.seed_file, wallet_passphrase(settings))
    signer = open_signer(lambda index: seed.private_key(network, index)) if signs else None
    yield account_keychain(settings, seed.account_descriptor(network), signer)


_REPLACED = (
    (commands.serve, "serving_keychain", keychain_here),
    (commands.service, "Database", PointedDatabase),
    (commands.node_client, "HttpRpc", PointedRpc),
    (commands.node_client, "Rest", PointedRest),
)
"""The composition takes these for its own."""


def live(order: dict[str, Any]) -> NoReturn:
    """The whole life of a service, in a fresh child."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for there, here in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(there, here)
    code = 70
    try:
        for module, name, pointed in _REPLACED:
            getattr(module, name)  # raises, should the composition call it otherwise one day
            setattr(module, name, pointed)
        POINTS.open(Path(order["passed"]), Armed(*order["armed"]) if order["armed"] else None)
        code = main(["serve", "--config", order["config"]])
    except BaseException:  # noqa: BLE001 - the child must not go on as a second nursery
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run() -> None:
    child = 0
    for line in sys.stdin:
        command = json.loads(line)
        if command == "wait":
            ended, status = os.waitpid(child, os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else None
            child = 0 if ended else child
        else:
            child = answer = os.fork()
            if child == 0:
                live(command)
        print(json.dumps(answer), flush=True)
    if child:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    run()
