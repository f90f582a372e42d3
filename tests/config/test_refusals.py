"""Bad settings: one line each that names the setting and the mend, and never a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.load import ConfigurationError, load
from tests.config.test_load import MINIMAL, written

PIN = f'{{height = 7, hash = "{"ab" * 32}"}}'
WHSEC = "whsec_" + "QUFB" * 8


def refused(path: Path | None, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ or {})
    problems = caught.value.problems
    assert str(caught.value) == "\n".join(problems)
    assert all("\n" not in line and "pydantic" not in line for line in problems)
    return problems


IN_FILE = {
    "malformed": ("[node\n", ["not valid TOML", "line 1"]),
    "twice": ("[node]\nnetwork='main'\nnetwork='main'\n\n", ["not valid TOML", "line 3"]),
    "unknown section": (MINIMAL + "[nodes]\n", ["nodes", "did you mean node?"]),
    "unknown key": (
        MINIMAL + "[payments]\nconfirmation_required = 3",
        ["payments.confirmation_required", "did you mean confirmations_required?"],
    ),
    "key outside": ('network = "main"\n' + MINIMAL, ["network", "below [node]"]),
    "section as value": ("payments = 3\n" + MINIMAL, ["payments", "[payments]"]),
    "packages as table": (MINIMAL + "[packages]\nid = 'x'", ["[[packages]]"]),
    "no network": (
        MINIMAL.replace('network = "regtest"', ""),
        ["node.network is missing", "testnet4"],
    ),
    "odd network": (
        MINIMAL.replace("regtest", "mainnet"),
        ["node.network must be one of main, testnet4", "mainnet"],
    ),
    "no wallet": ('[node]\nnetwork = "regtest"', ["wallet.descriptor is missing", "forward_to"]),
    "two modes": (MINIMAL + 'seed_file = "x"', ["wallet.descriptor and wallet.seed_file"]),
    "no forward_to": (
        '[node]\nnetwork = "main"\n[wallet]\nseed_file = "x"',
        ["wallet.forward_to is missing"],
    ),
    "no seed": (
        '[node]\nnetwork = "main"\n[wallet]\nforward_to = "x"',
        ["wallet.seed_file is missing", "seed create"],
    ),
    "zero depth": (
        MINIMAL + "[payments]\nconfirmations_required = 0",
        ["payments.confirmations_required must be at least 1"],
    ),
    "too deep": (MINIMAL + "[payments]\nconfirmations_required = 145", ["1 to 144", "145"]),
    "true depth": (
        MINIMAL + "[payments]\nconfirmations_required = true",
        ["payments.confirmations_required must be a number"],
    ),
    "half depth": (
        MINIMAL + "[payments]\nconfirmations_required = 1.5",
        ["payments.confirmations_required must be a whole number", "1.5"],
    ),
    "no window": (MINIMAL + "[payments]\ntimeout_minutes = 0", ["payments.timeout_minutes"]),
    "endless window": (MINIMAL + "[payments]\ntimeout_minutes = inf", ["payments.timeout_minutes"]),
    "negative interval": (
        MINIMAL + "[payments]\ncheck_interval_seconds = -1",
        ["payments.check_interval_seconds must be more than 0"],
    ),
    "tier": (
        MINIMAL + "[payments]\ntiers = [{above_sat = 1, confirmations = 0}]",
        ["payments.tiers number 1: confirmations must be at least 1"],
    ),
    "tier of fewer blocks": (
        MINIMAL + "[payments]\ntiers = [{above_sat = 10, confirmations = 2}]",
        ["payments.tiers: more than 10 sat would need 2 confirmations", "payments.confirmations_required = 3"],
    ),
    "tiers that fall": (
        MINIMAL + "[payments]\ntiers = [{above_sat = 1, confirmations = 9}, {above_sat = 5, confirmations = 4}]",
        ["payments.tiers: more than 5 sat would need 4 confirmations", "fewer than the 9 of a smaller sum"],
    ),
    "tier key": (
        MINIMAL + "[payments]\ntiers = [{above_sat = 1, confirmations = 1, above = 2}]",
        ["above is not a setting; did you mean above_sat?"],
    ),
    "same tier": (
        MINIMAL + "[payments]\ntiers = [{above_sat = 1, confirmations = 2}," + "{above_sat = 1, confirmations = 3}]",
        ["payments.tiers names the same above_sat twice"],
    ),
    "odd policy": (MINIMAL + "[payments]\nlate = 'drop'", ["payments.late", "credit or hold"]),
    "gift": (
        MINIMAL + "[payments]\ntolerance_sat = 40000",
        ["payments.tolerance_sat", "small (40000 sat) away"],
    ),
    "no packages": ("packages = []\n" + MINIMAL, ["packages is empty"]),
    "same package": (
        MINIMAL + "[[packages]]\nid='a'\nname='A'\ncredits=1\nprice_sat=999\n" * 2,
        ["two packages with the id a"],
    ),
    "price in money": (
        MINIMAL + "[[packages]]\nid='a'\nname='A'\ncredits=1\nprice_sat=999\nprice_eur=9\n",
        ["packages number 1: price_eur is not a setting"],
    ),
    "source of rates": (
        MINIMAL + "[payments]\nrate_url = 'https://rates.example'\n",
        ["payments.rate_url", "is not a setting"],
    ),
    "dust package": (
        MINIMAL + "[[packages]]\nid='a'\nname='A'\ncredits=1\nprice_sat=546\n",
        ["packages number 1: price_sat must be more than 546", "dust"],
    ),
    "no credits": (
        MINIMAL + "[[packages]]\nid='a'\nname='A'\ncredits=0\nprice_sat=999\n",
        ["packages number 1: credits", "at least 1"],
    ),
    "rpc scheme": (
        MINIMAL.replace("[wallet]", 'rpc_url = "127.0.0.1:8332"\n[wallet]'),
        ["node.rpc_url", "http://127.0.0.1:8332"],
    ),
    "pin": (
        MINIMAL.replace("[wallet]", 'checkpoints = [{height = 7, hash = "0xab"}]\n[wallet]'),
        ["node.checkpoints number 1: hash must be the 64 hex digits", "getblockhash"],
    ),
    "pin below": (
        MINIMAL.replace("[wallet]", f'checkpoints = [{{height = 0, hash = "{"ab" * 32}"}}]\n[wallet]'),
        ["node.checkpoints number 1: height must be a block's height"],
    ),
    "same pin": (
        MINIMAL.replace("[wallet]", f"checkpoints = [{', '.join([PIN] * 2)}]\n[wallet]"),
        ["node.checkpoints names the same height twice"],
    ),
    "witness without login": (
        MINIMAL.replace("[wallet]", 'witness_nodes = [{rpc_url = "http://10.0.0.2:8332"}]\n[wallet]'),
        ["node.witness_nodes number 1 needs a login", "rpc_cookie_file"],
    ),
    "witness with both": (
        MINIMAL.replace(
            "[wallet]",
            'witness_nodes = [{rpc_url="http://10.0.0.2:8332", rpc_user="u", rpc_cookie_file="c"}]\n[wallet]',
        ),
        ["node.witness_nodes number 1 rpc_user and rpc_cookie_file are both set"],
    ),
    "witness at nothing": (
        MINIMAL.replace("[wallet]", 'witness_nodes = [{rpc_url = "10.0.0.2", rpc_cookie_file = "c"}]\n[wallet]'),
        ["node.witness_nodes number 1: rpc_url must be the http address"],
    ),
    "witness key": (
        MINIMAL.replace(
            "[wallet]",
            'witness_nodes = [{rpc_url = "http://10.0.0.2:8332", rpc_cookie_file = "c", rpc_cookie = "c"}]\n[wallet]',
        ),
        ["node.witness_nodes number 1: rpc_cookie is not a setting; did you mean rpc_cookie_file?"],
    ),
    "own witness": (
        MINIMAL.replace(
            "[wallet]", 'witness_nodes = [{rpc_url = "http://127.0.0.1:18443", rpc_cookie_file = "c"}]\n[wallet]'
        ),
        ["node.witness_nodes: http://127.0.0.1:18443 is named twice"],
    ),
    "no age": (
        MINIMAL.replace("[wallet]", "stale_after_minutes = 0\n[wallet]"),
        ["node.stale_after_minutes must be at least 1"],
    ),
    "user without password": (
        MINIMAL.replace("[wallet]", 'rpc_user = "u"\n[wallet]'),
        ["node.rpc_user", "rpc_password_file"],
    ),
    "both credentials": (
        MINIMAL.replace("[wallet]", 'rpc_user="u"\nrpc_cookie_file="c"\n[wallet]'),
        ["node.rpc_user and node.rpc_cookie_file"],
    ),
    "zmq": (
        MINIMAL.replace("[wallet]", 'zmq_rawtx = "127.0.0.1:28332"\n[wallet]'),
        ["node.zmq_rawtx must be", "tcp://127.0.0.1:28332", "ipc://"],
    ),
    "database": (MINIMAL + "[database]\nurl='mysql://x'", ["database.url", "sqlite:///"]),
    "memory": (MINIMAL + "[database]\nurl='sqlite:///:memory:'", ["database.url", "name a file"]),
    "public bind": (
        MINIMAL + "[api]\nhost = '192.168.1.2'",
        ["api.host", "192.168.1.2", "api.allow_public_bind = true"],
    ),
    "port": (MINIMAL + "[api]\nport = 65536", ["api.port", "1 to 65535", "65536"]),
    "public_url": (MINIMAL + "[api]\npublic_url = 'pay.example.org'", ["api.public_url", "https"]),
    "plain webhook": (
        MINIMAL + f"[[webhooks]]\nurl='http://10.0.0.1/'\nsecret='{WHSEC}'",
        ["webhooks number 1 must have an https url", "allow_private = true"],
    ),
    "webhook event": (
        MINIMAL + f"[[webhooks]]\nurl='https://x.org/'\nsecret='{WHSEC}'\nevents=['payment.paid']",
        ["webhooks number 1: events names payment.paid"],
    ),
    "webhook key": (
        MINIMAL + f"[[webhooks]]\nurl='https://x.org/'\nsecret='{WHSEC}'\nevent=['x']",
        ["event is not a setting; did you mean events?"],
    ),
    "feerate": (MINIMAL + "[forwarding]\nmax_feerate = 0", ["forwarding.max_feerate", "sat/vB"]),
    "fee share": (MINIMAL + "[forwarding]\nmax_fee_share = 101", ["forwarding.max_fee_share", "percent"]),
    "batch window": (MINIMAL + "[forwarding]\nbatch_window_minutes = -1", ["forwarding.batch_window_minutes"]),
    "batch size": (MINIMAL + "[forwarding]\nbatch_max_inputs = 501", ["forwarding.batch_max_inputs", "500"]),
    "deadline": (MINIMAL + "[forwarding]\ndeadline_hours = -1", ["forwarding.deadline_hours", "hours"]),
    "hot balance": (MINIMAL + "[forwarding]\nhold = -1", ["forwarding.hold", "satoshi"]),
    "log": (MINIMAL + "[log]\nlevel = 'loud'", ["log.level must be one of debug, info", "loud"]),
}


@pytest.mark.parametrize("case", IN_FILE)
def test_refused_in_the_file(case: str, tmp_path: Path) -> None:
    text, expected = IN_FILE[case]
    problems = refused(written(tmp_path, text))
    assert len(problems) == 1, problems
    for part in expected:
        assert part in problems[0]


def test_missing_file_names_init(tmp_path: Path) -> None:
    (problem,) = refused(tmp_path / "nodetill.toml")
    assert "does not exist" in problem
    assert "./nodetill init" in problem
    (problem,) = refused(tmp_path)
    assert "is a folder" in problem


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("NODETILL_NODE_RPC_URL", "NODETILL_NODE__RPC_URL"),
        ("NODETILL_PAYMENTS__TOLERANCE", "NODETILL_PAYMENTS__TOLERANCE_SAT"),
        ("nodetill_api__port", "NODETILL_API__PORT"),
        ("NODETILL_PACKAGE", "NODETILL_PACKAGES"),
    ],
)
def test_misspelt_variable(name: str, meant: str, tmp_path: Path) -> None:
    (problem,) = refused(written(tmp_path, MINIMAL), {name: "1"})
    assert problem.startswith(f"{name} is not a setting")
    assert f"did you mean {meant}?" in problem


def test_variable_is_named_as_the_origin(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL)
    for name in ("NODETILL_PAYMENTS__CONFIRMATIONS_REQUIRED", "BITCOIN_CONFIRMATIONS_REQUIRED"):
        (problem,) = refused(path, {name: "many"})
        assert "payments.confirmations_required must be a whole number" in problem
        assert f"it is 'many', from {name}" in problem
    (problem,) = refused(path, {"NODETILL_PACKAGES": "small"})
    assert problem.startswith("NODETILL_PACKAGES must be a JSON list")


def test_all_problems_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "[api]\nport = 0\n[nonsense]\n")
    problems = refused(path, {"NODETILL_PAYMENTS__LATE": "x", "NODETILL_X": "y"})
    assert len(problems) == 4


SECRET_TABLES = {
    "rpc": MINIMAL.replace("[wallet]", 'rpc_user = "u"\nrpc_password = "canary"\n[wallet]'),
    "token": MINIMAL + f"[api]\nuser_token_secret = '{'canary' * 6}'",
    "webhook": MINIMAL + f"[[webhooks]]\nurl='https://x.org/'\nsecret='{WHSEC}'",
    "database": MINIMAL + "[database]\nurl='postgresql://u:canary@h/d'",
}


@pytest.mark.parametrize("case", SECRET_TABLES)
@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_file_with_a_secret_must_be_private(case: str, mode: int, tmp_path: Path) -> None:
    path = written(tmp_path, SECRET_TABLES[case], mode)
    (problem,) = refused(path)
    assert f"chmod 600 {path}" in problem
    assert "canary" not in problem
    path.chmod(0o600)
    load(path, {})


def test_secret_files_are_checked(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL.replace("[wallet]", 'rpc_user = "u"\n[wallet]'))
    secret = tmp_path / "secret"
    name = {"NODETILL_NODE__RPC_PASSWORD_FILE": str(secret)}
    (problem,) = refused(path, name)
    assert "node.rpc_password_file" in problem
    assert "does not exist" in problem
    secret.write_text("\n")
    assert "is empty" in refused(path, name)[0]
    secret.write_text("a\nb\n")
    assert "several lines" in refused(path, name)[0]
    secret.write_text("good\r\n")
    settings = load(path, name)
    assert settings.node.rpc_password is not None
    assert settings.node.rpc_password.get_secret_value() == "good"
    both = {**name, "NODETILL_NODE__RPC_PASSWORD": "x"}
    assert "both set" in refused(path, both)[0]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("NODETILL_API__USER_TOKEN_SECRET", "canary"),
        ("NODETILL_DATABASE__URL", "postgress://u:canary@h/d"),
        ("NODETILL_NODE__RPC_URL", "http://u:canary@127.0.0.1:8332"),
        ("NODETILL_WEBHOOKS", '[{"url":"https://x.org/","secret":"canary"}]'),
        ("NODETILL_WEBHOOKS", '[{"url":"https://u:canary@x.org/","secret":"' + WHSEC + '"}]'),
    ],
)
def test_no_secret_in_a_refusal(setting: str, value: str, tmp_path: Path) -> None:
    problems = refused(written(tmp_path, MINIMAL), {setting: value})
    assert len(problems) == 1
    assert "canary" not in problems[0]
