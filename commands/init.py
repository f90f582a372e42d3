"""`nodetill init`: asks what it needs, writes nodetill.toml, and says what to do next."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from commands.bitcoin_conf import bitcoin_conf
from commands.console import DEFAULT_CONFIG, ConfigOption, refuse
from config.errors import ConfigurationError
from config.load import load
from config.node import default_rpc_url
from config.template import Answers, render
from payments.address import AddressError, script_pubkey
from payments.descriptor import DescriptorError, RangedDescriptor
from payments.network import NETWORKS

_TWO_WAYS = """
Two ways for the coins to reach you:
  Watch-only (recommended): you give a descriptor of your own wallet; every payment lands there at
  once, and no key is on this machine.
  Forwarding: an encrypted seed on this machine receives, and each confirmed payment is sent on to
  your address; the fee is yours, and whoever takes the machine takes what is not sent on yet.
"""

Text = str | None
_SECRET_FILES = ("rpc_password_file", "seed_passphrase_file", "user_token_secret_file")


def init(
    config: ConfigOption = DEFAULT_CONFIG,
    network: Annotated[Text, typer.Option(help=", ".join(NETWORKS))] = None,
    rpc_url: Annotated[Text, typer.Option(help="RPC address of your node.")] = None,
    rpc_cookie_file: Annotated[Text, typer.Option(help="The node's cookie file.")] = None,
    rpc_user: Annotated[Text, typer.Option(help="User of an rpcauth line, instead of the cookie.")] = None,
    rpc_password_file: Annotated[Text, typer.Option(help="File with that user's password.")] = None,
    zmq_rawtx: Annotated[Text, typer.Option(help="e.g. tcp://127.0.0.1:28332")] = None,
    zmq_hashblock: Annotated[Text, typer.Option(help="e.g. tcp://127.0.0.1:28332")] = None,
    descriptor: Annotated[Text, typer.Option(help="Watch-only: descriptor of your wallet.")] = None,
    seed_file: Annotated[Text, typer.Option(help="Forwarding: the encrypted seed.")] = None,
    seed_passphrase_file: Annotated[Text, typer.Option(help="Forwarding: file with its passphrase.")] = None,
    forward_to: Annotated[Text, typer.Option(help="Forwarding: your address.")] = None,
    confirmations: Annotated[int | None, typer.Option(help="Blocks until credits are given.")] = None,
    database_url: Annotated[Text, typer.Option(help="sqlite:///… or postgresql://…")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API.")] = None,
    public_url: Annotated[Text, typer.Option(help="Address that your customers see.")] = None,
    user_token_secret_file: Annotated[Text, typer.Option(help="File with the users' token secret.")] = None,
) -> None:
    """Write a settings file and show the lines that bitcoin.conf needs. Asks for what no flag says."""
    if config.exists():
        refuse(f"--config: {config} exists already; remove it or name another file. Nothing was written.")
    ask = sys.stdin.isatty()
    network = network or (_asked("Network", "main") if ask else None)
    if network not in NETWORKS:
        refuse(f"--network {network or 'is missing'}: choose from {', '.join(NETWORKS)}.")
    rpc_url = rpc_url or (_asked("RPC address of your node", default_rpc_url(network)) if ask else None)
    if not (descriptor or seed_file or forward_to) and ask:
        print(_TWO_WAYS)
        if typer.confirm("Watch-only?", default=True):
            descriptor = _asked("Descriptor (without private keys)", None)
        else:
            seed_file = _asked("Seed file (made by `nodetill seed create`)", "seed.json")
            forward_to = _asked("Your address", None)
    _check_wallet(network, descriptor, seed_file, forward_to)
    answers = Answers(
        network=network,
        rpc_url=rpc_url or default_rpc_url(network),
        rpc_cookie_file=rpc_cookie_file,
        rpc_user=rpc_user,
        rpc_password_file=rpc_password_file,
        zmq_rawtx=zmq_rawtx or "tcp://127.0.0.1:28332",
        zmq_hashblock=zmq_hashblock or zmq_rawtx or "tcp://127.0.0.1:28332",
        descriptor=descriptor,
        seed_file=seed_file,
        seed_passphrase_file=seed_passphrase_file,
        forward_to=forward_to,
        confirmations_required=confirmations,
        database_url=database_url,
        api_port=port,
        public_url=public_url,
        user_token_secret_file=user_token_secret_file,
    )
    _try_out(answers, config)
    _write(config, render(answers))
    print(f"Wrote {config} (readable by you alone).\n")
    print(bitcoin_conf(answers.zmq_rawtx or "", answers.zmq_hashblock or "", rpc_user, forwarding=bool(forward_to)))
    print("Next: restart bitcoind, then")
    print(
        f"  ./nodetill keys create --name shop --scope payments:write --scope payments:read \\\n"
        f"      --scope credits:read --config {config}"
    )
    print(f"  ./nodetill serve --config {config}")


def _asked(question: str, default: str | None) -> str:
    answer: str = typer.prompt(question, default=default)
    return answer.strip()


def _check_wallet(network: str, descriptor: Text, seed_file: Text, forward_to: Text) -> None:
    if bool(descriptor) == bool(seed_file or forward_to):
        refuse("--descriptor, or --seed-file with --forward-to: give exactly one of the two ways. Nothing was written.")
    try:
        if descriptor:
            first = RangedDescriptor.parse(descriptor, network).derive(0)[1]
            print(f"First address of that descriptor: {first}")
            print("Compare it with the first receive address of your wallet.\n")
        elif not (seed_file and forward_to):
            refuse("Forwarding needs both --seed-file and --forward-to. Nothing was written.")
        else:
            script_pubkey(forward_to, network)
    except DescriptorError as error:
        refuse(f"--descriptor: {error}")
    except AddressError as error:
        refuse(f"--forward-to: {error}")


def _try_out(answers: Answers, config: Path) -> None:
    """Refuse now what `serve` would refuse later. Files with secrets may be made afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        secret, tried = Path(folder, "secret"), Path(folder, config.name)
        _write(secret, "x" * 64)
        given: dict[str, Any] = {name: str(secret) for name in _SECRET_FILES if getattr(answers, name) is not None}
        _write(tried, render(replace(answers, **given)))
        try:
            load(tried, {"HOME": os.environ.get("HOME", folder)})
        except ConfigurationError as error:
            refuse(f"{str(error).replace(str(tried), str(config))}\nNothing was written.")


def _write(path: Path, text: str) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        refuse(f"--config: {path} cannot be written: {error.strerror}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
