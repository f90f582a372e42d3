"""The one error of this package."""

from __future__ import annotations

from collections.abc import Sequence


class ConfigurationError(Exception):
    """The settings cannot be used. Each problem is one line: the setting, what is wrong, the mend.

    `str(error)` is all problems, one per line, ready to print before leaving with exit code 2.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))
