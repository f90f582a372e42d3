"""`nodetill forward psbt`: money out where nobody signs here. A PSBT goes out, and comes back signed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from commands.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    refuse,
    settings_from,
)
from commands.psbt_file import check_new, read_signed
from commands.psbt_in import say_came, take_in
from commands.psbt_out import give_out, hand_out
from config.settings import Settings
from node_watcher.rpc import NodeError
from node_watcher.signing.signer import SignerError
from storage.errors import NotToBeSpent

_PATIENCE_SECONDS = 60


def psbt(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write what is to be signed: binary where the name ends in .psbt, else base64; - prints it.",
        ),
    ] = None,
    in_: Annotated[
        Path | None,
        typer.Option("--in", metavar="FILE", help="Take the signed one back (base64, binary, hex); - reads a pipe."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Which batch of those that go now.")] = 1,
    replace: Annotated[
        str | None, typer.Option(metavar="TXID", help="The next version of a sweep under way, for a higher fee.")
    ] = None,
    wait: Annotated[
        int, typer.Option(min=0, help="Seconds until which the service should have sent it.")
    ] = _PATIENCE_SECONDS,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Hand out a sweep as a PSBT, unsigned, for a hardware or offline wallet, or take the signed one back."""
    if (out is None) == (in_ is None):
        refuse("forward psbt: either --out FILE, for what is to be signed, or --in FILE, which is signed.")
    if in_ is not None and (replace is not None or batch != 1):
        refuse("--in: --batch and --replace are for --out; what is taken back says itself what it is.")
    if replace is not None and batch != 1:
        refuse("--replace: a sweep has no batches; leave --batch out.")
    settings = settings_from(config)
    _offline(settings)
    try:
        if out is not None:
            check_new(out)
            handed = hand_out(settings, batch, _txid(replace))
            give_out(handed, out, as_json)
        elif in_ is not None:
            say_came(take_in(settings, read_signed(in_), wait), as_json)
    except NodeError as error:
        refuse(str(error))
    except (SignerError, NotToBeSpent) as error:
        print(f"nodetill: {_one_line(error)}. Nothing was changed.", file=sys.stderr)
        raise typer.Exit(1) from None


def _offline(settings: Settings) -> None:
    if settings.wallet.mode == "watch-only":
        refuse("wallet.forward_to is not set: this till is watch-only, its coins are in your wallet at once.")
    if settings.wallet.mode == "forwarding":
        name = "wallet.signer_socket" if settings.wallet.seed_file is None else "wallet.seed_file"
        refuse(f"{name} is set: the service signs by itself; `nodetill forward plan` shows what goes when.")


def _txid(text: str | None) -> str | None:
    if text is None:
        return None
    text = text.strip().lower()
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        refuse("--replace: 64 hexadecimal digits are needed, as `nodetill forward plan` shows them.")
    return text


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
