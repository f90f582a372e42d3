"""[node]'s settings about the right chain: pins, witness nodes, and their secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.load import load
from tests.config.test_load import MINIMAL, written
from tests.config.test_refusals import refused

HASH = "AB" * 32


def with_node(text: str) -> str:
    return MINIMAL.replace("[wallet]", f"{text}\n[wallet]")


def test_nothing_is_asked_for_unless_it_is_set(tmp_path: Path) -> None:
    node = load(written(tmp_path, MINIMAL), {}).node
    assert (node.witness_nodes, node.checkpoints) == ((), ())
    assert (node.accept_version, node.stale_after_minutes) == (None, None)


def test_pins_version_and_age(tmp_path: Path) -> None:
    text = f'checkpoints = [{{height = 961_700, hash = "{HASH}"}}]\naccept_version = "/x/"\nstale_after_minutes = 30'
    node = load(written(tmp_path, with_node(text)), {}).node
    assert [(pin.height, pin.hash) for pin in node.checkpoints] == [(961_700, HASH.lower())]
    assert (node.accept_version, node.stale_after_minutes) == ("/x/", 30)


def test_a_witness_with_a_password_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "witness.txt").write_text("open sesame\n")
    text = 'witness_nodes = [{rpc_url = "http://a:1/", rpc_user = "me", rpc_password_file = "witness.txt"}]'
    (witness,) = load(written(tmp_path, with_node(text), 0o644), {}).node.witness_nodes
    assert (witness.rpc_url, witness.rpc_user) == ("http://a:1", "me")
    assert witness.rpc_password is not None
    assert witness.rpc_password.get_secret_value() == "open sesame"
    (problem,) = refused(written(tmp_path, with_node(text.replace("witness.txt", "gone.txt"))))
    assert problem.startswith(f"node.witness_nodes number 1: rpc_password_file: {tmp_path}/gone.txt does not exist")


def test_a_cookie_is_relative_to_the_file(tmp_path: Path) -> None:
    text = 'witness_nodes = [{rpc_url = "http://a:1", rpc_cookie_file = "w/.cookie"}]'
    (witness,) = load(written(tmp_path, with_node(text)), {}).node.witness_nodes
    assert witness.rpc_cookie_file == tmp_path / "w" / ".cookie"


def test_a_password_in_the_file_makes_it_private(tmp_path: Path) -> None:
    text = 'witness_nodes = [{rpc_url = "http://a:1", rpc_user = "me", rpc_password = "sesame"}]'
    assert load(written(tmp_path, with_node(text)), {}).node.witness_nodes
    (problem,) = refused(written(tmp_path, with_node(text), 0o644))
    assert "chmod 600" in problem


@pytest.mark.parametrize("password", ["739517395173", "true"])
def test_a_password_is_in_no_message(tmp_path: Path, password: str) -> None:
    text = f'witness_nodes = [{{rpc_url = "http://a:1", rpc_user = "me", rpc_password = {password}}}]'
    (problem,) = refused(written(tmp_path, with_node(text)))
    assert "number 1: rpc_password must be a text" in problem
    assert password not in problem.replace(str(tmp_path), "")


def test_lists_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {
        "NODETILL_NODE__CHECKPOINTS": json.dumps([{"height": 7, "hash": HASH}]),
        "NODETILL_NODE__WITNESS_NODES": json.dumps([{"rpc_url": "http://a:1", "rpc_cookie_file": "c"}]),
    }
    node = load(written(tmp_path, MINIMAL), environ).node
    assert [pin.height for pin in node.checkpoints] == [7]
    assert [witness.rpc_cookie_file for witness in node.witness_nodes] == [tmp_path / "c"]
    (problem,) = refused(written(tmp_path, MINIMAL), {"NODETILL_NODE__CHECKPOINTS": "961700"})
    assert "NODETILL_NODE__CHECKPOINTS must be a JSON list" in problem
