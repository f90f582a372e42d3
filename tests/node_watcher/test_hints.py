"""ZMQ hints of a real node; only what a real node never sends comes from a publisher of our own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import pytest
import zmq
import zmq.asyncio

from node_watcher.hints import Hint, Hints, HintsMisconfigured
from payments.tx import decode
from regtest.free_ports import free_port
from regtest.node import RegtestNode
from tests.waiting import wait_for_async


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self, endpoints: Mapping[str, str], heartbeat: float) -> None:
        self.raws: list[bytes] = []
        self.said: list[Hint] = []
        self.hints = Hints(endpoints, self.raws.append, self.said.append, heartbeat=heartbeat)

    def txids(self) -> list[str]:
        return [decode(raw).txid for raw in self.raws]

    async def connected(self, yes: bool = True) -> None:
        await wait_for_async(lambda: self.hints.connected == yes, what=f"connected to be {yes}")


@asynccontextmanager
async def listening(endpoints: Mapping[str, str], heartbeat: float = 5.0) -> AsyncIterator[Heard]:
    heard = Heard(endpoints, heartbeat)
    task = asyncio.create_task(heard.hints.run())
    try:
        yield heard
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def publishing(endpoint: str = "") -> AsyncIterator[tuple[zmq.asyncio.Socket, str]]:
    """A publisher of our own, and where it is."""
    endpoint = endpoint or f"tcp://127.0.0.1:{free_port()}"
    context = zmq.asyncio.Context()
    try:
        pub = context.socket(zmq.PUB)
        pub.bind(endpoint)
        yield pub, endpoint
    finally:
        context.destroy(linger=0)


def counter(number: int) -> bytes:
    return number.to_bytes(4, "little")


async def test_transactions_and_blocks_arrive(node: RegtestNode) -> None:
    endpoints = {"rawtx": node.zmq_rawtx, "hashblock": node.zmq_hashblock}
    async with listening(endpoints) as heard:
        await heard.connected()
        assert heard.said == [Hint.CONNECTED] * 2
        txid = node.pay(node.new_address(), 50_000)
        await wait_for_async(lambda: txid in heard.txids())
        before = heard.said.count(Hint.BLOCK)  # an older block may still have been on its way
        node.mine()
        await wait_for_async(lambda: heard.said.count(Hint.BLOCK) == before + 1)
        await wait_for_async(lambda: heard.txids().count(txid) == 2)  # a block publishes it again
        snapshot = json.loads(json.dumps(heard.hints.snapshot()))
        assert snapshot["connected"] is True
        assert snapshot["topics"]["hashblock"]["messages_total"] == before + 1
        assert snapshot["topics"]["hashblock"]["gaps_total"] == snapshot["topics"]["rawtx"]["gaps_total"] == 0
        assert 0 <= snapshot["topics"]["rawtx"]["silent_seconds"] < 20
    assert not heard.hints.connected


async def test_one_endpoint_for_all_topics_has_no_false_gaps(make_node: Callable[..., RegtestNode]) -> None:
    where = f"tcp://127.0.0.1:{free_port()}"
    topics = ("rawtx", "hashblock", "sequence")
    node = make_node(zmq=False, extra_args=[f"-zmqpub{topic}={where}" for topic in topics])
    async with listening(dict.fromkeys(topics, where)) as heard:
        await heard.connected()
        node.mine(20)
        await wait_for_async(lambda: all(t.messages_total == 20 for t in heard.hints.topics.values()))
        assert [t.gaps_total for t in heard.hints.topics.values()] == [0, 0, 0]
        assert heard.said.count(Hint.BLOCK) == 40  # by hashblock and by sequence


async def test_what_leaves_the_mempool_is_a_hint(node: RegtestNode) -> None:
    async with listening({"sequence": node.zmq_sequence}) as heard:
        await heard.connected()
        txid = node.pay(node.new_address(), 50_000)
        assert Hint.MEMPOOL not in heard.said
        node.bump(txid)
        await wait_for_async(lambda: Hint.MEMPOOL in heard.said)
        assert heard.hints.malformed_total == 0


async def test_a_restarted_node_is_heard_again_and_its_counter_is_a_gap(fresh_node: RegtestNode) -> None:
    async with listening({"rawtx": fresh_node.zmq_rawtx}) as heard:
        await heard.connected()
        fresh_node.mine(3)
        await wait_for_async(lambda: len(heard.raws) == 3)
        assert Hint.GAP not in heard.said
        fresh_node.stop()
        await heard.connected(False)
        fresh_node.start()
        await heard.connected()
        assert heard.said == [Hint.CONNECTED] * 2
        fresh_node.mine(1)
        await wait_for_async(lambda: len(heard.raws) == 4)
        assert heard.said[-1] is Hint.GAP
        assert heard.hints.topics["rawtx"].gaps_total == 1


async def test_a_hanging_node_is_noticed(fresh_node: RegtestNode) -> None:
    async with listening({"hashblock": fresh_node.zmq_hashblock}, heartbeat=0.1) as heard:
        await heard.connected()
        fresh_node.suspend()
        try:
            await heard.connected(False)
        finally:
            fresh_node.resume()
        await heard.connected()
        fresh_node.mine(1)
        await wait_for_async(lambda: Hint.BLOCK in heard.said)


async def test_malformed_messages_are_counted_and_forgotten() -> None:
    async with publishing() as (pub, where), listening({"rawtx": where, "hashblock": where}) as heard:
        await heard.connected()
        # The handshake is done before the publisher knows what we want to hear.
        await wait_for_async(lambda: probe(pub, heard))
        before = len(heard.raws)
        for frames in [
            [b"rawtx"],
            [b"rawtx", b"body"],
            [b"rawtx", b"body", counter(1), b"more"],
            [b"rawtx", b"body", b"\x01"],
            [b"rawtx", b"", counter(1)],
            [b"rawtx2", b"body", counter(1)],
            [b"hashblock", bytes(31), counter(1)],
            [b"hashblock", bytes(33), counter(1)],
        ]:
            await pub.send_multipart(frames)
        await wait_for_async(lambda: heard.hints.malformed_total == 8)
        await pub.send_multipart([b"rawtx", b"whole", heard_next(heard)])
        await wait_for_async(lambda: heard.raws[before:] == [b"whole"])
        assert Hint.GAP not in heard.said
        assert Hint.BLOCK not in heard.said


async def test_what_is_larger_than_any_transaction_is_malformed() -> None:
    async with publishing() as (pub, where), listening({"rawtx": where}) as heard:
        await heard.connected()
        await wait_for_async(lambda: probe(pub, heard))
        await pub.send_multipart([b"rawtx", bytes(4_000_001), heard_next(heard)])
        await wait_for_async(lambda: heard.hints.malformed_total == 1)
        assert {len(raw) for raw in heard.raws} == {len(b"probe")}


async def test_what_no_mempool_takes_is_not_read() -> None:
    """The node sends it with its block; somebody else, to keep us busy."""
    async with publishing() as (pub, where), listening({"rawtx": where}) as heard:
        await heard.connected()
        await wait_for_async(lambda: probe(pub, heard))
        topic = heard.hints.topics["rawtx"]
        for size in (400_001, 400_000):
            messages = topic.messages_total
            await pub.send_multipart([b"rawtx", bytes(size), heard_next(heard)])
            await wait_for_async(lambda was=messages: topic.messages_total > was)  # type: ignore[misc]
        assert {len(raw) for raw in heard.raws} == {len(b"probe"), 400_000}
        assert (topic.gaps_total, heard.hints.malformed_total) == (0, 0)


async def test_who_sends_giants_is_cut_off_and_heard_again() -> None:
    async with publishing() as (pub, where), listening({"rawtx": where}, 0.2) as heard:
        await heard.connected()
        await wait_for_async(lambda: probe(pub, heard))
        await pub.send_multipart([b"rawtx", bytes(8_000_001), heard_next(heard)])
        await wait_for_async(lambda: heard.said.count(Hint.CONNECTED) == 2)
        await wait_for_async(lambda: probe(pub, heard))
        assert {len(raw) for raw in heard.raws} == {len(b"probe")}


async def test_another_program_at_the_port_is_outlived() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP: this is not the node at all, and says so at length\r\n")
        with suppress(OSError):
            await reader.read()
        writer.close()

    stranger = await asyncio.start_server(greet, "127.0.0.1", 0)
    where = f"tcp://127.0.0.1:{stranger.sockets[0].getsockname()[1]}"
    async with listening({"rawtx": where}, heartbeat=0.05) as heard:
        await asyncio.sleep(0.5)  # time to be talked to
        assert not heard.hints.connected
        stranger.close()
        async with publishing(where) as (pub, _):
            await heard.connected()
            await wait_for_async(lambda: probe(pub, heard))


async def test_gaps_by_the_counter() -> None:
    async with publishing() as (pub, where), listening({"rawtx": where}) as heard:
        await heard.connected()
        await wait_for_async(lambda: probe(pub, heard))
        topic = heard.hints.topics["rawtx"]
        for number, gaps in [
            (2**32 - 2, 1),
            (2**32 - 1, 1),
            (0, 1),  # it wraps
            (1, 1),
            (3, 2),  # one lost
            (4, 2),
            (0, 3),  # started again
            (0, 4),
        ]:
            messages = topic.messages_total
            await pub.send_multipart([b"rawtx", b"x", counter(number)])
            await wait_for_async(lambda was=messages: topic.messages_total > was)  # type: ignore[misc]
            assert topic.gaps_total == gaps, number
        assert heard.said.count(Hint.GAP) == 4


async def test_a_node_that_comes_later_is_found() -> None:
    where = f"tcp://127.0.0.1:{free_port()}"
    async with listening({"rawtx": where}) as heard:
        await asyncio.sleep(0.2)  # nobody is there
        assert not heard.hints.connected
        async with publishing(where) as (pub, _):
            await heard.connected()
            await wait_for_async(lambda: probe(pub, heard))


@pytest.mark.parametrize("endpoint", ["", "127.0.0.1:28332", "tcp://127.0.0.1", "tcp://127.0.0.1:port", "http://x:1"])
async def test_an_unusable_endpoint_names_its_setting(endpoint: str) -> None:
    with pytest.raises(HintsMisconfigured, match=r"node\.zmq_rawtx is .*like tcp://127\.0\.0\.1:28332"):
        Heard({"rawtx": endpoint}, 5.0)


async def test_an_unknown_topic_is_refused() -> None:
    with pytest.raises(HintsMisconfigured, match="'rawblock'"):
        Heard({"rawblock": "tcp://127.0.0.1:28332"}, 5.0)


async def probe(pub: zmq.asyncio.Socket, heard: Heard) -> bool:
    """Send the next message; true once one has come through."""
    await pub.send_multipart([b"rawtx", b"probe", heard_next(heard)])
    before = len(heard.raws)
    await asyncio.sleep(0.02)
    return len(heard.raws) > before


def heard_next(heard: Heard) -> bytes:
    last = heard.hints.topics["rawtx"].counter
    return counter(0 if last is None else last + 1)
