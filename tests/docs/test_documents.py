"""The documents say what the code does: every name that the code gives away stands in them, and the other way round."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, cast, get_args

import pytest
import typer
from pydantic import BaseModel

import main
from api.app import BASE, make_app
from api.problem import Kind
from api.shop import DemoNode, Shop
from commands.permissions import FORWARDING_METHODS, RPC_METHODS
from commands.preflight import HWM_WANTED
from config.checkpoint import Checkpoint
from config.environment import PLAIN_NAMES
from config.payments import Tier
from config.rpc_address import WitnessNodeSettings
from config.schema import LISTS, SECRETS
from config.settings import Settings
from payments.difference import Check
from payments.events import EventType
from payments.ledger import AccountKind, TransferKind
from payments.model import Flag, OutputState, Status
from storage.api_keys import SCOPES
from storage.database import Database
from tests.docs.pages import ROOT, code_words, pages, rows, shell, text

PACKAGES = ("api", "commands", "config", "node_watcher", "payments", "storage")

LOG_LINES = (
    "Bitcoin payment background processor started",
    "Created Bitcoin payment {payment_id} for user {user_id}: {amount_btc} BTC",
    "Payment {payment_id} confirmed! Auto-processing...",
    "Auto-processed payment {payment_id}: Added {credits} credits to user {user_id}",
    "Successfully forwarded {amount_btc} BTC. TX: {txid}",
    "Error processing payment {payment_id}: {error}",
)
"""What operators grep for: these never change."""


def sources() -> Iterator[ast.AST]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield from ast.walk(ast.parse(path.read_text("utf-8")))


def texts_in_code() -> set[str]:
    return {node.value for node in sources() if isinstance(node, ast.Constant) and isinstance(node.value, str)}


# ------------------------------------------------------------------ settings


def settings() -> Iterator[tuple[str, Any]]:
    """`(section.key, default)`; a default of ... where there is none to show."""
    for section, field in Settings.model_fields.items():
        if section in LISTS:
            model = cast(type[BaseModel], get_args(field.annotation)[0])  # tuple[Model, ...]
        else:
            model = cast(type[BaseModel], field.annotation)
        for key, inner in model.model_fields.items():
            yield f"{section}.{key}", inner.get_default() if not inner.is_required() else ...


@pytest.mark.parametrize(("name", "default"), [*settings()], ids=lambda value: value if isinstance(value, str) else "")
def test_each_setting_is_in_the_configuration_with_its_default(name: str, default: Any) -> None:
    row = next((line for line in text("docs/configuration.md").splitlines() if line.startswith(f"| `{name}`")), None)
    assert row is not None, f"docs/configuration.md has no row for {name}"
    if isinstance(default, bool):
        default = str(default).lower()
    if isinstance(default, (int, str, Decimal)):
        assert re.search(rf"(?<![\w.]){re.escape(str(default))}(?![\w.])", row), f"{name}: the default is {default}"


def test_settings_that_are_no_keys_of_a_table_are_in_the_configuration() -> None:
    words = code_words("docs/configuration.md")
    assert {f"{section}.{key}_file" for section, key in SECRETS} <= words
    assert set(PLAIN_NAMES) <= words
    for inner in (Tier, WitnessNodeSettings, Checkpoint):
        assert set(inner.model_fields) <= words
    assert "rpc_password_file" in words


def test_each_documented_setting_exists() -> None:
    known = {name for name, _ in settings()} | {f"{section}.{key}_file" for section, key in SECRETS}
    known.add("webhooks.secret_file")
    sections = "|".join(Settings.model_fields)
    for page in pages():
        named = {w for w in code_words(page) if re.fullmatch(rf"({sections})\.[a-z_]+", w)}
        assert named - known == set(), page


# ------------------------------------------------------------------ the API


def routes() -> list[tuple[str, str]]:
    database = Database("sqlite:///never-opened.db")
    shop = Shop(
        database=database,
        network="regtest",
        packages=(),
        keychain_id=1,
        derive=lambda index: (b"", ""),
        public_url="",
        demo=cast(DemoNode, object()),  # never asked: it is there so that the demo's routes are
    )
    made = make_app(shop)
    return [
        (route.method, route.resource.canonical.removeprefix(BASE))
        for route in made.router.routes()
        if route.method != "HEAD" and route.resource is not None
    ]


@pytest.mark.parametrize(("method", "path"), routes())
def test_each_route_is_described(method: str, path: str) -> None:
    assert re.search(rf"\b{method} {re.escape(path)}(?![\w/{{])", text("docs/api.md"))


@pytest.mark.parametrize(
    "path", sorted({path for _, path in routes() if not re.match(r"/$|/(pay|docs|static|demo)/", path)})
)
def test_each_route_has_an_example(path: str) -> None:
    shape = re.escape(path).replace(r"\{payment_id\}", r"\$ID").replace(r"\{user_id\}", r"\w+")
    assert re.search(rf"(\$TILL|127\.0\.0\.1:8480){shape}(?=[\s\"?])", shell("docs/api.md"))


def test_each_documented_route_exists() -> None:
    shown = re.findall(r"\b(GET|POST) (/[\w/{}.-]*)", text("docs/api.md") + text("README.md"))
    assert set(shown) - set(routes()) == set()


@pytest.mark.parametrize("names", [EventType, Status, Flag, OutputState, Kind], ids=lambda names: names.__name__)
def test_each_name_of_the_api_is_described(names: type[StrEnum]) -> None:
    shown = {member.code if isinstance(member, Kind) else member.value for member in names}
    assert shown - code_words("docs/api.md") == set()


def test_each_documented_event_exists() -> None:
    shown = {word for word in code_words("docs/api.md") if re.fullmatch(r"(payment|credits|till)\.[a-z_]+", word)}
    assert shown == {event.value for event in EventType}


def test_each_scope_is_described() -> None:
    assert set(SCOPES) <= code_words("docs/api.md")


# ------------------------------------------------------------------ what operators look at


def logged(template: str) -> re.Pattern[str]:
    """The text in the code from which a documented line is made."""
    return re.compile("%[sd]".join(re.escape(part) for part in re.split(r"\{\w+\}", template)))


def test_log_lines_of_the_code_are_as_documented() -> None:
    cells = [row[0] for row in rows("docs/operations.md", "line")]
    documented = [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]
    assert set(LOG_LINES) <= set(documented)
    known = texts_in_code()
    for line in documented:
        assert any(logged(line).fullmatch(found) for found in known), f"nothing logs {line!r}"


def test_each_reason_of_readyz_is_described() -> None:
    codes = {
        node.args[0].value
        for node in sources()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("Reason", "_reason")
        and isinstance(node.args[0], ast.Constant)
    }
    assert codes == {row[0].strip("`") for row in rows("docs/operations.md", "code")}


def test_each_metric_is_described() -> None:
    exported = {found for found in texts_in_code() if re.fullmatch(r"nodetill_[a-z_]+", found)}
    assert exported
    assert exported == {row[0].strip("`").split("{")[0] for row in rows("docs/operations.md", "metric")}


# ------------------------------------------------------------------ the schema


async def test_each_table_and_column_is_described(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path / 'till.db'}"):
        pass
    described = {row[0].strip("`"): row[2] for row in rows("docs/schema.md", "table")}
    with sqlite3.connect(tmp_path / "till.db") as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        columns = {name: [c[1] for c in connection.execute(f"PRAGMA table_info({name})")] for name in tables}
    connection.close()
    assert set(described) == set(tables)
    for table, names in columns.items():
        for name in set(names) - {"only_row", "id"}:  # keys that mean nothing beyond their row
            assert f"`{name}`" in described[table], f"docs/schema.md does not tell what {table}.{name} is"


def test_each_check_of_an_audit_is_described() -> None:
    assert {check.value for check in Check} == {row[0].strip("`") for row in rows("docs/operations.md", "check")}


def test_each_kind_of_account_and_transfer_is_described() -> None:
    assert {kind.value for kind in (*AccountKind, *TransferKind)} <= code_words("docs/schema.md")


# ------------------------------------------------------------------ commands, and the node's side


def commands(command: Any, name: str = "") -> Iterator[str]:
    """`demo`, `keys create`, …: the leaves of the command line."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name
        return
    for word, below in inner.items():
        yield from commands(below, f"{name} {word}".strip())


@pytest.mark.parametrize("name", ["test", *commands(typer.main.get_command(main.command_line()))])
def test_each_command_is_in_the_readme(name: str) -> None:
    assert re.search(rf"(nodetill |`){re.escape(name)}\b", text("README.md"))


def test_the_least_privileges_are_those_that_are_asked_for() -> None:
    readme = text("README.md")
    assert f"rpcwhitelist=nodetill:{','.join(RPC_METHODS)}\nrpcwhitelistdefault=0\n" in readme
    assert f"`,{','.join(FORWARDING_METHODS)}`" in readme
    assert f"zmqpubrawtxhwm={HWM_WANTED}\n" in readme


# ------------------------------------------------------------------ the documents themselves


def slug(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        assert there.exists(), f"{page} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text("utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{page} links to {target}"


def test_the_example_of_the_readme_is_python() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", text("README.md"), re.DOTALL)
    tree = ast.parse(example)
    assert {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} >= {"buy", "pages_of_events"}


def test_decisions_are_short_and_numbered_without_gaps() -> None:
    found = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in found] == list(range(1, len(found) + 1))
    for path in found:
        lines = path.read_text("utf-8").splitlines()
        assert lines[0].startswith(f"# {path.name[:4]} ")
        assert len(lines) < 40, path.name
        assert [line for line in lines if line.startswith("## ")] == ["## Context", "## Decision", "## Consequences"]
