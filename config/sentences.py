"""pydantic's findings as sentences that tell a person what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from config.base import Section
from config.checkpoint import Checkpoint
from config.packages import PackageSettings
from config.payments import Tier
from config.rpc_address import WitnessNodeSettings
from config.schema import SECRETS, SECTION_KEYS, nearest
from config.webhooks import WebhookSettings

_KINDS = {
    "int": "must be a whole number",
    "decimal": "must be a number, such as 30 or 0.5",
    "finite": "must be a number, such as 30 or 0.5",
    "string": 'must be a text in quotes, such as "…"',
    "path": 'must be a path in quotes, such as "…"',
    "bool": "must be true or false",
    "tuple": "must be a list, such as […]",
    "model": "must be a table, such as {…}",
}

_MISSING = {
    "node.network": "is missing; set it to main, testnet4, signet or regtest, like your node",
}

_ITEMS: dict[str, type[Section]] = {
    "packages": PackageSettings,
    "webhooks": WebhookSettings,
    "tiers": Tier,
    "witness_nodes": WitnessNodeSettings,
    "checkpoints": Checkpoint,
}


def sentences(error: ValidationError, sources: Mapping[str, str]) -> list[str]:
    """One line per finding. `sources` says for `section.key` where its value came from."""
    return [_sentence(dict(item), sources) for item in error.errors(include_url=False)]


def _sentence(item: dict[str, Any], sources: Mapping[str, str]) -> str:
    loc: tuple[str | int, ...] = item["loc"]
    kind: str = item["type"]
    if kind == "value_error":
        message = str(item["ctx"]["error"])
        if (len(loc) == 1 and loc[0] in SECTION_KEYS) or not loc:
            return message  # a rule about several settings names them itself
    elif kind == "missing":
        message = _MISSING.get(".".join(map(str, loc)), "is missing; add it")
    elif kind == "extra_forbidden":
        known = next((list(m.model_fields) for k, m in _ITEMS.items() if k in loc), [])
        message = f"is not a setting{nearest(str(loc[-1]), known)}; correct or remove it"
    elif kind == "literal_error":
        message = f"must be one of {item['ctx']['expected'].replace(chr(39), '')}"
    else:
        message = _KINDS.get(kind.split("_", maxsplit=1)[0], item["msg"])
    return f"{_name(loc)} {message}{_origin(item, loc, sources)}"


def _name(loc: tuple[str | int, ...]) -> str:
    """`payments.tiers` number 2: above_sat. People count from one."""
    words = ""
    for part in loc:
        if isinstance(part, int):
            words += f" number {part + 1}:"
        elif words.endswith(":"):
            words += f" {part}"
        else:
            words += f".{part}" if words else part
    return words.removesuffix(":")


def _origin(item: dict[str, Any], loc: tuple[str | int, ...], sources: Mapping[str, str]) -> str:
    source = sources.get(".".join(map(str, loc[:2]))) or sources.get(str(loc[0]) if loc else "")
    value = item["input"]
    shown = isinstance(value, (str, int)) or type(value).__name__ == "Decimal"
    secret = loc[:2] in SECRETS or loc[0] == "wallet" or loc[-1] in ("secret", "rpc_password") or "@" in str(value)
    parts = []
    if shown and not secret and item["type"] not in ("missing", "extra_forbidden"):
        text = str(value)
        parts.append(f"it is {text if len(text) <= 60 else text[:60] + '…'!r}")
    if source:
        parts.append(f"from {source}")
    return f" ({', '.join(parts)})" if parts else ""
