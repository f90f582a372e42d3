"""A purchase as a person would try it: the launcher, curl and bitcoin-cli, nothing else.

`python -m regtest.walkthrough` pays in both modes on both databases, across restarts of service and
node and a kill -9, and checks every field of the contract at each step. Exit code 1 at the first
wrong field.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from regtest.checklist import ROW, Checklist
from regtest.child_process import ChildProcess
from regtest.command_line import clean_environment
from regtest.expected_payment import A_MOMENT, new_payment, transaction, wrong_fields
from regtest.free_ports import free_port
from regtest.node import RegtestNode
from regtest.node_rpc import NodeError
from regtest.person import LAUNCHER, Wrong
from regtest.postgres import PostgresServer

PACKAGE = {"id": "small", "name": "Small", "credits": 400, "price_sat": 40_000, "price_btc": "0.00040000"}


class Walk(Checklist):
    """One database, one way to the owner, one purchase."""

    def __init__(self, node: RegtestNode, mode: str, database_url: str, folder: Path) -> None:
        super().__init__(node, mode, free_port(), folder)
        self.database_url, self.config = database_url, folder / "nodetill.toml"
        self.service: ChildProcess | None = None

    def set_up(self) -> None:
        self.cli("-named", "createwallet", f"wallet_name={self.owner}", "load_on_startup=true")
        words = ["--network", "regtest", "--rpc-url", self.node.rpc_url]
        words += ["--rpc-cookie-file", str(self.node.cookie_file), "--port", str(self.port)]
        words += ["--zmq-rawtx", self.node.zmq_rawtx, "--zmq-hashblock", self.node.zmq_hashblock]
        words += ["--database-url", self.database_url]
        if self.mode == "watch-only":
            listed = self.cli(f"-rpcwallet={self.owner}", "listdescriptors")["descriptors"]
            words += ["--descriptor", next(d["desc"] for d in listed if d["desc"][:5] == "wpkh(" and not d["internal"])]
        else:
            (self.folder / "passphrase.txt").write_text("correct horse battery staple\n")
            (self.folder / "passphrase.txt").chmod(0o600)
            self.launcher("seed", "create", "--out", str(self.folder / "seed.json"), *self._passphrase())
            self.forward_to = self.cli(f"-rpcwallet={self.owner}", "getnewaddress")
            words += ["--seed-file", "seed.json", "--seed-passphrase-file", "passphrase.txt"]
            words += ["--forward-to", self.forward_to]
        self.launcher("init", "--config", str(self.config), *words)
        self.say("./nodetill init", f"{self.config.name} written, mode {self.config.stat().st_mode & 0o777:04o}")
        scopes = [word for scope in ("payments:read", "payments:write", "credits:read") for word in ("--scope", scope)]
        made = self.launcher("keys", "create", "--name", "shop", *scopes, "--json", "--config", str(self.config))
        self.key = json.loads(made)["key"]
        self.say("./nodetill keys create --json", f"{self.key[:18]}…")

    def _passphrase(self) -> tuple[str, str]:
        return "--passphrase-file", str(self.folder / "passphrase.txt")

    def serve(self) -> None:
        command = [LAUNCHER, "serve", "--config", str(self.config)]
        self.service = ChildProcess(command, log_file=self.log, environment=clean_environment(), folder=self.folder)
        self.until("GET /readyz", lambda: self.curl("GET", "/readyz", key=False)[0] == 200)

    def pay_across_restarts(self) -> None:
        self.serve()
        self.say("./nodetill serve", "GET /readyz 200")
        print(ROW.format("", "status", "conf", "received", "confirmed", "credited", ""))
        body = {"package_id": "small", "user_id": "alice", "metadata": {"order": 7}}
        status, _, text = self.curl("POST", "payments", body)
        self.same("POST /payments", status, 201)
        shown = json.loads(text)
        url = f"http://127.0.0.1:{self.port}"
        self.fields = new_payment(shown, url=url, package=PACKAGE, user_id="alice", metadata={"order": 7})
        self.compare("curl POST /payments", shown)
        address, payment_id = shown["address"], shown["payment_id"]
        mine = self.cli(f"-rpcwallet={self.owner}", "getaddressinfo", address)["ismine"]
        self.same("the address is the owner's", mine, self.mode == "watch-only")

        pay = ["-rpcwallet=payer", "-named", "sendtoaddress", f"address={address}", "amount=0.0004", "fee_rate=5"]
        txid = self.cli(*pay)
        raw = self.cli("getrawtransaction", txid, "1")
        vout = next(out["n"] for out in raw["vout"] if out["scriptPubKey"].get("address") == address)
        entry = [transaction(txid, vout, 40_000)]
        changes = {"status": "confirming", "received_sat": 40_000, "remaining_sat": 0, "tx_hash": txid}
        self.step("bitcoin-cli sendtoaddress", **changes, detected_at=A_MOMENT, transactions=entry)

        self.stop()
        self.serve()
        self.step("service restarted (SIGTERM)")
        height = self.mine()
        self.step("bitcoin-cli generatetoaddress 1", **_depth(txid, vout, 1, height))
        self.cli("stop")
        self.node.stop()
        self.until("GET /readyz 503", lambda: self.curl("GET", "/readyz", key=False)[0] == 503)
        self.step("bitcoin-cli stop (GET /readyz 503)")
        self.node.start()
        self.until("GET /readyz", lambda: self.curl("GET", "/readyz", key=False)[0] == 200)
        self.step("node started again (new cookie)")
        self.mine()
        self.step("bitcoin-cli generatetoaddress 1", **_depth(txid, vout, 2, height))
        self.same("POST /confirm", self.curl("POST", f"confirm/{payment_id}")[0], 409)
        if self.service is not None:
            self.service.kill()
        self.mine()
        self.serve()
        changes = {"status": "forwarded", "confirmed_sat": 40_000, "credited": 400}
        changes |= {"confirmed_at": A_MOMENT, "completed_at": A_MOMENT}
        done = self.step("kill -9, a block meanwhile, service started", **changes, **_depth(txid, vout, 3, height))
        self.mine()
        self.step("bitcoin-cli generatetoaddress 1", **_depth(txid, vout, 4, height))
        self.look_around(done)

    def look_around(self, done: dict[str, Any]) -> None:
        """Everything else that the contract shows of this purchase."""
        path = f"payments/{done['payment_id']}"
        status, _, text = self.curl("POST", f"confirm/{done['payment_id']}")
        self.same("POST /confirm", [status, json.loads(text).get("message")], [200, "Already processed"])
        status, _, text = self.curl("GET", path, key=False)
        payers = {name: value for name, value in self.fields.items() if name not in ("user_id", "metadata")}
        if wrong := [*wrong_fields(json.loads(text), payers), *({"user_id", "metadata"} & json.loads(text).keys())]:
            raise Wrong(f"the payer's view: {wrong}")
        entry = {"amount": 400, "kind": "payment", "payment_id": done["payment_id"], "reference": None}
        entries = [entry | {"balance_after": 400, "created_at": A_MOMENT}]
        self.same("credits", self.get("users/alice/credits"), {"user_id": "alice", "balance": 400, "entries": entries})
        told = [event["type"].removeprefix("payment.") for event in self.get("events")["events"]]
        wanted = ["created", "detected", *["confirming"] * 4, "credits.added", "confirmed", "forwarded"]
        self.same("events", told, wanted)
        for kind in ("svg", "png"):
            status, content_type, _ = self.curl("GET", f"{path}/qr.{kind}", key=False)
            self.same(f"qr.{kind}", [status, content_type.split(";")[0][:9]], [200, f"image/{kind}"])
        got = self.cli(f"-rpcwallet={self.owner}", "getreceivedbyaddress", self.last_address(done))
        self.say("balance 400, one entry, 9 events, QR, confirm", f"right; {self.checked} values compared")
        self.say("bitcoin-cli getreceivedbyaddress (the owner)", f"{got} BTC")

    def last_address(self, done: dict[str, Any]) -> str:
        return str(done["address"] if self.mode == "watch-only" else self.forward_to)

    def mine(self) -> int:
        self.cli("generatetoaddress", "1", self.cli("-rpcwallet=payer", "getnewaddress"))
        return int(self.cli("getblockcount"))

    def stop(self) -> None:
        if self.service is not None:
            self.service.stop()


def _depth(txid: str, vout: int, depth: int, height: int) -> dict[str, Any]:
    return {"confirmations": depth, "transactions": [transaction(txid, vout, 40_000, depth, height)]}


def main() -> int:
    """All four combinations; the exit code."""
    if shutil.which("curl") is None:
        print("This walkthrough needs curl: sudo apt install curl", file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="nodetill-walk-") as name,
        RegtestNode() as node,
        PostgresServer() as server,
    ):
        print(f"{node.programs.version}; curl; SQLite and PostgreSQL", flush=True)
        node.fund()
        number = 0
        for engine in ("sqlite", "postgres"):
            for mode in ("watch-only", "forwarding"):
                number += 1
                folder = Path(name) / str(number)
                folder.mkdir()
                url = "sqlite:///till.db" if engine == "sqlite" else server.create_database()
                walk = Walk(node, mode, url, folder)
                print(f"\n{number}. {mode}, {engine}", flush=True)
                try:
                    walk.set_up()
                    walk.pay_across_restarts()
                except (Wrong, NodeError) as wrong:
                    print(f"  WRONG: {wrong}", flush=True)
                    return 1
                finally:
                    walk.stop()
    print("\nEvery field was right at every step.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
