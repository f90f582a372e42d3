"""signer.toml: everything must be there, nothing unknown, each mistake one line; and the ways of [wallet]."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from config.errors import ConfigurationError
from config.load import load
from config.signer import load_signer
from tests.config.test_load import written

GOOD = """
network = "regtest"
seed_file = "seed.json"
socket = "/run/signer/socket"
journal = "signed"
destination = "bcrt1qowner"
max_feerate = 12.5
max_fee_sat = 20_000
daily_cap_sat = 5_000_000
"""


def signer_toml(folder: Path, text: str) -> Path:
    path = folder / "signer.toml"
    path.write_text(text)
    return path


def test_read_back(tmp_path: Path) -> None:
    path = signer_toml(tmp_path, GOOD + 'seed_passphrase_file = "p"\nallow_uid = 7\nallow_group = "till"\n')
    settings = load_signer(path)
    assert (settings.network, settings.destination) == ("regtest", "bcrt1qowner")
    assert (settings.max_feerate, settings.max_fee_sat, settings.daily_cap_sat) == (Decimal("12.5"), 20_000, 5_000_000)
    assert (settings.seed_file, settings.journal) == (tmp_path / "seed.json", tmp_path / "signed")
    assert (settings.socket, settings.seed_passphrase_file) == (Path("/run/signer/socket"), tmp_path / "p")
    assert (settings.allow_uid, settings.allow_group) == (7, "till")
    assert load_signer(signer_toml(tmp_path, GOOD + "allow_group = 12\n")).allow_group == 12


REFUSED = {
    "no TOML": ("network", ["not valid TOML"]),
    "unknown": (GOOD + 'forward_to = "x"\n', ["forward_to", "is no setting of the signer"]),
    "misspelt": (GOOD + 'daily_cap = "x"\n', ["daily_cap", "did you mean daily_cap_sat?"]),
    "a passphrase in it": (GOOD + 'seed_passphrase = "x"\n', ["seed_passphrase", "is no setting of the signer"]),
    "no feerate": (GOOD.replace("max_feerate = 12.5", "max_feerate = 0"), ["max_feerate must be more than 0"]),
    "no number": (GOOD.replace("12.5", "true"), ["max_feerate must be a number"]),
    "no cap": (GOOD.replace("5_000_000", "0"), ["daily_cap_sat must be satoshi"]),
    "half a satoshi": (GOOD.replace("20_000", "0.5"), ["max_fee_sat must be a whole number"]),
    "another network": (GOOD.replace("regtest", "mainnet"), ["network must be one of main"]),
    "an empty destination": (GOOD.replace("bcrt1qowner", " "), ["destination is empty"]),
    "a user below 0": (GOOD + "allow_uid = -1\n", ["allow_uid must be the number of a user"]),
    **{
        f"no {line.split()[0]}": (GOOD.replace(line, ""), [f"{line.split()[0]} is missing"])
        for line in GOOD.strip().splitlines()
    },
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    text, words = REFUSED[case]
    with pytest.raises(ConfigurationError) as caught:
        load_signer(signer_toml(tmp_path, text))
    (problem,) = caught.value.problems
    for word in words:
        assert word in problem


def test_a_missing_file_names_the_documents(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="docs/operations"):
        load_signer(tmp_path / "signer.toml")


# ------------------------------------------------------------------ the ways of [wallet]

NODE = '[node]\nnetwork = "regtest"\n[wallet]\n'
DESCRIPTOR, FORWARD_TO = 'descriptor = "wpkh(x)"\n', 'forward_to = "y"\n'
SOCKET, SEED = 'signer_socket = "s"\n', 'seed_file = "f"\n'


@pytest.mark.parametrize(
    ("wallet", "mode"),
    [
        (DESCRIPTOR, "watch-only"),
        (SEED + FORWARD_TO, "forwarding"),
        (SEED + FORWARD_TO + 'daily_cap_sat = 5\nsigner_journal = "j"\n', "forwarding"),
        (DESCRIPTOR + FORWARD_TO + SOCKET, "forwarding"),
        (DESCRIPTOR + FORWARD_TO, "offline"),
    ],
)
def test_the_ways_to_the_owner(tmp_path: Path, wallet: str, mode: str) -> None:
    settings = load(written(tmp_path, NODE + wallet), {}).wallet
    assert settings.mode == mode
    if settings.signer_socket is not None:
        assert settings.signer_socket == tmp_path / "s"
    if settings.signer_journal is not None:
        assert settings.signer_journal == tmp_path / "j"


@pytest.mark.parametrize(
    ("wallet", "words"),
    [
        (DESCRIPTOR + SEED, ["wallet.descriptor and wallet.seed_file"]),
        (DESCRIPTOR + SEED + FORWARD_TO, ["wallet.descriptor and wallet.seed_file"]),
        (DESCRIPTOR + FORWARD_TO + 'seed_passphrase = "p"\n', ["wallet.descriptor and wallet.seed_passphrase"]),
        (DESCRIPTOR + FORWARD_TO + SOCKET + "daily_cap_sat = 5\n", ["wallet.descriptor and wallet.daily_cap_sat"]),
        (DESCRIPTOR + FORWARD_TO + SOCKET + 'signer_journal = "j"\n', ["wallet.descriptor and wallet.signer_journal"]),
        (DESCRIPTOR + SOCKET, ["wallet.signer_socket", "wallet.forward_to is missing"]),
        (FORWARD_TO + SOCKET, ["wallet.signer_socket", "wallet.descriptor is missing"]),
        (SEED + FORWARD_TO + SOCKET, ["wallet.signer_socket", "wallet.descriptor is missing", "no wallet.seed_file"]),
        (SOCKET, ["wallet.signer_socket", "wallet.descriptor is missing"]),
        (SEED, ["wallet.forward_to is missing"]),
        (FORWARD_TO, ["wallet.seed_file is missing", "wallet.descriptor"]),
        (SEED + FORWARD_TO + "daily_cap_sat = 0\n", ["wallet.daily_cap_sat must be satoshi"]),
        ("", ["wallet.descriptor is missing"]),
    ],
)
def test_everything_between_the_ways_is_refused(tmp_path: Path, wallet: str, words: list[str]) -> None:
    path = written(tmp_path, NODE + wallet)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError) as caught:
        load(path, {})
    (problem,) = caught.value.problems
    for word in words:
        assert word in problem
