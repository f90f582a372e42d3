"""The room that has the keys imports nothing of the service: what is not loaded cannot leak them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

LOADED = """
import sys
import node_watcher.signing.run, node_watcher.signing.child, node_watcher.signing.remote
from node_watcher.signing.signers import open_signer
open_signer(bytes)
print("\\n".join(sorted(sys.modules)))
"""


def test_what_is_loaded_beside_it() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    ours = {name.split(".")[0] for name in loaded} & {"api", "commands", "config", "storage", "regtest"}
    assert ours == set()
    assert {name for name in loaded if name.startswith("node_watcher.") and ".signing" not in name} == set()
    assert loaded & {"aiohttp", "asyncio", "sqlite3", "psycopg", "zmq"} == set()


def test_the_contract_names_every_other_room() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = [
        one
        for one in contracts
        if one["source_modules" if "source_modules" in one else "layers"] == ["node_watcher.signing"]
    ]
    rooms = {
        f"node_watcher.{path.stem}"
        for path in (ROOT / "node_watcher").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem not in ("__init__", "signing")
    }
    assert rooms - set(contract["forbidden_modules"]) == set(), "add it to pyproject.toml"
