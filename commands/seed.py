"""`nodetill seed`: the encrypted seed of forwarding mode."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from commands.console import JsonOption, print_json, refuse
from commands.keychain import passphrase_from
from commands.seed_words import show_and_confirm
from node_watcher.signing.seed import create as create_seed
from node_watcher.signing.seed import import_mnemonic, open_seed
from node_watcher.signing.seed import verify as verify_seed
from node_watcher.signing.seed_file import SeedError, refuse_existing
from payments.network import NETWORKS

app = typer.Typer(no_args_is_help=True, help="The encrypted seed of forwarding mode.")

PassphraseOption = Annotated[str | None, typer.Option(help="File whose first line is the passphrase.")]
OutOption = Annotated[Path, typer.Option("--out", help="The seed file to write; it must not exist.")]
SeedArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The seed file.")]
NetworkOption = Annotated[str, typer.Option(help="main, testnet4, signet or regtest.")]


@app.command("create")
def create(
    out: OutOption,
    passphrase_file: PassphraseOption = None,
    words: Annotated[int, typer.Option(help="12 or 24 words.")] = 12,
    as_json: JsonOption = False,
) -> None:
    """Make a seed and show its words once. Write them on paper: they are the only other copy."""
    if words not in (12, 24):
        refuse("--words: choose 12 or 24.")
    _refuse_existing(out)
    passphrase = passphrase_from(passphrase_file, twice=True)
    try:
        mnemonic = create_seed(out, passphrase, 12 if words == 12 else 24)
    except SeedError as error:
        refuse(str(error))
    if as_json:
        print_json({"file": str(out), "mnemonic": mnemonic})
        return
    if sys.stdin.isatty() and sys.stdout.isatty():
        show_and_confirm(mnemonic, out)
        return
    print(mnemonic)
    print(
        f"These words are shown once. Write them on paper, then check with: nodetill seed verify {out}",
        file=sys.stderr,
    )


@app.command("import")
def import_(out: OutOption, passphrase_file: PassphraseOption = None) -> None:
    """Make a seed file of words that you have; they are read from standard input."""
    _refuse_existing(out)
    passphrase = passphrase_from(passphrase_file, twice=True)
    if sys.stdin.isatty():
        print("Words, on one line:", file=sys.stderr)
    try:
        import_mnemonic(out, sys.stdin.readline(), passphrase)
    except SeedError as error:
        refuse(str(error))
    print(f"Wrote {out}.")


@app.command("verify")
def verify(
    file: SeedArgument,
    passphrase_file: PassphraseOption = None,
    with_words: Annotated[bool, typer.Option("--with-words", help="Compare with the words on standard input.")] = False,
) -> None:
    """Check that the passphrase opens the file, and that your paper holds the same words."""
    passphrase = passphrase_from(passphrase_file, twice=False)
    mnemonic: str | None = None
    if with_words or sys.stdin.isatty():
        if sys.stdin.isatty():
            print("Words from your paper (empty to skip):", file=sys.stderr)
        mnemonic = sys.stdin.readline().strip() or None
    try:
        seed = verify_seed(file, passphrase, mnemonic)
    except SeedError as error:
        print(f"nodetill: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    print(
        f"{file} opens; its fingerprint is {seed.fingerprint}" + (", and the words are the same." if mnemonic else ".")
    )


@app.command("show-xpub")
def show_xpub(
    file: SeedArgument,
    network: NetworkOption = "main",
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the account's public descriptor, to watch the same addresses in another wallet."""
    if network not in NETWORKS:
        refuse(f"--network {network}: choose from {', '.join(NETWORKS)}.")
    try:
        seed = open_seed(file, passphrase_from(passphrase_file, twice=False))
    except SeedError as error:
        print(f"nodetill: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    descriptor = seed.account_descriptor(network)
    if as_json:
        print_json({"descriptor": descriptor, "fingerprint": seed.fingerprint})
    else:
        print(descriptor)


def _refuse_existing(out: Path) -> None:
    """Before anybody types a passphrase for nothing."""
    try:
        refuse_existing(out)
    except SeedError as error:
        refuse(f"--out: {error}")
