"""What commands say: results on standard output, trouble in one line on standard error."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer

from config.errors import ConfigurationError
from config.load import load
from config.settings import Settings
from storage.errors import DatabaseBusy, DatabaseUnusable

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_CONFIG = Path("nodetill.toml")
ConfigOption = Annotated[Path, typer.Option("--config", help="The settings file.", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def refuse(message: str) -> NoReturn:
    """End with exit code 2: wrong usage or configuration. One line a problem, never a traceback."""
    for line in message.splitlines():
        print(f"nodetill: {line}", file=sys.stderr)
    raise typer.Exit(2)


def settings_from(config: Path) -> Settings:
    """Read the settings, or refuse with the sentences that say what is wrong."""
    try:
        return load(config, os.environ)
    except ConfigurationError as error:
        refuse(str(error))


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def with_database(command: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Run an async command; a database that cannot be used ends it with exit code 2."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return asyncio.run(command(*args, **kwargs))
        except (DatabaseUnusable, DatabaseBusy) as error:
            refuse(str(error))

    return run
