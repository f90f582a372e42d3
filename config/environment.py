"""Settings from environment variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from config.schema import JSON_KEYS, LISTS, SECTION_KEYS, nearest, variable

PREFIX = "NODETILL_"

NOT_SETTINGS = frozenset({"NODETILL_CONFIG", "NODETILL_CACHE", "NODETILL_VENV", "NODETILL_PYTHON"})
"""Variables of the launcher: they say where things are, and are no settings."""

PLAIN_NAMES = {
    "BITCOIN_CONFIRMATIONS_REQUIRED": ("payments", "confirmations_required"),
    "BITCOIN_PAYMENT_TIMEOUT_MINUTES": ("payments", "timeout_minutes"),
}
"""Names without our prefix that are understood too. Our own name wins over them."""

Found = dict[tuple[str, str], tuple[Any, str]]
"""(section, key) -> (value, name of the variable). For a list section the key is empty."""


def known_variables() -> dict[str, tuple[str, str]]:
    """Every variable with our prefix, and the setting it stands for."""
    known = {variable(name): (name, "") for name in LISTS}
    for section, keys in SECTION_KEYS.items():
        known.update({variable(section, key): (section, key) for key in keys})
    return known


def read_environment(environ: Mapping[str, str], problems: list[str]) -> Found:
    """All settings in `environ`. An empty variable counts as not set, as in compose files."""
    known = known_variables()
    found: Found = {}
    for name, setting in PLAIN_NAMES.items():
        if environ.get(name):
            found[setting] = (environ[name], name)
    for name in sorted(environ):
        if not name.upper().startswith(PREFIX) or name in NOT_SETTINGS:
            continue
        if name not in known:
            problems.append(
                f"{name} is not a setting of nodetill{nearest(name.upper(), known)}; "
                "correct the variable's name or unset it"
            )
        elif environ[name]:
            section, key = known[name]
            value: Any = environ[name]
            if not key or (section, key) in JSON_KEYS:
                value = _json(name, environ[name], problems)
            if value is not None:
                found[section, key] = (value, name)
    return found


def _json(name: str, text: str, problems: list[str]) -> list[Any] | None:
    try:
        value = json.loads(text, parse_float=Decimal)
    except ValueError:
        value = None
    if isinstance(value, list):
        return value
    problems.append(f"{name} must be a JSON list, such as [{{…}}, {{…}}]")
    return None
