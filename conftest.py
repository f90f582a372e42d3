"""For tests/ and regtest/ alike: the shared fixtures, and what is left out where it cannot run."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from functools import cache
from typing import Any

import pytest

pytest_plugins = ["tests.fixtures"]
_HISTORIES = [f"tests/simulation/test_{name}.py" for name in ("busy_shop", "forwarding", "reorganisations", "bad_node")]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--simulate N` plays N histories of the simulated world (docs/simulation.md), and nothing else."""
    parser.addoption("--simulate", type=int, metavar="N", help="play N simulated histories, and no other tests")
    parser.addoption("--seed", type=int, metavar="S", help="the first of them (default: one that nobody chose)")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.simulate is not None:
        if config.option.seed is None:
            told = getattr(config, "workerinput", {})
            config.option.seed = told.get("seed", secrets.randbelow(10**9))
        config.args[:] = _HISTORIES


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Processes that share the work play the same histories (a hook of pytest-xdist)."""
    node.workerinput["seed"] = node.config.option.seed


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect (not skip) tests marked `docker` where no daemon answers: they need one by nature."""
    marked = [item for item in items if item.get_closest_marker("docker")]
    if marked and not docker_answers():
        config.hook.pytest_deselected(items=marked)
        items[:] = [item for item in items if item not in marked]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Said here too: the last line of a run on several processors does not count what was deselected."""
    if config.option.simulate is not None:
        return [f"simulation: --simulate {config.option.simulate} --seed {config.option.seed}"]
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
