"""signer.toml: the settings of `nodetill signer`, which the service neither reads nor can change."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError, field_validator

from config.base import MAX_MONEY_SAT, Number, Section, Whole
from config.errors import ConfigurationError
from config.file import read_file
from config.node import Network
from config.schema import nearest
from config.sentences import sentences

_PATHS = ("seed_file", "seed_passphrase_file", "socket", "journal")


class SignerSettings(Section):
    """One table without sections. `max_feerate` in sat/vB; paths are relative to the file."""

    network: Network
    seed_file: Path
    seed_passphrase_file: Path | None = None
    socket: Path
    journal: Path
    destination: str
    max_feerate: Number
    max_fee_sat: Whole
    daily_cap_sat: Whole
    allow_uid: Whole | None = None
    allow_group: str | Whole | None = None

    @field_validator("destination")
    @classmethod
    def _stripped(cls, value: str) -> str:
        if not (value := value.strip()):
            raise ValueError("is empty; write the address that the coins go to")
        return value

    @field_validator("max_feerate")
    @classmethod
    def _feerate(cls, value: Decimal) -> Decimal:
        if not 0 < value <= 10_000:
            raise ValueError("must be more than 0 and at most 10000 sat/vB")
        return value

    @field_validator("max_fee_sat", "daily_cap_sat")
    @classmethod
    def _satoshi(cls, value: int) -> int:
        if not 0 < value <= MAX_MONEY_SAT:
            raise ValueError(f"must be satoshi, 1 to {MAX_MONEY_SAT}")
        return value

    @field_validator("allow_uid")
    @classmethod
    def _user(cls, value: int | None) -> int | None:
        if value is not None and value < 0:
            raise ValueError("must be the number of a user, as `id -u NAME` prints it")
        return value


def load_signer(path: Path) -> SignerSettings:
    """The settings in the file. Raises `ConfigurationError` with one line per problem.

    There is no environment in it: what may be signed stands in one place, which its owner alone can change.
    """
    if not os.path.lexists(path):
        raise ConfigurationError(
            f"{path} does not exist; docs/operations.md shows what stands in it, or name another file with --config"
        )
    tables = read_file(path)
    problems = [
        f"{key} in {path} is no setting of the signer{nearest(key, SignerSettings.model_fields)}; correct or remove it"
        for key in tables.keys() - SignerSettings.model_fields.keys()
    ]
    known: dict[str, Any] = {key: value for key, value in tables.items() if key in SignerSettings.model_fields}
    for key in _PATHS:
        if isinstance(known.get(key), str) and known[key]:
            known[key] = str(path.absolute().parent / Path(known[key]).expanduser())
    try:
        settings = SignerSettings.model_validate(known)
    except ValidationError as error:
        raise ConfigurationError([*problems, *sentences(error, dict.fromkeys(known, str(path)))]) from None
    if problems:
        raise ConfigurationError(problems)
    return settings
