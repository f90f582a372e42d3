"""What `init` writes is read back."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from config.load import load
from config.packages import SAMPLE_PACKAGES
from config.schema import SECTION_KEYS
from config.template import Answers, render
from tests.config.test_load import written

DESCRIPTOR = 'wpkh([d34db33f/84h/1h/0h]tpub"\\x/0/*)#abc'


def test_watch_only_answers_come_back(tmp_path: Path) -> None:
    answers = Answers(network="signet", descriptor=DESCRIPTOR, zmq_rawtx="tcp://127.0.0.1:1")
    settings = load(written(tmp_path, render(answers)), {})
    assert settings.node.network == "signet"
    assert settings.wallet.descriptor == DESCRIPTOR
    assert settings.node.zmq_rawtx == "tcp://127.0.0.1:1"
    assert settings.packages == SAMPLE_PACKAGES


def test_forwarding_answers_come_back(tmp_path: Path) -> None:
    for name in ("phrase", "password", "token"):
        (tmp_path / name).write_text(name * 8)
    answers = Answers(
        network="regtest",
        rpc_url="http://10.0.0.2:18443",
        rpc_user="till",
        rpc_password_file="password",
        seed_file="seed.json",
        seed_passphrase_file="phrase",
        forward_to="bcrt1qowner",
        confirmations_required=2,
        database_url="postgresql:///till",
        api_port=9000,
        public_url="https://pay.example.org",
        user_token_secret_file="token",
    )
    settings = load(written(tmp_path, render(answers)), {})
    assert settings.wallet.mode == "forwarding"
    assert settings.payments.confirmations_required == 2
    assert settings.api.port == 9000
    assert settings.database.engine == "postgresql"


def test_every_setting_is_in_the_template() -> None:
    """Commented samples are true settings, and no setting but a few secrets is left out."""
    text = render(Answers(network="main"))
    shown = re.sub(r"^# (?=(\[\[)?[a-z_]+(\]\])?( =|$))", "", text, flags=re.M)
    tables = tomllib.loads(shown)
    for section, keys in SECTION_KEYS.items():
        assert set(tables[section]) <= keys
        left_out = keys - set(tables[section])
        assert left_out <= {
            *("rpc_password", "zmq_sequence", "seed_passphrase"),
            *("user_token_secret", "url_file"),
        }, section


@pytest.mark.parametrize("line", ["[packages]", "[webhooks]"])
def test_lists_are_lists_of_tables(line: str) -> None:
    assert f"[{line}]" in render(Answers(network="main"))
