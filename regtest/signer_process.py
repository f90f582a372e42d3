"""`nodetill signer` with its own settings file, as a process of its own."""

from __future__ import annotations

import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

from node_watcher.signing.remote import RemoteSigner
from node_watcher.signing.seed import Seed, import_mnemonic, open_seed
from node_watcher.signing.signer import SignerError
from payments.keys import mnemonic_of
from regtest.child_process import ChildProcess
from regtest.child_server import ChildServer, Process
from regtest.command_line import ROOT, Ended, clean_environment, main
from regtest.settings_file import toml_text


class RunningSigner(ChildServer):
    """`with RunningSigner("bcrt1…") as signer: signer.ask.sign_sweep(…)`."""

    called = "the signer"

    def __init__(self, destination: str, *, without_bit: bool = False, **settings: Any) -> None:
        """Writes signer.toml with a new seed; nothing runs before `start()`. `settings` go over what stands below.

        `without_bit` is a Python for which that package has no release.

        The folder is a short one of its own: a socket's path holds some hundred bytes.
        """
        super().__init__(Path(tempfile.mkdtemp(prefix="nodetill-signer-")), temporary=True)
        self.config = self.folder / "signer.toml"
        self._environ: dict[str, str] = {}
        if without_bit:
            (self.folder / "hidden").mkdir()
            self.write("hidden/bit.py", "raise ImportError\n")
            self._environ = {"PYTHONPATH": str(self.folder / "hidden")}
        self.passphrase = secrets.token_hex(8)
        self.mnemonic = mnemonic_of(secrets.token_bytes(16))
        import_mnemonic(self.folder / "seed.json", self.mnemonic, self.passphrase, scrypt_n=2**10)
        self.write("passphrase", self.passphrase)
        self.settings: dict[str, Any] = {
            "network": "regtest",
            "seed_file": "seed.json",
            "seed_passphrase_file": "passphrase",
            "socket": "socket",
            "journal": "journal",
            "destination": destination,
            "max_feerate": 50,
            "max_fee_sat": 1_000_000,
            "daily_cap_sat": 100_000_000,
        } | settings
        self.write_config()

    def write(self, name: str, text: str) -> Path:
        """A file that is its owner's alone."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        return path

    def write_config(self) -> None:
        """Write `settings` to signer.toml."""
        text = toml_text({"": self.settings})
        self.write("signer.toml", text.removeprefix("[]\n"))

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    @property
    def seed(self) -> Seed:
        """As the signer opens it."""
        return open_seed(self.folder / "seed.json", self.passphrase)

    @property
    def descriptor(self) -> str:
        """As `seed show-xpub` prints it."""
        return self.seed.account_descriptor("regtest")

    @property
    def ask(self) -> RemoteSigner:
        return RemoteSigner(self.socket)

    def run(self) -> Ended:
        """In the foreground to its end, which something wrong brings about at once."""
        return main("signer", "--config", str(self.config))

    def _spawn(self) -> Process:
        return ChildProcess(
            [sys.executable, str(ROOT / "main.py"), "signer", "--config", str(self.config)],
            log_file=self.log_file,
            environment=clean_environment(self._environ),
            folder=ROOT,
            remove_on_orphan=self.remove_on_orphan,
        )

    def _answers(self) -> bool:
        try:
            return bool(self.ask.describe())
        except SignerError:
            return False
