"""nodetill: a till beside your own Bitcoin node. This file is the command line's table of contents."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib import import_module

if __name__ == "__main__":
    # Loading takes a second, and Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError, UsageError

COMMANDS = ("audit", "backup", "bench", "demo", "doctor", "init", "replay", "restore", "serve", "signer")
"""Each is the function of that name in `commands/`."""

GROUPS = ("credits", "forward", "keys", "payments", "seed")
"""Each is the `app` of that module in `commands/`, with commands of its own."""


def command_line(word: str | None = None) -> typer.Typer:
    """The whole command line; of the named command nothing but itself: all of them take a second to load."""
    app = typer.Typer(
        name="nodetill",
        help="A till beside your own Bitcoin node: self-hosted payments, no third party.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        epilog="`./nodetill test` runs all tests on a real regtest node and both databases.",
    )
    app.callback()(lambda: None)  # otherwise a single command would be taken for the whole program
    alone = word in COMMANDS + GROUPS
    for name in COMMANDS:
        if name == word or not alone:
            app.command()(getattr(import_module(f"commands.{name}"), name))
    for name in GROUPS:
        if name == word or not alone:
            app.add_typer(import_module(f"commands.{name}").app, name=name)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 ok, 1 found a problem, 2 wrong usage or configuration."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return int(command_line(*words[:1])(words, prog_name="nodetill", standalone_mode=False) or 0)
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
    command_line(*sys.argv[1:2])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    raise SystemExit(main())
