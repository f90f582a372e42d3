"""`nodetill signer`: the process that has the keys of forwarding mode, and signs within its own caps."""

from __future__ import annotations

import grp
import json
import os
import sys
from decimal import Decimal
from getpass import getpass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from commands.console import refuse
from commands.log_output import set_up
from config.errors import ConfigurationError
from config.secrets import read_secret
from config.signer import SignerSettings, load_signer
from node_watcher.signing import wire
from node_watcher.signing.caps import Caps
from node_watcher.signing.door import Admitted
from node_watcher.signing.exposure import Exposed, refuse_exposed_file
from node_watcher.signing.guarded import Description
from node_watcher.signing.hardening import no_core_dumps, not_for_debuggers
from node_watcher.signing.run import CannotSign, SignerPlan, describe, opened, run_signer
from payments.address import AddressError, script_pubkey
from payments.keys import SlowBackend, assert_fast_backend

_EARLIER_SECONDS = 5.0


def signer(
    config: Annotated[Path, typer.Option("--config", help="The signer's own settings file.")] = Path("signer.toml"),
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """Sign forwards in a process of its own, for one destination and within its own caps. `serve` asks it."""
    no_core_dumps()
    not_for_debuggers()
    if child:
        _child()
        return
    settings = _settings(config)
    set_up(None, "info")
    plan = _plan(settings)
    try:
        assert_fast_backend()
        seed = opened(plan, _passphrase(settings))
        run_signer(plan, seed, _say, None)
    except (CannotSign, SlowBackend) as error:
        refuse(f"signer: {error}")


def _say(description: Description) -> None:
    print(f"The signer runs: {description.descriptor}, to {description.destination} only.", flush=True)


# ------------------------------------------------------------------ with its own settings file


def _settings(config: Path) -> SignerSettings:
    try:
        settings = load_signer(config)
        refuse_exposed_file(config, "--config: the signer's settings file")
        return settings
    except (ConfigurationError, Exposed) as error:
        refuse(str(error))


def _plan(settings: SignerSettings) -> SignerPlan:
    try:
        script = script_pubkey(settings.destination, settings.network)
    except AddressError as error:
        refuse(f"destination: {error}")
    caps = Caps(settings.destination, script, settings.max_feerate, settings.max_fee_sat, settings.daily_cap_sat)
    admitted = Admitted(settings.allow_uid, _group(settings.allow_group))
    return SignerPlan(settings.network, settings.seed_file, settings.socket, settings.journal, caps, admitted)


def _group(named: str | int | None) -> int | None:
    if not isinstance(named, str):
        return named
    try:
        return grp.getgrnam(named).gr_gid
    except KeyError:
        refuse(f"allow_group: there is no group {named} on this machine; write its name or number.")


def _passphrase(settings: SignerSettings) -> str:
    if settings.seed_passphrase_file is None:
        if not sys.stdin.isatty():
            refuse("seed_passphrase_file is missing and there is no terminal to ask for the passphrase.")
        return getpass(f"Passphrase of {settings.seed_file}: ")
    problems: list[str] = []
    try:
        refuse_exposed_file(settings.seed_passphrase_file, "seed_passphrase_file:", secret=True)
    except Exposed as error:
        refuse(str(error))
    secret = read_secret("seed_passphrase_file", settings.seed_passphrase_file, problems)
    if secret is None:
        refuse("\n".join(problems))
    return secret


# ------------------------------------------------------------------ as the child of `serve`


def _child() -> None:
    """The order is one line on standard input; the answer one line on standard output. See `SignerChild`."""
    order = json.loads(_first_line())
    set_up(order["log_format"], order["log_level"])
    passphrase = order.pop("passphrase")
    network, destination = order["network"], order["destination"]
    caps = Caps(
        destination,
        script_pubkey(destination, network),
        Decimal(order["max_feerate"]),
        order["max_fee_sat"],
        order["daily_cap_sat"],
    )
    socket, journal = Path(order["socket"]), Path(order["journal"])
    plan = SignerPlan(network, Path(order["seed_file"]), socket, journal, caps, Admitted(), _EARLIER_SECONDS)
    try:
        seed = opened(plan, passphrase)
    except CannotSign as error:
        _end(f"wallet.seed_file: {error}")
    del passphrase
    if order["describe_only"]:
        _tell(wire.described(describe(seed, network, caps)))
        return
    try:
        run_signer(plan, seed, lambda description: _tell(wire.described(description)), sys.stdin.fileno())
    except CannotSign as error:
        _end(f"The signer cannot start: {error} (wallet.signer_journal names another place)")
    finally:
        _clear(socket)


def _first_line() -> bytes:
    """Unbuffered: what comes after it is the end, for which the server waits."""
    line = b""
    while not line.endswith(b"\n"):
        if not (part := os.read(sys.stdin.fileno(), 1)):
            raise typer.Exit(2)
        line += part
    return line


def _tell(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _end(sentence: str) -> NoReturn:
    _tell(wire.refused(sentence))
    raise typer.Exit(2)


def _clear(socket: Path) -> None:
    """Take the folder away that was made for us, should our parent have been killed."""
    socket.with_name(f"{socket.name}.lock").unlink(missing_ok=True)
    try:
        socket.parent.rmdir()
    except OSError:
        return  # something else is in it, or the parent was faster
