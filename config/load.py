"""Reads nodetill.toml and the environment into `Settings`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config.database import anchored, holds_password
from config.environment import Found, read_environment
from config.errors import ConfigurationError
from config.file import check_names, check_private, read_file
from config.node import NETWORKS, default_cookie_file, default_rpc_url
from config.schema import LISTS, PATHS, SECRETS
from config.secrets import read_secret
from config.sentences import sentences
from config.settings import Settings

__all__ = ["ConfigurationError", "Settings", "load"]


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings from the file at `path` (None: no file) and from `environ`.

    A `NODETILL_…` variable wins over a plain `BITCOIN_…` one, that over the file, the file over the
    default. Paths in the file are relative to it, paths in the environment to the current folder.
    Raises `ConfigurationError` with one line per problem.
    """
    problems: list[str] = []
    found = read_environment(environ, problems)
    tables: dict[str, Any] = {}
    folder = Path.cwd()
    sources: dict[str, str] = {}
    if path is not None:
        tables = check_names(read_file(path), path, problems)
        folder = path.absolute().parent
        check_private(path, _holds_secret(tables), problems)
        for section, value in tables.items():
            keys = [section] if section in LISTS else [f"{section}.{key}" for key in value]
            sources.update(dict.fromkeys(keys, str(path)))
    _anchor(tables, folder, environ)
    _overlay(tables, found, sources, environ)
    if not _secrets(tables, sources, problems):
        # Going on would only add "is missing" to a cause that is already named.
        raise ConfigurationError(problems)
    _defaults(tables, folder, environ)
    try:
        settings = Settings.model_validate(tables)
    except ValidationError as error:
        problems += sentences(error, sources)
        raise ConfigurationError(problems) from None
    if problems:
        raise ConfigurationError(problems)
    return settings


def _holds_secret(tables: dict[str, Any]) -> bool:
    for section, key in SECRETS:
        value = tables.get(section, {}).get(key)
        if isinstance(value, str) and (key != "url" or holds_password(value)):
            return True
    return any(key in item for item, key, _ in _items(tables))


def _items(tables: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Tables in lists that may hold a secret: the table, the secret's key, its name for people."""
    witnesses = tables.get("node", {}).get("witness_nodes")
    for items, key, name in (
        (tables.get("webhooks"), "secret", "webhooks"),
        (witnesses, "rpc_password", "node.witness_nodes"),
    ):
        for number, item in enumerate(items if isinstance(items, list) else [], 1):
            if isinstance(item, dict):
                yield item, key, f"{name} number {number}: {key}"


def _place(value: str, folder: Path, environ: Mapping[str, str]) -> str:
    """A path as a person writes it, made absolute below `folder`."""
    if value == "~" or value.startswith("~/"):
        return str(Path(environ.get("HOME") or Path.home()) / value[2:])
    return str(folder / value)


def _anchor(tables: dict[str, Any], folder: Path, environ: Mapping[str, str]) -> None:
    """Makes every path in `tables` absolute. Wrong types stay for the models to name."""
    for section, key in [*PATHS, *((section, f"{key}_file") for section, key in SECRETS)]:
        value = tables.get(section, {}).get(key)
        if isinstance(value, str) and value:
            tables[section][key] = _place(value, folder, environ)
    for item, key, _ in _items(tables):
        for path in (f"{key}_file", "rpc_cookie_file"):
            if isinstance(item.get(path), str):
                item[path] = _place(item[path], folder, environ)
    url = tables.get("database", {}).get("url")
    if isinstance(url, str):
        tables["database"]["url"] = anchored(url, folder)


def _overlay(tables: dict[str, Any], found: Found, sources: dict[str, str], environ: Mapping[str, str]) -> None:
    """Lays the environment over the file. A secret and its `_file` replace each other."""
    above: dict[str, Any] = {}
    for (section, key), (value, name) in found.items():
        if key:
            above.setdefault(section, {})[key] = value
        else:
            above[section] = value
        sources[f"{section}.{key}" if key else section] = name
    _anchor(above, Path.cwd(), environ)
    for section, key in SECRETS:
        if {key, f"{key}_file"} & above.get(section, {}).keys():
            for name in (key, f"{key}_file"):
                tables.get(section, {}).pop(name, None)
    for section, values in above.items():
        tables[section] = {**tables.get(section, {}), **values} if section not in LISTS else values


def _secrets(tables: dict[str, Any], sources: dict[str, str], problems: list[str]) -> bool:
    """Replaces every `<secret>_file` by what stands in the file. False when one cannot be."""
    before = len(problems)
    places = [(tables[name], key, f"{name}.{key}") for name, key in SECRETS if name in tables]
    places += _items(tables)
    for table, key, setting in places:
        name = table.pop(f"{key}_file", None)
        if name is None:
            continue
        if table.get(key) is not None:
            problems.append(f"{setting} and {setting}_file are both set; keep one of the two")
        elif not isinstance(name, str) or not name:
            problems.append(f'{setting}_file must be a path in quotes, such as "…"')
        else:
            secret = read_secret(f"{setting}_file", Path(name), problems)
            if secret is not None:
                table[key] = secret
                sources[setting] = name
    return len(problems) == before


def _defaults(tables: dict[str, Any], folder: Path, environ: Mapping[str, str]) -> None:
    """What depends on the network, on the person's home or on the file's folder."""
    node = tables.setdefault("node", {})
    tables.setdefault("wallet", {})
    network = node.get("network")
    if network in NETWORKS:
        node.setdefault("rpc_url", default_rpc_url(network))
        if not node.keys() & {"rpc_cookie_file", "rpc_user", "rpc_password"}:
            node["rpc_cookie_file"] = str(default_cookie_file(network, environ))
        if network == "regtest":
            payments = tables.setdefault("payments", {})
            payments.setdefault("check_interval_seconds", Decimal(1))
    elif "rpc_url" not in node:
        node["rpc_url"] = default_rpc_url("main")  # one problem is enough: the network is named
    database = tables.setdefault("database", {})
    database.setdefault("url", anchored("sqlite:///nodetill.db", folder))
