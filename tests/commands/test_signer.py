"""`signer`: what it refuses before it opens anything, and the child that `serve` makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from commands.keychain import open_keychain
from commands.signer_checkup import look_at_signer
from commands.signing import serving_keychain
from config.load import load
from config.settings import Settings
from node_watcher.signing.remote import RemoteSigner
from node_watcher.signing.seed import create as create_seed
from node_watcher.signing.seed import open_seed
from payments.address import address_of
from regtest.command_line import ROOT, clean_environment
from regtest.signer_process import RunningSigner
from tests.waiting import wait_for

DESTINATION = address_of(b"\x51\x20" + bytes(31) + b"\x01", "regtest")
OTHER = address_of(b"\x51\x20" + bytes(31) + b"\x02", "regtest")


@pytest.fixture
def signer() -> Iterator[RunningSigner]:
    made = RunningSigner(DESTINATION)
    yield made
    made.close()


def chmod(name: str, mode: int) -> Callable[[RunningSigner], object]:
    return lambda signer: (signer.folder / name).chmod(mode)


def setting(**values: object) -> Callable[[RunningSigner], object]:
    def change(signer: RunningSigner) -> None:
        signer.settings |= values
        signer.write_config()

    return change


def damaged(signer: RunningSigner) -> None:
    signer.write("journal", "what is this\n")


def wrong_passphrase(signer: RunningSigner) -> None:
    signer.write("passphrase", "another one, sure")


def far_away(signer: RunningSigner) -> None:
    (signer.folder / ("d" * 90)).mkdir(mode=0o700)
    setting(socket="d" * 90 + "/socket")(signer)


def no_passphrase(signer: RunningSigner) -> None:
    (signer.folder / "passphrase").unlink()


REFUSED: dict[str, tuple[Callable[[RunningSigner], object], list[str]]] = {
    "settings of everybody": (chmod("signer.toml", 0o646), ["signer.toml", "chmod go-w"]),
    "settings of a group": (chmod("signer.toml", 0o660), ["signer.toml", "chmod go-w"]),
    "a seed that others read": (chmod("seed.json", 0o640), ["seed.json", "chmod 600"]),
    "a passphrase that others read": (chmod("passphrase", 0o604), ["passphrase", "chmod 600"]),
    "a folder of everybody": (chmod(".", 0o777), ["chmod go-w"]),
    "a folder of a group": (chmod(".", 0o770), ["chmod go-w"]),
    "no such folder": (setting(socket="none/socket"), ["socket", "make it first"]),
    "a long way": (far_away, ["longer than 100 bytes"]),
    "an address of another network": (
        setting(destination="bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
        ["destination", "main"],
    ),
    "a group that is not there": (setting(allow_group="nobody-of-this-name"), ["allow_group"]),
    "no seed": (setting(seed_file="none.json"), ["none.json"]),
    "a wrong passphrase": (wrong_passphrase, ["passphrase does not open"]),
    "no passphrase file": (no_passphrase, ["seed_passphrase_file"]),
    "nobody to ask": (setting(seed_passphrase_file=None), ["seed_passphrase_file", "no terminal"]),
    "a damaged journal": (damaged, ["journal", "damaged in line 1", "move it away"]),
    "an unknown setting": (setting(forward_to="x"), ["forward_to"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(signer: RunningSigner, case: str) -> None:
    change, words = REFUSED[case]
    change(signer)
    ended = signer.run()
    ended.refused(*words)
    assert signer.passphrase not in ended.err
    assert not signer.socket.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", ["signer.toml", "passphrase", "."])
def test_what_belongs_to_another_user_is_refused(signer: RunningSigner, name: str) -> None:
    os.chown(signer.folder / name, 4_321, 4_321)
    signer.run().refused("belongs to another user")


# ------------------------------------------------------------------ the child


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    create_seed(tmp_path / "seed.json", "open sesame, please", scrypt_n=2**10)
    environ = {
        "NODETILL_NODE__NETWORK": "regtest",
        "NODETILL_DATABASE__URL": f"sqlite:///{tmp_path / 'till.db'}",
        "NODETILL_WALLET__SEED_FILE": str(tmp_path / "seed.json"),
        "NODETILL_WALLET__SEED_PASSPHRASE": "open sesame, please",
        "NODETILL_WALLET__FORWARD_TO": DESTINATION,
    }
    return load(None, environ)


def test_the_service_gets_the_public_side_and_a_signer(settings: Settings, tmp_path: Path) -> None:
    with serving_keychain(settings) as keychain:
        account = open_seed(tmp_path / "seed.json", "open sesame, please").account_descriptor("regtest")
        assert keychain.descriptor.text.startswith(account)
        assert not keychain.watch_only
        assert isinstance(keychain.signer, RemoteSigner)
        assert keychain.signer.describe().destination == DESTINATION
        folder = keychain.signer.path.parent
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    assert (tmp_path / "till.db.signer-journal").exists()


def test_who_only_sells_leaves_no_signer_behind(settings: Settings, tmp_path: Path) -> None:
    with serving_keychain(settings, signs=False) as keychain:
        assert keychain.signer is None
        assert not keychain.watch_only
        assert keychain.destination is not None
        with serving_keychain(settings) as watching:
            assert watching.descriptor.text == keychain.descriptor.text


def test_two_services_do_not_share_a_day(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with serving_keychain(settings), pytest.raises(typer.Exit), serving_keychain(settings):
        raise AssertionError("both sign")
    assert "another signer" in capsys.readouterr().err


def test_it_ends_with_its_parent_however_that_ends(settings: Settings, tmp_path: Path) -> None:
    """The parent is killed in the middle, and cannot tell it anything."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from config.load import load\n"
        "from commands.signing import serving_keychain\n"
        "with serving_keychain(load(None, os.environ)) as keychain:\n"
        "    print(keychain.signer.path, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environ = {
        "NODETILL_NODE__NETWORK": "regtest",
        "NODETILL_DATABASE__URL": f"sqlite:///{tmp_path / 'till.db'}",
        "NODETILL_WALLET__SEED_FILE": str(tmp_path / "seed.json"),
        "NODETILL_WALLET__SEED_PASSPHRASE": "open sesame, please",
        "NODETILL_WALLET__FORWARD_TO": DESTINATION,
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=clean_environment(environ),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == -9
    folder = Path(done.stdout.strip()).parent
    assert folder.name.startswith("nodetill-signer-")
    wait_for(lambda: not folder.exists())


def test_a_child_without_an_order_ends() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "signer", "--child"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=clean_environment(),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


# ------------------------------------------------------------------ what the doctor says


def hardened(signer: RunningSigner, **changes: str) -> Settings:
    wallet = {"descriptor": signer.descriptor, "forward_to": DESTINATION, "signer_socket": str(signer.socket)} | changes
    environ = {f"NODETILL_WALLET__{key.upper()}": value for key, value in wallet.items()}
    return load(None, environ | {"NODETILL_NODE__NETWORK": "regtest"})


async def test_the_doctor_asks_the_signer(signer: RunningSigner) -> None:
    settings = hardened(signer)
    (finding,) = await look_at_signer(settings, open_keychain(settings))
    assert (finding.colour, "does not answer" in finding.detail) == ("yellow", True)
    signer.start()
    (finding,) = await look_at_signer(settings, open_keychain(settings))
    assert (finding.colour, DESTINATION in finding.detail) == ("green", True)
    settings = hardened(signer, forward_to=OTHER)
    (finding,) = await look_at_signer(settings, open_keychain(settings))
    assert (finding.colour, "wallet.forward_to" in finding.detail) == ("red", True)


def test_the_journal_holds_no_secret(signer: RunningSigner) -> None:
    signer.start()
    signer.stop()
    (line,) = (signer.folder / "journal").read_text().splitlines()
    assert set(json.loads(line)) == {"format", "version", "newest", "link"}
