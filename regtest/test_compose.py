"""docker-compose.yml, profile `regtest`: built, started, paid through, and gone without a trace."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regtest.free_ports import free_port
from tests.waiting import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parent.parent
NODE, TILL, SIGNER = "regtest-node", "regtest-till", "signer"
SOCKET = "/run/nodetill-signer/socket"


class Stack:
    """The compose file under a project name and a port of its own."""

    def __init__(self) -> None:
        self.project = f"nodetill-test-{secrets.token_hex(4)}"
        self.url = f"http://127.0.0.1:{free_port()}"
        # The compose file passes settings on; whoever runs the tests may have some of their own.
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("NODETILL_")}
        self._environment["NODETILL_API__PORT"] = self.url.rpartition(":")[2]
        self._profiles = ["regtest"]

    def compose(self, *words: str, timeout: float = 120, typed: str | None = None) -> str:
        """Output of `docker compose --profile regtest WORDS…`, which must succeed. `typed` is its standard input."""
        profiles = [word for profile in self._profiles for word in ("--profile", profile)]
        command = ["docker", "compose", "--ansi=never", "-p", self.project, *profiles, *words]
        return _run(command, self._environment, timeout, typed)

    def with_signer(self) -> None:
        """From now on with the signer's container."""
        self._profiles.append(SIGNER)

    def set_wallet(self, **wallet: str) -> None:
        """Settings of `[wallet]` that the till starts with from now on."""
        self._environment |= {f"NODETILL_WALLET__{name.upper()}": value for name, value in wallet.items()}

    def start(self) -> None:
        """All containers running and healthy; if not, their last words are in the error."""
        try:
            self.compose("up", "-d", "--wait")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.compose('logs', '--tail=25', '--no-color')}") from None

    def inspect(self, service: str, template: str) -> Any:
        """What `docker inspect` answers for a Go template that prints JSON."""
        container = self.compose("ps", "-q", service).strip()
        return json.loads(_run(["docker", "inspect", "-f", template, container], self._environment, 60))

    def cli(self, *words: str) -> Any:
        """`bitcoin-cli WORDS…` in the node's container; JSON where it is that."""
        text = self.compose("exec", "-T", NODE, "bitcoin-cli", *words).strip()
        return json.loads(text) if text[:1] in ("{", "[") else text

    def ask(self, path: str, body: dict[str, Any] | None = None, key: str | None = None) -> Any:
        """JSON of the service, asked from outside of the containers."""
        request = urllib.request.Request(f"{self.url}{path}", None if body is None else json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        if key is not None:
            request.add_header("Authorization", f"Bearer {key}")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return json.load(answer)

    def ready(self) -> bool:
        """Whether `/readyz` says 200."""
        try:
            self.ask("/readyz")
        except (urllib.error.HTTPError, OSError):
            return False
        return True

    def remains(self) -> list[str]:
        """Every container, volume, network and image of the project."""
        label = ["--filter", f"label=com.docker.compose.project={self.project}", "-q"]
        found = [
            _run(["docker", *words, *label], self._environment, 60)
            for words in (["ps", "-a"], ["volume", "ls"], ["network", "ls"])
        ]
        found.append(_run(["docker", "images", "-q", f"{self.project}-*"], self._environment, 60))
        return [line for text in found for line in text.split()]


def _run(command: list[str], environment: dict[str, str], timeout: float, typed: str | None = None) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=environment, input=typed, capture_output=True, text=True, timeout=timeout, check=False
    )
    words = " ".join(command)
    assert done.returncode == 0, f"{words} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Built and healthy; taken down with its volumes and images."""
    made = Stack()
    try:
        # With nothing cached this fetches a node and some fifty Python packages.
        made.compose("build", timeout=1000)
        made.start()
        yield made
    finally:
        made.compose("down", "-v", "--rmi", "local", "--remove-orphans")
    assert made.remains() == []


def test_a_purchase_through_docker_compose(stack: Stack) -> None:
    made = stack.compose(
        *("exec", "-T", TILL, "nodetill", "keys", "create", "--name", "shop", "--json"),
        *("--scope", "payments:write", "--scope", "payments:read", "--scope", "credits:read"),
    )
    key = str(json.loads(made)["key"])
    base = "/api/v1/bitcoin"
    payment = stack.ask(f"{base}/payments", {"package_id": "small", "user_id": "u1"}, key)
    where = f"{base}/payments/{payment['payment_id']}"
    assert payment["checkout_url"] == f"{stack.url}/pay/{payment['payment_id']}"

    stack.cli("-named", "createwallet", "wallet_name=payer", "load_on_startup=true")
    stack.cli("-rpcwallet=payer", "-generate", "101")
    txid = stack.cli("-rpcwallet=payer", "sendtoaddress", payment["address"], payment["amount_btc"])

    def status() -> str:
        return str(stack.ask(where, key=key)["status"])

    wait_for(lambda: status() == "confirming", what="the payment to be seen")

    # A node that starts again writes a new cookie, into the same volume.
    stack.compose("restart", NODE)
    stack.start()
    stack.cli("-rpcwallet=payer", "-generate", "3")
    wait_for(lambda: status() == "forwarded", timeout=60, what="the payment to be credited")
    stack.compose("up", "-d", "--wait", "--force-recreate", TILL)
    wait_for(stack.ready, timeout=60)

    paid = stack.ask(where, key=key)
    assert (paid["status"], paid["tx_hash"], paid["confirmations"]) == ("forwarded", txid, 3)
    credits = stack.ask(f"{base}/users/u1/credits", key=key)
    assert (credits["balance"], len(credits["entries"])) == (payment["credits"], 1)


def test_coins_are_forwarded_by_a_signer_in_a_container_of_its_own(stack: Stack) -> None:
    stack.cli("-named", "createwallet", "wallet_name=owner")
    owners = stack.cli("-rpcwallet=owner", "getnewaddress")
    stack.with_signer()
    run = ("run", "--rm", "-T")
    for name, text in (("passphrase", secrets.token_hex(8)), ("signer.toml", signer_toml(owners))):
        stack.compose(*run, "--entrypoint", "sh", SIGNER, "-c", f"umask 077; cat >{name}", typed=text)
    secret = ("--passphrase-file", "passphrase")
    stack.compose(*run, SIGNER, "seed", "create", "--out", "seed.json", *secret)
    shown = json.loads(
        stack.compose(*run, SIGNER, "seed", "show-xpub", "seed.json", "--network", "regtest", *secret, "--json")
    )
    stack.set_wallet(descriptor=shown["descriptor"], forward_to=owners, signer_socket=SOCKET)
    stack.compose("rm", "-s", "-f", "-v", TILL)
    _run(["docker", "volume", "rm", f"{stack.project}_{TILL}"], dict(os.environ), 60)  # of another descriptor
    stack.start()

    made = stack.compose(
        *("exec", "-T", TILL, "nodetill", "keys", "create", "--name", "shop", "--json"),
        *("--scope", "payments:write", "--scope", "payments:read"),
    )
    key = str(json.loads(made)["key"])
    payment = stack.ask("/api/v1/bitcoin/payments", {"package_id": "small", "user_id": "u1"}, key)
    stack.cli("-named", "createwallet", "wallet_name=payer")
    stack.cli("-rpcwallet=payer", "-generate", "101")
    stack.cli("-rpcwallet=payer", "sendtoaddress", payment["address"], payment["amount_btc"])
    stack.cli("-rpcwallet=payer", "-generate", "3")

    def forwarded() -> Any:
        return stack.ask(f"/api/v1/bitcoin/payments/{payment['payment_id']}", key=key)["forwarding_tx_hash"]

    txid = wait_for(forwarded, timeout=60, what="the payment to be forwarded")
    (arriving,) = stack.cli("-rpcwallet=owner", "listunspent", "0")
    assert (arriving["txid"], arriving["address"]) == (txid, owners)
    assert stack.inspect(SIGNER, "{{json .HostConfig.NetworkMode}}") == "none"
    for there in ("/signer", "/signer/seed.json"):
        with pytest.raises(AssertionError, match=r"No such file|Permission denied"):
            stack.compose("exec", "-T", TILL, "ls", f"{there}/.")


def signer_toml(destination: str) -> str:
    return f"""
network = "regtest"
seed_file = "seed.json"
seed_passphrase_file = "passphrase"
socket = "{SOCKET}"
journal = "journal"
destination = "{destination}"
max_feerate = 50
max_fee_sat = 20_000
daily_cap_sat = 1_000_000
allow_uid = 1000
"""


def test_the_containers_hold_no_privileges(stack: Stack) -> None:
    for service in (NODE, TILL):
        lines = stack.compose("exec", "-T", service, "sh", "-c", "id -u; cat /proc/self/status").splitlines()
        facts = dict(line.split(":\t", 1) for line in lines[1:])
        assert lines[0] == "1000"
        assert {facts[name].strip() for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert facts["NoNewPrivs"] == "1"
        with pytest.raises(AssertionError, match="Read-only file system"):
            stack.compose("exec", "-T", service, "touch", "/home/somewhere")

    published = "{{json .NetworkSettings.Ports}}"
    assert not any(stack.inspect(NODE, published).values()), "the node must not be reached from outside"
    bindings = [binding for bound in stack.inspect(TILL, published).values() if bound for binding in bound]
    assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}
