"""Why the service is not ready."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """`code` is for programs, `detail` tells a person the mend."""

    code: str
    detail: str
