"""nodetill: a till beside your own Bitcoin node. This file is the command line's table of contents."""

from __future__ import annotations

import typer

from commands import keys, seed
from commands.bench import bench
from commands.demo import demo
from commands.init import init
from commands.serve import serve

app = typer.Typer(
    name="nodetill",
    help="A till beside your own Bitcoin node: self-hosted payments, no third party.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="`./nodetill test` runs all tests on a real regtest node and both databases.",
)
app.command()(bench)
app.command()(demo)
app.command()(init)
app.command()(serve)
app.add_typer(keys.app, name="keys")
app.add_typer(seed.app, name="seed")


if __name__ == "__main__":
    app(prog_name="nodetill")
