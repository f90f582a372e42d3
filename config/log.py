"""[log]: what the service says about itself."""

from __future__ import annotations

from typing import Literal

from config.base import Section


class LogSettings(Section):
    """`format` is None when nothing was said: console on a terminal, json otherwise."""

    format: Literal["console", "json"] | None = None
    level: Literal["debug", "info", "warning", "error"] = "info"
