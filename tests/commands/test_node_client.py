"""What `[node]` says of the right chain arrives where it is asked."""

from __future__ import annotations

from pathlib import Path

from commands.node_client import chain_rules, witness_nodes
from config.load import load
from node_watcher.chain_rules import rules_of
from payments.model import BlockId
from tests.config.test_load import MINIMAL, written


def test_rules_as_shipped_and_as_set(tmp_path: Path) -> None:
    assert chain_rules(load(written(tmp_path, MINIMAL), {})) == rules_of("regtest")
    own = f'checkpoints = [{{height = 7, hash = "{"ab" * 32}"}}]\naccept_version = "/x/"\nstale_after_minutes = 30\n'
    settings = load(written(tmp_path, MINIMAL.replace("[wallet]", f"{own}[wallet]")), {})
    assert chain_rules(settings) == rules_of(
        "regtest", checkpoints=[BlockId(7, "ab" * 32)], accept_version="/x/", stale_after_ms=30 * 60_000
    )


def test_witnesses_have_their_own_address_and_login(tmp_path: Path) -> None:
    one = '{rpc_url = "http://a:1", rpc_cookie_file = "a"}'
    two = '{rpc_url = "http://b:2", rpc_user = "u", rpc_password = "p"}'
    settings = load(written(tmp_path, MINIMAL.replace("[wallet]", f"witness_nodes = [{one}, {two}]\n[wallet]")), {})
    assert [witness.url for witness in witness_nodes(settings)] == ["http://a:1", "http://b:2"]
