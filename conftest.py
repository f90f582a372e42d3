"""For tests/ and regtest/ alike: the shared fixtures, and what is left out where it cannot run."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

import pytest

pytest_plugins = ["tests.fixtures"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect (not skip) tests marked `docker` where no daemon answers: they need one by nature."""
    marked = [item for item in items if item.get_closest_marker("docker")]
    if marked and not docker_answers():
        config.hook.pytest_deselected(items=marked)
        items[:] = [item for item in items if item not in marked]


def pytest_report_header() -> list[str]:
    """Said here too: the last line of a run on several processors does not count what was deselected."""
    return [] if docker_answers() else ["no docker daemon with compose answers: tests marked docker are left out"]


@cache
def docker_answers() -> bool:
    """Whether `docker` is here with the compose plugin and its daemon replies."""
    if shutil.which("docker") is None:
        return False
    try:
        return all(
            subprocess.run(["docker", *words], capture_output=True, timeout=30, check=False).returncode == 0
            for words in (["info"], ["compose", "version"])
        )
    except subprocess.TimeoutExpired:
        return False
