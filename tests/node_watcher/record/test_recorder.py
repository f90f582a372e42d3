"""What is written down while the database refuses or the service is stopped in its work, and that it plays again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from node_watcher.record.lines import FORMAT, RecordWriter
from node_watcher.record.parts import RecordedDatabase, RecordedSigner
from node_watcher.record.player import Parted, Player
from node_watcher.record.reading import Reading
from node_watcher.record.recorder import Recorder
from node_watcher.record.replayed_till import ReplayedDatabase, ReplayedSigner
from node_watcher.signing.signer import SignedTx, Signer, SweepInput
from payments.model import OutPoint
from storage import recorded, till
from storage.database import Database
from storage.errors import DatabaseBusy
from storage.tx import Context, Tx

Ask = Callable[[Sequence[Sequence[object]]], Awaitable[list[Any]]]
WORDS = ["a", "b", "c", "d"]
SIGNED = SignedTx(b"raw", "5" * 64, 110, 10)


class Trouble:
    """What the database does at one word: refuse it, or hold it until it is let go."""

    def __init__(self, refused: str = "", held: str = "") -> None:
        self.refused, self.held = refused, held
        self.reached, self.let_go = threading.Event(), threading.Event()

    def put(self, tx: Tx, word: str) -> None:
        if word == self.refused:
            raise DatabaseBusy(f"{word} is locked")
        if word == self.held:
            self.reached.set()
            self.let_go.wait(10)
        till.keychain(tx, word, word, watch_only=True, now=1)


async def work(ask: Ask, database: Database, trouble: Trouble) -> int:
    """An activity: ask which words to write, and write them; what is refused is asked about."""
    (words,) = await ask([("words",)])
    for word in words:
        try:
            await database.write(trouble.put, word)
        except DatabaseBusy as error:
            await ask([("what now", str(error))])
    return len(words)


class Pen:
    """Signs, once it is let go."""

    def __init__(self, *, held: bool = False) -> None:
        self.reached, self.let_go = threading.Event(), threading.Event()
        if not held:
            self.let_go.set()

    def sign_sweep(
        self, inputs: Sequence[SweepInput], destination_script: bytes, fee_sat: int, locktime: int
    ) -> SignedTx:
        self.reached.set()
        self.let_go.wait(10)
        return SIGNED


async def sign(ask: Ask, database: Database, signer: Signer) -> int:
    """An activity: ask, write, sign, write what was signed."""
    await ask([("what is due",)])
    await database.write(Trouble().put, "booked")
    coin = SweepInput(OutPoint("c" * 64, 0), 1_000, 0, b"")
    signed = await asyncio.to_thread(signer.sign_sweep, [coin], b"", SIGNED.fee_sat, 7)
    await database.write(Trouble().put, signed.txid)
    return 1


class Played:
    """The till of the player."""

    def __init__(self, database: ReplayedDatabase) -> None:
        self.database = database
        self.player: Player | None = None

    async def start(self, player: Player, header: dict[str, Any]) -> None:
        self.player = self.database.player = player
        await self.database.write(till.claim, "regtest", 1)

    def activity(self, do: str, given: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        assert self.player is not None
        if do == "sign":
            return sign(self.player.ask, self.database, ReplayedSigner(self.player))
        return work(self.player.ask, self.database, Trouble())

    async def act(self, said: dict[str, Any]) -> str:
        return ""


async def record(path: Path, trouble: Trouble, *, stopped: bool = False) -> dict[str, str]:
    """One activity, written down; the state that it came to."""
    recorder = Recorder(RecordWriter(path))
    url = f"sqlite:///{path}.db"
    async with RecordedDatabase(recorder, url, Context(), leader=True) as database:
        await database.write(till.claim, "regtest", 1)
        await recorder.begin(database, {}, recorded.Newest())

        async def answer() -> list[Any]:
            return [WORDS]

        doing = asyncio.create_task(
            recorder.perform(
                "work", {}, lambda: work(lambda q: recorder.exchange(q, answer), database, trouble), lambda done: done
            )
        )
        if stopped:
            await asyncio.to_thread(trouble.reached.wait, 10)
            doing.cancel()
            asyncio.get_running_loop().call_later(0.2, trouble.let_go.set)
        await asyncio.gather(doing, return_exceptions=True)
        await recorder.end()
        return await database.read(recorded.fingerprint)


async def play(path: Path) -> dict[str, str]:
    reading = Reading(path)
    try:
        async with ReplayedDatabase(f"sqlite:///{path}.again.db", Context()) as database:
            await Player(reading, Played(database)).play()
            return await database.read(recorded.fingerprint)
    finally:
        reading.close()


async def test_what_goes_well(tmp_path: Path) -> None:
    assert await record(tmp_path / "r", Trouble()) == await play(tmp_path / "r")


@pytest.mark.parametrize("word", WORDS)
async def test_a_write_that_was_refused_is_refused_again(tmp_path: Path, word: str) -> None:
    state = await record(tmp_path / "r", Trouble(refused=word))
    assert '"refused":"work 1"' in (tmp_path / "r").read_text()
    assert await play(tmp_path / "r") == state


@pytest.mark.parametrize("word", WORDS)
async def test_work_that_was_stopped_ends_where_it_was_stopped(tmp_path: Path, word: str) -> None:
    state = await record(tmp_path / "r", Trouble(held=word), stopped=True)
    assert '"cut":"work 1"' in (tmp_path / "r").read_text()
    assert await play(tmp_path / "r") == state


async def test_another_state_is_told_by_its_kind(tmp_path: Path) -> None:
    await record(tmp_path / "r", Trouble())
    text = (tmp_path / "r").read_text()
    at = text.rindex('"keychains":"') + len('"keychains":"')
    (tmp_path / "r").write_text(text[:at] + "0" * 16 + text[at + 16 :])
    with pytest.raises(Parted, match="other keychains than the service had at the end of the run"):
        await play(tmp_path / "r")


async def record_signing(path: Path, pen: Pen, end: str) -> dict[str, str]:
    """A sweep, written down until the process ends: killed while it signs, cut off then, or by itself."""
    recorder = Recorder(RecordWriter(path))
    async with RecordedDatabase(recorder, f"sqlite:///{path}.db", Context(), leader=True) as database:
        await database.write(till.claim, "regtest", 1)
        await recorder.begin(database, {}, recorded.Newest())

        async def answer() -> list[Any]:
            return [1]

        signer = RecordedSigner(recorder, pen)
        doing = asyncio.create_task(
            recorder.perform("sign", {}, lambda: sign(lambda q: recorder.exchange(q, answer), database, signer), int)
        )
        if end == "by itself":
            await doing
        else:
            await asyncio.to_thread(pen.reached.wait, 10)
        state = await database.read(recorded.fingerprint)
        killed = path.read_bytes()
        if end == "cut off":
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)
        pen.let_go.set()
        await asyncio.gather(doing, return_exceptions=True)
        await asyncio.to_thread(lambda: None)
        await recorder.end()
    if end == "killed":
        path.write_bytes(killed)
        next_run(path, state)
    return state


def next_run(path: Path, state: dict[str, str]) -> None:
    """The first line of the run after a kill, which says what the database has."""
    writer = RecordWriter(path)
    writer.write({"run": FORMAT, "at": 1, "state": state})
    writer.close()


@pytest.mark.parametrize("end", ["killed", "cut off", "by itself"])
async def test_a_kill_may_come_while_a_sweep_is_signed(tmp_path: Path, end: str) -> None:
    state = await record_signing(tmp_path / "r", Pen(held=end != "by itself"), end)
    assert await play(tmp_path / "r") == state


@pytest.mark.parametrize("word", WORDS)
async def test_a_kill_after_a_refused_write(tmp_path: Path, word: str) -> None:
    """What was refused changed nothing: the state alone does not say whether it was tried."""
    await record(tmp_path / "r", Trouble(refused=word))
    lines = (tmp_path / "r").read_text().splitlines(keepends=True)
    after = next(number for number, line in enumerate(lines) if '"refused"' in line) + 1
    (tmp_path / "r").write_text("".join(lines[:after]))
    async with Database(f"sqlite:///{tmp_path}/so_far.db", Context()) as database:
        await database.write(till.claim, "regtest", 1)
        for done in WORDS[: WORDS.index(word)]:
            await database.write(Trouble().put, done)
        state = await database.read(recorded.fingerprint)
    next_run(tmp_path / "r", state)
    assert await play(tmp_path / "r") == state


def test_an_act_of_another_process_is_not_taken_for_known() -> None:
    known = recorded.Newest(7, 50)
    acts: list[dict[str, Any]] = [{"created": {"number": 8}}, {"spent": {"transfer": 57}}]
    assert known.after([]) == known
    assert known.after(acts[:1]) == recorded.Newest(8, 50)
    assert known.after(acts) == recorded.Newest(8, 57)
