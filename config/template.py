"""The nodetill.toml that `init` writes: the answers filled in, everything else explained."""

from __future__ import annotations

import json
from dataclasses import dataclass

from config.packages import SAMPLE_PACKAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What `init` knows. A None is written as a commented line that shows the default or a sample.

    Only names of files that hold secrets stand here, never a secret, so the file can be shown.
    """

    network: str
    rpc_url: str | None = None
    rpc_cookie_file: str | None = None
    rpc_user: str | None = None
    rpc_password_file: str | None = None
    zmq_rawtx: str | None = None
    zmq_hashblock: str | None = None
    descriptor: str | None = None
    seed_file: str | None = None
    seed_passphrase_file: str | None = None
    forward_to: str | None = None
    confirmations_required: int | None = None
    database_url: str | None = None
    api_port: int | None = None
    public_url: str | None = None
    user_token_secret_file: str | None = None


def render(answers: Answers) -> str:
    """The whole file as text. `config.load.load` reads it back."""
    a = answers
    lines = [
        "# Settings of nodetill. Lines that begin with # show a default or a sample.",
        "# Any key can also be given as an environment variable: NODETILL_<SECTION>__<KEY>.",
        "# Paths are relative to this file. Keep it private: chmod 600.",
        "",
        "[node]",
        "# main, testnet4, signet or regtest; must equal what your node answers.",
        _line("network", a.network),
        _line("rpc_url", a.rpc_url, "http://127.0.0.1:8332"),
        "# The node's cookie is found in its default folder; name it when yours is elsewhere,",
        "# or use a user of your own (rpcauth in bitcoin.conf) instead.",
        _line("rpc_cookie_file", a.rpc_cookie_file, "~/.bitcoin/.cookie"),
        _line("rpc_user", a.rpc_user, "nodetill"),
        _line("rpc_password_file", a.rpc_password_file, "rpc_password.txt"),
        "# The addresses of the zmqpub lines in bitcoin.conf. Without them everything still works,",
        "# only slower.",
        _line("zmq_rawtx", a.zmq_rawtx, "tcp://127.0.0.1:28332"),
        _line("zmq_hashblock", a.zmq_hashblock, "tcp://127.0.0.1:28332"),
        "# Name of the watch-only wallet that nodetill makes in the node.",
        _line("wallet", None, "nodetill"),
        "# By what the node is known to follow the right chain. Blocks of which you know the hash:",
        f'# checkpoints = [{{ height = 961_700, hash = "{"00" * 32}" }}]',
        "# Other nodes of yours that must agree near the tip, or credits wait:",
        '# witness_nodes = [{ rpc_url = "http://10.0.0.2:8332", rpc_user = "me", rpc_password_file = "witness.txt" }]',
        "# A newest block older than this means that the node is cut off.",
        _line("stale_after_minutes", None, 90),
        "# A version that nodetill refuses, word for word, if you know that it follows Bitcoin.",
        _line("accept_version", None, "/Satoshi:29.0.0/"),
        "",
        "[wallet]",
        "# One way of these. Watch-only (recommended): a ranged descriptor of your own",
        "# wallet, without private keys. Payments arrive there at once.",
        _line("descriptor", a.descriptor, "wpkh([fingerprint/84h/0h/0h]xpub.../0/*)"),
        "# Forwarding: an encrypted seed on this machine, and the address that coins travel on to.",
        _line("seed_file", a.seed_file, "seed.json"),
        _line("seed_passphrase_file", a.seed_passphrase_file, "seed_passphrase.txt"),
        _line("forward_to", a.forward_to, "bc1q..."),
        "# The most that may be sent on in 24 hours, and where the signer notes what it signed.",
        _line("daily_cap_sat", None, 10_000_000),
        _line("signer_journal", None, "signer-journal"),
        "# Forwarding without a seed here: descriptor, forward_to, and the socket of `nodetill signer`, which",
        "# runs as another user. Without the socket coins wait until a PSBT is signed elsewhere.",
        _line("signer_socket", None, "/run/nodetill-signer/socket"),
        "",
        "[payments]",
        "# Blocks until credits are given (1 to 144).",
        _line("confirmations_required", a.confirmations_required, 3),
        "# More blocks for more money.",
        "# tiers = [{ above_sat = 10_000_000, confirmations = 6 }]",
        "# How long the price holds. A payment after that is still seen; `late` says what it gets.",
        _line("timeout_minutes", None, 60),
        "# Everything is found within this time even when the node's notifications are dead.",
        _line("check_interval_seconds", None, 1 if a.network == "regtest" else 30),
        "# Missing satoshi that still count as paid in full.",
        _line("tolerance_sat", None, 0),
        "# A payment after the window: credit, or hold (then you decide).",
        _line("late", None, "credit"),
        "# More than asked: credit (in proportion), or keep.",
        _line("excess", None, "credit"),
        _line("max_open_per_user", None, 10),
        "",
        "[database]",
        "# sqlite:///file, or postgresql://user@host/name (url_file when it has a password).",
        _line("url", a.database_url, "sqlite:///nodetill.db"),
        "",
        "[api]",
        _line("host", None, "127.0.0.1"),
        _line("port", a.api_port, 8480),
        "# The address that your customers see; checkout links are made with it.",
        _line("public_url", a.public_url, "https://pay.example.org"),
        "# With this secret (at least 32 bytes) your site signs its users' tokens (HS256).",
        _line("user_token_secret_file", a.user_token_secret_file, "user_token_secret.txt"),
        "# Needed for any host but this machine. Put TLS in front.",
        "# allow_public_bind = true",
        "",
        "[forwarding]",
        "# Highest feerate in sat/vB, blocks to aim for, highest fee in percent of the value.",
        _line("max_feerate", None, 50),
        _line("target_blocks", None, 6),
        _line("max_fee_share", None, 10),
        "# Minutes that a coin waits for company, most coins in one sweep, hours after which the percentage does not",
        "# count any more, least satoshi worth sending, satoshi that always stay.",
        _line("batch_window_minutes", None, 0),
        _line("batch_max_inputs", None, 200),
        _line("deadline_hours", None, 48),
        _line("min_sat", None, 1_000),
        _line("hold", None, 0),
        "",
        "[log]",
        "# console or json (default: console on a terminal); debug, info, warning or error.",
        _line("format", None, "json"),
        _line("level", None, "info"),
        "",
        "# What you sell. Prices are satoshi.",
    ]
    for package in SAMPLE_PACKAGES:
        lines += [
            "[[packages]]",
            _line("id", package.id),
            _line("name", package.name),
            _line("credits", package.credits),
            _line("price_sat", package.price_sat),
            "",
        ]
    lines += [
        "# Who is told about events (Standard Webhooks).",
        "# [[webhooks]]",
        '# url = "https://shop.example.org/hooks/nodetill"',
        '# secret_file = "webhook_secret.txt"  # holds whsec_..., make it with',
        "#                                       echo whsec_$(openssl rand -base64 32)",
        '# events = ["payment.confirmed"]  # default: all',
        "",
    ]
    return "\n".join(lines)


def _line(key: str, value: str | int | None, sample: str | int | None = None) -> str:
    """`key = value`, or the sample behind a # when there is no value."""
    if value is None:
        return f"# {key} = {_toml(sample)}"
    return f"{key} = {_toml(value)}"


def _toml(value: str | int | None) -> str:
    # A JSON string is a TOML basic string, but for the one control character JSON lets through.
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")
