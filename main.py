"""nodetill: a till beside your own Bitcoin node. This file is the command line's table of contents."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

if __name__ == "__main__":
    # Loading takes a second, and Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError, UsageError

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 ok, 1 found a problem, 2 wrong usage or configuration."""
    try:
        return int(app(arguments, prog_name="nodetill", standalone_mode=False) or 0)
    except NoArgsIsHelpError as shown:
        shown.show()
        return 2
    except UsageError as wrong:
        # One line, as for everything else that is to be corrected, and not a box of six.
        where = wrong.ctx.command_path if wrong.ctx is not None else "nodetill"
        return _refused(f"{wrong.format_message().rstrip('.')}; see {where} --help")
    except ClickException as wrong:
        return _refused(wrong.format_message())
    except KeyboardInterrupt:
        return 130
    except typer.Abort:
        return _refused("the input ended before everything was answered; nothing was written")


def _refused(sentence: str) -> int:
    print(f"nodetill: {' '.join(sentence.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    raise SystemExit(main())
