"""Settings from nodetill.toml."""

from __future__ import annotations

import os
import stat
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

from config.errors import ConfigurationError
from config.schema import LISTS, SECTION_KEYS, nearest


def read_file(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, numbers with a point as Decimal.

    Raises `ConfigurationError` when it cannot be read or is not TOML; the line is named.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} does not exist; write it with `./nodetill init`, or name another file with --config"
        ) from None
    except IsADirectoryError:
        raise ConfigurationError(f"{path} is a folder; name the file in it with --config") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror}); give the service's user the right to read it"
        ) from None
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        # Python's message ends with "(at line 3, column 5)".
        raise ConfigurationError(f"{path} is not valid TOML: {error}; correct that line") from None


def check_names(tables: dict[str, Any], path: Path, problems: list[str]) -> dict[str, Any]:
    """The tables without what is unknown or of the wrong shape; each of those becomes a problem."""
    good: dict[str, Any] = {}
    for section, value in tables.items():
        if section in LISTS:
            if isinstance(value, list):
                good[section] = value
            else:
                problems.append(
                    f"{section} in {path} must be a list of tables; write [[{section}]] with two brackets above each"
                )
        elif section not in SECTION_KEYS:
            problems.append(_unknown_section(section, path))
        elif not isinstance(value, dict):
            problems.append(f"{section} in {path} must be a table; write [{section}] and its keys below")
        else:
            for key in value.keys() - SECTION_KEYS[section]:
                problems.append(
                    f"{section}.{key} in {path} is not a setting"
                    f"{nearest(key, SECTION_KEYS[section])}; correct or remove it"
                )
            good[section] = {k: v for k, v in value.items() if k in SECTION_KEYS[section]}
    return good


def _unknown_section(name: str, path: Path) -> str:
    homes = [section for section, keys in SECTION_KEYS.items() if name in keys]
    if homes:
        return f"{name} in {path} stands outside its table; move it below [{homes[0]}]"
    guess = nearest(name, [*SECTION_KEYS, *LISTS])
    return f"{name} in {path} is not a setting{guess}; correct or remove it"


def check_private(path: Path, holds_secret: bool, problems: list[str]) -> None:
    """A file with a secret in it must be its owner's alone."""
    if not holds_secret or os.name != "posix":
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        problems.append(f"{path} holds a secret and others can read it (mode {mode:04o}); run: chmod 600 {path}")
