"""nodetill.toml, written from plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Tables = Mapping[str, Any]
"""Settings as nodetill.toml has them: `{"payments": {"late": "hold"}, "packages": [{…}]}`."""


def toml_text(tables: Tables) -> str:
    """nodetill.toml with these tables. A None is left out."""
    lines: list[str] = []
    for section, values in tables.items():
        for table in values if isinstance(values, list) else [values]:
            lines.append(f"[[{section}]]" if isinstance(values, list) else f"[{section}]")
            lines += [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]
            lines.append("")
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    # JSON's strings, numbers and truth values are TOML's too.
    return json.dumps(value)
