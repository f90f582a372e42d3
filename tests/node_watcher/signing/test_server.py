"""The signer's process at its socket: rubbish changes nothing, strangers get nothing, a kill loses nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node_watcher.signing import wire
from node_watcher.signing.door import Admitted
from node_watcher.signing.remote import RemoteSigner
from node_watcher.signing.signer import SignerDown, SigningFailed, SweepInput, SweepRefused
from node_watcher.signing.signers import open_signer
from payments.address import address_of, script_pubkey
from payments.descriptor import RangedDescriptor
from payments.model import OutPoint
from regtest.signer_process import RunningSigner
from tests.node_watcher.signing.guard import DESTINATION
from tests.waiting import wait_for

OTHER = b"\x51\x20" + bytes(31) + b"\x02"


@pytest.fixture(scope="module")
def signer() -> Iterator[RunningSigner]:
    with RunningSigner(address_of(DESTINATION, "regtest")) as running:
        yield running


@pytest.fixture
def own() -> Iterator[RunningSigner]:
    """One that the test may ruin."""
    made = RunningSigner(address_of(DESTINATION, "regtest"))
    yield made
    made.close()


def coin(signer: RunningSigner, number: int, value_sat: int = 100_000) -> SweepInput:
    script = RangedDescriptor.parse(signer.descriptor, "regtest").script_pubkey(number)
    return SweepInput(OutPoint(f"{number:064x}", 0), value_sat, number, script)


def test_signed_over_the_socket(signer: RunningSigner) -> None:
    signed = signer.ask.sign_sweep([coin(signer, 1), coin(signer, 2)], DESTINATION, 500, 100)
    assert signed.fee_sat == 500
    assert signer.ask.sign_sweep([coin(signer, 1), coin(signer, 2)], DESTINATION, 500, 100) == signed
    said = signer.ask.describe()
    assert (said.network, said.descriptor, said.fingerprint) == ("regtest", signer.descriptor, signer.seed.fingerprint)
    assert script_pubkey(said.destination, "regtest") == DESTINATION


def test_500_inputs_go_through(signer: RunningSigner) -> None:
    coins = [coin(signer, number, 10_000) for number in range(1_000, 1_500)]
    assert signer.ask.sign_sweep(coins, DESTINATION, 40_000, 100).vsize < 35_000


def test_the_refusals_are_the_signers_own_words(signer: RunningSigner) -> None:
    with pytest.raises(SweepRefused, match=r"own destination .*wallet\.forward_to"):
        signer.ask.sign_sweep([coin(signer, 1)], OTHER, 500, 100)
    with pytest.raises(SweepRefused, match="max_feerate of 50"):
        signer.ask.sign_sweep([coin(signer, 1)], DESTINATION, 50_000, 100)
    with pytest.raises(SweepRefused, match="not of this signer's seed"):
        signer.ask.sign_sweep([coin(signer, 1)._replace(script_pubkey=b"\x00\x14" + bytes(20))], DESTINATION, 500, 100)


# ------------------------------------------------------------------ rubbish


def framed(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def asked(**changes: Any) -> bytes:
    """A question with something else in it; a value of ... takes the name out."""
    one: dict[str, Any] = {"txid": "11" * 32, "vout": 0, "value_sat": 9_000, "key_index": 0, "script": None}
    one |= {name: value for name, value in changes.items() if name in one}
    question = {"ask": "sign", "inputs": [one], "destination": DESTINATION.hex(), "fee_sat": 500, "locktime": 1}
    question |= {name: value for name, value in changes.items() if name not in one}
    one = {name: value for name, value in one.items() if value is not ...}
    question = {name: value for name, value in question.items() if value is not ...}
    if "inputs" in question and "inputs" not in changes:
        question["inputs"] = [one]
    return framed(json.dumps(question).encode())


RUBBISH: dict[str, bytes] = {
    "nothing": b"",
    "half a length": b"\x00\x00",
    "no length": framed(b""),
    "a giant": b"\xff\xff\xff\xff",
    "a little too long": (wire.MAX_BYTES + 1).to_bytes(4, "big") + b" " * 100,
    "cut short": framed(b'{"ask": "describe"}')[:-1],
    "no JSON": framed(b"GET / HTTP/1.1\r\n\r\n"),
    "no UTF-8": framed(b"\xff\xfe\x00"),
    "a list": framed(b"[]"),
    "nested deeply": framed(b"[" * 200_000),
    "another question": framed(b'{"ask": "seed"}'),
    "more than describe": framed(b'{"ask": "describe", "and": 1}'),
    "a name twice": framed(b'{"ask": "describe", "ask": "describe"}'),
    "no question": asked(ask=...),
    "a name too many": asked(seed=1),
    "a name too few": asked(fee_sat=...),
    "no inputs": asked(inputs={}),
    "inputs of texts": asked(inputs=["x"]),
    "very many inputs": asked(inputs=[1] * 2_001),
    "a float": asked(fee_sat=500.0),
    "a NaN": framed(b'{"ask": "sign", "fee_sat": NaN}'),
    "a truth value": asked(vout=True),
    "a negative fee": asked(fee_sat=-1),
    "a number of a thousand digits": asked(value_sat=10**1000),
    "more than all money": asked(value_sat=2_100_000_000_000_001),
    "a short txid": asked(txid="11" * 31),
    "an odd txid": asked(txid="1" * 63),
    "a txid in capitals": asked(txid="AA" * 32),
    "a txid with blanks": asked(txid="11 " * 32),
    "a number as a script": asked(script=5),
    "a long script": asked(script="00" * 101),
    "no destination": asked(destination=None),
}


def sent(signer: RunningSigner, content: bytes) -> bytes:
    """What comes back before the other side hangs up."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(signer.socket))
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(100)
        except (BrokenPipeError, ConnectionResetError):
            return b""


@pytest.mark.parametrize("content", RUBBISH.values(), ids=RUBBISH.keys())
def test_rubbish_gets_no_answer_and_changes_nothing(signer: RunningSigner, content: bytes) -> None:
    before = (signer.folder / "journal").read_bytes()
    assert sent(signer, content) == b""
    assert (signer.folder / "journal").read_bytes() == before
    assert signer.ask.describe()


def test_the_good_question_beside_the_rubbish_is_answered(signer: RunningSigner) -> None:
    assert b"signed" in sent(signer, asked())


def test_who_says_nothing_holds_nobody_up_for_long(signer: RunningSigner) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(signer.socket))
        assert RemoteSigner(signer.socket, patience=20).describe()


# ------------------------------------------------------------------ who may ask


def test_the_socket_is_its_owners(signer: RunningSigner) -> None:
    assert stat.S_IMODE(signer.socket.stat().st_mode) == 0o600


def as_user(uid: int, gid: int, groups: list[int], path: Path) -> str:
    """What somebody else gets who asks the signer; he may come as far as the socket."""
    here, there = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            try:
                RemoteSigner(path, patience=20).describe()
                there.send(b"answered")
            except SignerDown as error:
                there.send(str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    with here, there:
        return here.recv(1_000).decode()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_only_who_is_named_may_ask(own: RunningSigner) -> None:
    own.folder.chmod(0o711)
    own.start()
    assert "does not answer" in as_user(4_321, 4_321, [], own.socket)
    own.socket.chmod(0o666)
    assert "hung up" in as_user(4_321, 4_321, [], own.socket), "the mode of the file alone decides nothing"
    own.stop()
    own.settings |= {"allow_uid": 4_321}
    own.write_config()
    own.start()
    assert as_user(4_321, 1, [], own.socket) == "answered"
    assert "hung up" in as_user(4_322, 1, [], own.socket)
    own.stop()
    own.settings |= {"allow_uid": None, "allow_group": 777}
    own.write_config()
    own.start()
    assert stat.S_IMODE(own.socket.stat().st_mode) == 0o660
    assert as_user(4_321, 777, [], own.socket) == "answered"
    assert as_user(4_321, 1, [777], own.socket) == "answered"
    own.socket.chmod(0o666)
    assert "hung up" in as_user(4_321, 1, [], own.socket)


def test_who_is_named_widens_the_mode() -> None:
    assert [Admitted().mode, Admitted(gid=5).mode, Admitted(uid=5).mode] == [0o600, 0o660, 0o666]


# ------------------------------------------------------------------ life and death


def test_killed_at_any_time_it_says_the_same_again(own: RunningSigner) -> None:
    own.settings["daily_cap_sat"] = 100_000
    own.write_config()
    own.start()
    signed = own.ask.sign_sweep([coin(own, 1)], DESTINATION, 500, 100)
    own.kill()
    assert own.socket.exists(), "what a dead signer leaves"
    own.start()
    assert own.ask.sign_sweep([coin(own, 1)], DESTINATION, 500, 100) == signed
    with pytest.raises(SweepRefused, match="daily_cap_sat of 100000"):
        own.ask.sign_sweep([coin(own, 2, 1_000)], DESTINATION, 200, 100)


def test_killed_between_journal_and_answer(own: RunningSigner) -> None:
    """Killed while the journal has the line and nobody has the answer: the same question gets the same bytes."""
    own.start()
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(own.ask.sign_sweep([coin(own, 1)], DESTINATION, 500, 100))
        except SignerDown as error:
            answers.append(error)

    journal = own.folder / "journal"
    empty = journal.stat().st_size
    # Frozen first, the question waits in the queue; then it is let go, and killed as soon as the line is there.
    own.signal(signal.SIGSTOP)
    asking = threading.Thread(target=ask)
    asking.start()
    own.signal(signal.SIGCONT)
    wait_for(lambda: journal.stat().st_size > empty)
    own.kill()
    asking.join()
    (line,) = [json.loads(text) for text in journal.read_text().splitlines()[1:]]
    own.start()
    assert own.ask.sign_sweep([coin(own, 1)], DESTINATION, 500, 100).hex == line["raw"]
    assert len(journal.read_text().splitlines()) == 2


def test_it_ends_politely(own: RunningSigner) -> None:
    own.start()
    assert own.stop() == 0
    assert not own.socket.exists()
    with pytest.raises(SignerDown, match="does not answer"):
        own.ask.describe()


def test_two_signers_on_one_socket_or_one_journal(own: RunningSigner) -> None:
    own.start()
    own.run().refused("journal", "another signer")
    (own.folder / "second.toml").write_text(own.config.read_text().replace('"journal"', '"journal2"'))
    own.config = own.folder / "second.toml"
    own.config.chmod(0o600)
    own.run().refused("listens", "already")
    assert own.ask.describe()


def test_a_file_in_the_sockets_place_is_not_removed(own: RunningSigner) -> None:
    own.socket.write_text("mine")
    own.run().refused("no socket")
    assert own.socket.read_text() == "mine"


def test_a_socket_of_somebody_who_lives_is_left_alone(own: RunningSigner) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(own.socket))
        other.listen()
        own.run().refused("listens", "already")
    own.start()
    assert own.ask.describe()


# ------------------------------------------------------------------ a signer that lies


class Impostor:
    """Answers every question with the same bytes."""

    def __init__(self, path: Path, answer: Callable[[], bytes]) -> None:
        self.path, self.answer = path, answer

    def __enter__(self) -> RemoteSigner:
        self.door = socket.socket(socket.AF_UNIX)
        self.door.bind(str(self.path))
        self.door.listen()
        self.thread = threading.Thread(target=self._answer)
        self.thread.start()
        return RemoteSigner(self.path, patience=10)

    def _answer(self) -> None:
        connection, _ = self.door.accept()
        with connection:
            length = struct.unpack(">I", connection.recv(4))[0]
            while length > 0:
                length -= len(connection.recv(65_536))
            connection.sendall(self.answer())

    def __exit__(self, *_: object) -> None:
        self.thread.join()
        self.door.close()


def signed_by(signer: RunningSigner, **otherwise: Any) -> bytes:
    """An answer to another question than the one below."""
    asked: dict[str, Any] = {"coins": [coin(signer, 1), coin(signer, 2)], "fee": 500, "locktime": 100} | otherwise
    seed = signer.seed
    honest = open_signer(lambda index: seed.private_key("regtest", index + asked.get("shift", 0)))
    coins = [one._replace(script_pubkey=None) for one in asked["coins"]]
    raw = honest.sign_sweep(coins, asked.get("to", DESTINATION), asked["fee"], asked["locktime"]).raw
    return framed(json.dumps({"signed": asked.get("change", lambda same: same)(raw).hex()}).encode())


def one_bit(raw: bytes) -> bytes:
    """In the middle of the first signature."""
    place = raw.index(b"\x02\x47") if b"\x02\x47" in raw else raw.index(b"\x02\x48")
    return raw[: place + 40] + bytes([raw[place + 40] ^ 1]) + raw[place + 41 :]


LIES: dict[str, dict[str, Any]] = {
    "another destination": {"to": OTHER},
    "another fee": {"fee": 501},
    "another locktime": {"locktime": 101},
    "other keys": {"shift": 1},
    "a broken signature": {"change": one_bit},
    "a byte too many": {"change": lambda raw: raw[:-4] + b"\x00" + raw[-4:]},
    "a byte too few": {"change": lambda raw: raw[:-1]},
    "a flag that nobody signed": {"change": lambda raw: raw[:5] + b"\x02" + raw[6:]},
    "another locktime beside its signatures": {"change": lambda raw: raw[:-4] + bytes(4)},
    "nothing": {"change": lambda raw: b""},
    "without its witnesses": {"change": lambda raw: raw[:4] + raw[6 : 6 + 1 + 82 + 1 + 43] + raw[-4:]},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_signer_that_lies_is_refused(signer: RunningSigner, tmp_path: Path, lie: dict[str, Any]) -> None:
    with Impostor(signer.folder / "lie", lambda: signed_by(signer, **lie)) as remote, pytest.raises(SigningFailed):
        remote.sign_sweep([coin(signer, 1), coin(signer, 2)], DESTINATION, 500, 100)
    (signer.folder / "lie").unlink()


def test_another_coin_is_refused(signer: RunningSigner) -> None:
    lie = {"coins": [coin(signer, 1), coin(signer, 3)]}
    with Impostor(signer.folder / "lie", lambda: signed_by(signer, **lie)) as remote, pytest.raises(SigningFailed):
        remote.sign_sweep([coin(signer, 1), coin(signer, 2)], DESTINATION, 500, 100)
    (signer.folder / "lie").unlink()


def test_the_truth_by_the_same_way_is_taken(signer: RunningSigner) -> None:
    with Impostor(signer.folder / "lie", lambda: signed_by(signer)) as remote:
        assert remote.sign_sweep([coin(signer, 1), coin(signer, 2)], DESTINATION, 500, 100).fee_sat == 500
    (signer.folder / "lie").unlink()


@pytest.mark.parametrize(
    "answer",
    [b"rubb", framed(b"{}"), framed(b'{"signed": 5}'), framed(b'{"refused": "a\\nb"}'), framed(b'{"described": {}}')],
)
def test_nonsense_is_a_failure_that_is_told(signer: RunningSigner, answer: bytes) -> None:
    with Impostor(signer.folder / "lie", lambda: answer) as remote, pytest.raises((SigningFailed, SignerDown)):
        remote.sign_sweep([coin(signer, 1)], DESTINATION, 500, 100)
    (signer.folder / "lie").unlink()
