"""`nodetill doctor` beside a real node: everything green, and each thing that is wrong named with its mend."""

from __future__ import annotations

import json

import pytest

from regtest.command_line import Ended, main
from regtest.conftest import COMBINATIONS, MakeTill, narrow
from regtest.free_ports import free_port
from regtest.node import RegtestNode
from regtest.service import RunningService

CHECKS = ["node", "permissions", "chain", "mempool", "zmq rawtx", "zmq hashblock", "wallet", "clock", "descriptor"]
CHECKS += ["database"]


def doctor(till: RunningService, *words: str) -> Ended:
    done = main("doctor", "--config", str(till.config), *words)
    assert "Traceback" not in done.err
    return done


def told(till: RunningService) -> dict[str, tuple[str, str]]:
    """`{check: (colour, detail)}`, and the exit code agrees with the colours."""
    done = doctor(till, "--json")
    answer = json.loads(done.out)
    found = {finding["check"]: (finding["colour"], finding["detail"]) for finding in answer["findings"]}
    sick = any(colour == "red" for colour, _ in found.values())
    assert (done.code, answer["ok"]) == (1 if sick else 0, not sick)
    return found


def colours(till: RunningService) -> dict[str, str]:
    return {check: colour for check, (colour, _) in told(till).items()}


@pytest.fixture(scope="module")
def quiet(strict_node: RegtestNode, make_till: MakeTill) -> RunningService:
    """Settings for a node without ZMQ, and a service that never ran."""
    return make_till(strict_node, start=False, zmq=False)


@pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)
def test_all_is_well(combination: tuple[str, str], node: RegtestNode, make_till: MakeTill) -> None:
    till = make_till(node, *combination)
    payment = till.create("small", "ann")
    till.wait("the wallet", lambda: colours(till)["wallet"] == "green")
    found = told(till)
    assert list(found) == [*CHECKS, "service", *(["disk"] if combination[0] == "sqlite" else [])]
    assert {colour for check, (colour, _) in found.items() if check != "disk"} == {"green"}
    assert node.tip in found["chain"][1]
    assert payment["address"] in found["descriptor"][1]
    assert "1 payments" in found["database"][1]
    plain = doctor(till)
    assert plain.code == 0
    assert plain.out.splitlines()[-1] == "Nothing to mend."
    assert plain.out.count("\n") == len(found) + 1


def test_before_the_first_start_nothing_is_made(quiet: RunningService) -> None:
    before = {path: path.stat().st_mtime_ns for path in quiet.folder.rglob("*")}
    wallets = quiet.node.rpc("listwallets")
    found = told(quiet)
    assert found["database"][0] == "yellow"
    assert found["wallet"][0] == "yellow"
    assert "first start" in found["database"][1]
    assert {path: path.stat().st_mtime_ns for path in quiet.folder.rglob("*")} == before
    assert quiet.node.rpc("listwallets") == wallets


def test_zmq_is_off_or_elsewhere(quiet: RunningService, node: RegtestNode, make_till: MakeTill) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    for till, words in ((quiet, f"zmqpubrawtx={address}"), (make_till(node, start=False), node.zmq_rawtx)):
        till.settings["node"] |= {"zmq_rawtx": address, "zmq_hashblock": address}
        till.write_config()
        colour, detail = told(till)["zmq rawtx"]
        assert colour == "red"
        assert "node.zmq_rawtx" in detail
        assert words in detail


def test_all_missing_permissions_at_once(strict_node: RegtestNode, make_till: MakeTill) -> None:
    till = make_till(strict_node, start=False, zmq=False)
    narrow(till)
    till.write_config()
    found = told(till)
    assert found["permissions"][0] == "red"
    assert "getblockhash, getblockheader, " in found["permissions"][1]
    assert "rpcwhitelist=narrow:" in found["permissions"][1]
    assert "chain" not in found


def test_another_chain_and_a_node_that_is_not_there(strict_node: RegtestNode, make_till: MakeTill) -> None:
    strict_node.mine(1)
    till = make_till(strict_node, start=False, zmq=False)
    till.settings["node"]["checkpoints"] = [{"height": 1, "hash": "ab" * 32}]
    till.write_config()
    assert told(till)["chain"][0] == "red"
    till.settings["node"] |= {"checkpoints": [], "rpc_url": f"http://127.0.0.1:{free_port()}"}
    till.write_config()
    found = told(till)
    assert found["node"][0] == "red"
    assert "node.rpc_url" in found["node"][1]
    assert set(found) == {"node", "descriptor", "database", "disk"}


def test_what_the_service_says_of_itself(make_till: MakeTill, own_node: RegtestNode) -> None:
    till = make_till(own_node)
    own_node.stop()
    till.wait("the reason", lambda: till.not_ready() == ["node"])
    found = told(till)
    assert (found["node"][0], found["service"][0]) == ("red", "red")
    own_node.start()
    till.wait_level()
    assert colours(till)["service"] == "green"


def test_a_wrong_setting_is_one_line(quiet: RunningService) -> None:
    main("doctor", "--config", str(quiet.folder / "none.toml")).refused("none.toml")
