"""The container's health check: where it asks, and what it answers when nobody is there."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import api.healthcheck
from api.healthcheck import address
from regtest.free_ports import free_port
from tests.api.till import Till


@pytest.mark.parametrize(
    ("text", "environ", "url"),
    [
        (None, {}, "http://127.0.0.1:8480/healthz"),
        ("# nothing", {"NODETILL_API__PORT": ""}, "http://127.0.0.1:8480/healthz"),
        ('[api]\nhost = "10.0.0.5"\nport = 99', {}, "http://10.0.0.5:99/healthz"),
        ("[api]\nport = 99", {"NODETILL_API__PORT": "98"}, "http://127.0.0.1:98/healthz"),
        ("", {"NODETILL_API__HOST": "0.0.0.0"}, "http://127.0.0.1:8480/healthz"),
        ('[api]\nhost = "[::]"', {}, "http://[::1]:8480/healthz"),
    ],
)
def test_it_asks_where_the_settings_say(tmp_path: Path, text: str | None, environ: dict[str, str], url: str) -> None:
    file = tmp_path / "nodetill.toml"
    if text is not None:
        file.write_text(text)
    assert address(file, environ) == url


async def test_a_living_service_is_healthy(till: Till, tmp_path: Path) -> None:
    done = await asyncio.to_thread(_check, till.client.port or 0, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_silence_is_not(tmp_path: Path) -> None:
    done = _check(free_port(), tmp_path)
    assert done.returncode == 1
    assert "refused" in done.stderr


def _check(port: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it as the image does."""
    command = [sys.executable, "-I", str(api.healthcheck.__file__)]
    environment = {**os.environ, "NODETILL_API__PORT": str(port)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
