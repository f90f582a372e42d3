"""What is simulated is no news: the log is quiet here, and as it was for the tests that come after."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    log = logging.getLogger("nodetill")
    before = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(before)
