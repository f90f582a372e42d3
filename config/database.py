"""[database]: where payments and ledger are kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator

from config.base import Section

_SQLITE = "sqlite:///"


class DatabaseSettings(Section):
    """`url` is a secret because a PostgreSQL address may carry a password; show `shown` instead.

    A SQLite address is `sqlite:///` and then the path as it is: `sqlite:///nodetill.db` is
    relative, `sqlite:////var/lib/nodetill.db` is absolute. After loading it is always absolute.
    """

    url: SecretStr = SecretStr("sqlite:///nodetill.db")

    @property
    def engine(self) -> Literal["sqlite", "postgresql"]:
        return "sqlite" if self.url.get_secret_value().startswith(_SQLITE) else "postgresql"

    @property
    def path(self) -> Path | None:
        """The file, on SQLite."""
        url = self.url.get_secret_value()
        return Path(url.removeprefix(_SQLITE)) if self.engine == "sqlite" else None

    @property
    def shown(self) -> str:
        """The address without its password, for people and logs."""
        return hide_password(self.url.get_secret_value())

    @field_validator("url")
    @classmethod
    def _known_engine(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if url.startswith("postgres://"):
            url = "postgresql://" + url.removeprefix("postgres://")
        if url.startswith(_SQLITE):
            name = url.removeprefix(_SQLITE)
            if not name or name.endswith("/") or name == ":memory:":
                raise ValueError("must name a file, such as sqlite:///nodetill.db")
            if "?" in name or "\0" in name:
                raise ValueError("takes no options after the file name")
        elif not url.startswith("postgresql://"):
            raise ValueError(
                "must begin with sqlite:/// or postgresql://, such as sqlite:///nodetill.db or "
                "postgresql://user@localhost/nodetill"
            )
        return SecretStr(url)


def hide_password(url: str) -> str:
    """`url` with its password, wherever libpq would look for one, replaced by stars."""
    url = re.sub(r"([?&]password=)[^&]*", r"\1***", url)
    return re.sub(r"^(\w+://[^/?#:@]*):.*@", r"\1:***@", url)


def holds_password(url: str) -> bool:
    """True when the address itself carries a password."""
    try:
        return bool(urlsplit(url).password) or "password=" in urlsplit(url).query
    except ValueError:
        return True


def anchored(url: str, folder: Path) -> str:
    """A relative SQLite path made absolute below `folder`; anything else unchanged."""
    if not url.startswith(_SQLITE):
        return url
    name = url.removeprefix(_SQLITE)
    if not name or name == ":memory:":
        return url  # refused by the model, with the sentence for it
    return _SQLITE + str(folder / name)
