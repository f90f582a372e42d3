"""Which settings exist, read off the models: names, secrets, paths, lists."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import BaseModel

from config.settings import Settings

SECRETS = (
    ("node", "rpc_password"),
    ("wallet", "seed_passphrase"),
    ("api", "user_token_secret"),
    ("database", "url"),
)
"""Settings that may also be given as `<key>_file`: the name of a file that holds the value."""

PATHS = (
    ("node", "rpc_cookie_file"),
    ("wallet", "seed_file"),
    ("wallet", "signer_socket"),
    ("wallet", "signer_journal"),
)
"""Settings that are paths themselves."""

LISTS = ("packages", "webhooks")
"""Sections that are lists of tables; in an environment variable they are JSON."""

JSON_KEYS = (("payments", "tiers"), ("node", "witness_nodes"), ("node", "checkpoints"))
"""Keys whose environment variable is JSON."""


def _keys(section: str) -> frozenset[str]:
    annotation = Settings.model_fields[section].annotation
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        raise TypeError(f"the section {section} is no model")
    extra = {f"{key}_file" for name, key in SECRETS if name == section}
    return frozenset(annotation.model_fields) | extra


SECTION_KEYS: dict[str, frozenset[str]] = {name: _keys(name) for name in Settings.model_fields if name not in LISTS}
"""The keys of each section that is a table."""


def variable(section: str, key: str | None = None) -> str:
    """The environment variable of a setting."""
    name = section if key is None else f"{section}__{key}"
    return f"NODETILL_{name.upper()}"


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing when nothing is near."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""
