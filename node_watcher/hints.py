"""Hints from the node by ZMQ: "ask sooner", never more.

bitcoind replays nothing, drops without a word when we are slow, and authenticates nobody (Bitcoin Core,
doc/zmq.md). So a hint says only that looking now is worth it, and every loop is correct without.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

TOPICS: Final = ("rawtx", "hashblock", "sequence")

_HASH_SIZE: Final = 32
_SEQUENCE_SIZES: Final = (33, 41)  # hash and label; with the mempool's own counter for A and R
_LARGEST: Final = 4_000_000  # bytes: no transaction is larger than a block may weigh
_LARGEST_WORTH_READING: Final = 400_000
"""Bytes. What a mempool takes weighs no more (Bitcoin Core, MAX_STANDARD_TX_WEIGHT); anything larger comes in a block,
which is read whole, and only somebody who wants to keep us busy sends it here without end."""

_WAITING: Final = 100_000
"""Messages kept while our loop is busy; beyond it the node drops, and the counter shows a gap."""

_RENEW_AFTER: Final = 6.0
"""Heartbeats without a connection after which a new socket is tried."""

_UP: Final = zmq.EVENT_HANDSHAKE_SUCCEEDED  # CONNECTED alone also comes from a frozen node's kernel
_DOWN: Final = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED


class Hint(StrEnum):
    """Why to ask the node now."""

    BLOCK = "block"
    MEMPOOL = "mempool"
    GAP = "gap"
    CONNECTED = "connected"


class HintsMisconfigured(ValueError):
    """An endpoint that ZMQ cannot use; the message names the setting."""


@dataclass(slots=True)
class Topic:
    """How one topic is doing. `last_message` is in seconds of the monotonic clock."""

    name: str
    endpoint: str
    connected: bool = False
    messages_total: int = 0
    gaps_total: int = 0
    last_message: float | None = None
    counter: int | None = field(default=None, repr=False)

    def follows(self, counter: int) -> bool:
        """Whether nothing was lost before the message with this counter (32 bits, then from 0 again).

        The first message proves nothing. A node that restarted counts from 0: that is a gap too.
        """
        last, self.counter = self.counter, counter
        if last is None or counter == (last + 1) % 2**32:
            return True
        self.gaps_total += 1
        return False


class Hints:
    """Listens to the node. `run()` it in a TaskGroup; it reconnects by itself for ever."""

    def __init__(
        self,
        endpoints: Mapping[str, str],
        on_rawtx: Callable[[bytes], None],
        on_hint: Callable[[Hint], None],
        *,
        heartbeat: float = 5.0,
    ) -> None:
        """`endpoints`: topic (`rawtx`, `hashblock`, `sequence`) to address; several may share one.

        The callbacks run in the loop, one message after the other, and must be quick. `heartbeat`: seconds
        between the pings that tell a frozen node from a quiet one; three unanswered ones are the end.
        Raises `HintsMisconfigured`.
        """
        self._on_rawtx, self._on_hint, self._heartbeat = on_rawtx, on_hint, heartbeat
        self.topics = {name: Topic(name, endpoint) for name, endpoint in endpoints.items()}
        self.malformed_total = 0
        if unknown := self.topics.keys() - set(TOPICS):
            raise HintsMisconfigured(f"no ZMQ topic {min(unknown)!r}: nodetill hears {', '.join(TOPICS)}")
        with zmq.Context() as context:
            for topic in self.topics.values():
                self._try_out(context, topic)

    @property
    def connected(self) -> bool:
        """Whether every topic has a node at the other end that answers."""
        return all(topic.connected for topic in self.topics.values())

    def snapshot(self) -> dict[str, Any]:
        """Plain values for health and metrics; `silent_seconds` is None before the first message."""
        now = time.monotonic()
        return {
            "connected": self.connected,
            "malformed_total": self.malformed_total,
            "topics": {
                topic.name: {
                    "endpoint": topic.endpoint,
                    "connected": topic.connected,
                    "messages_total": topic.messages_total,
                    "gaps_total": topic.gaps_total,
                    "silent_seconds": None if topic.last_message is None else round(now - topic.last_message, 3),
                }
                for topic in self.topics.values()
            },
        }

    async def run(self) -> None:
        """Listen until cancelled."""
        context = zmq.asyncio.Context()
        try:
            async with asyncio.TaskGroup() as group:
                # A socket for each endpoint, not for each topic: bitcoind counts per topic and endpoint.
                for endpoint in dict.fromkeys(topic.endpoint for topic in self.topics.values()):
                    topics = {t.name.encode(): t for t in self.topics.values() if t.endpoint == endpoint}
                    group.create_task(self._listen(context, endpoint, topics), name=f"zmq {endpoint}")
        finally:
            for topic in self.topics.values():
                topic.connected = False
            context.destroy(linger=0)

    async def _listen(self, context: zmq.asyncio.Context, endpoint: str, topics: Mapping[bytes, Topic]) -> None:
        while True:
            with context.socket(zmq.SUB) as sock:
                self._set_up(sock)
                for name in topics:
                    sock.subscribe(name)
                monitor = sock.get_monitor_socket(_UP | _DOWN)
                try:
                    sock.connect(endpoint)
                    async with asyncio.TaskGroup() as group:
                        receiving = group.create_task(self._receive(sock, topics))
                        await self._watch_connection(monitor, list(topics.values()))
                        receiving.cancel()
                finally:
                    sock.disable_monitor()

    async def _receive(self, sock: zmq.asyncio.Socket, topics: Mapping[bytes, Topic]) -> None:
        while True:
            self._hear(await sock.recv_multipart(), topics)

    def _set_up(self, sock: zmq.Socket[Any]) -> None:
        beat = max(1, round(self._heartbeat * 1000))
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.RCVHWM, _WAITING),
            (zmq.MAXMSGSIZE, 2 * _LARGEST),  # who sends more is cut off, before it is in memory
            (zmq.IPV6, 1),
            (zmq.HEARTBEAT_IVL, beat),
            (zmq.HEARTBEAT_TIMEOUT, 3 * beat),
            (zmq.RECONNECT_IVL, 100),
            (zmq.RECONNECT_IVL_MAX, 5000),
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, 60),
            (zmq.TCP_KEEPALIVE_INTVL, 20),
            (zmq.TCP_KEEPALIVE_CNT, 3),
        ):
            sock.setsockopt(option, value)

    async def _watch_connection(self, monitor: zmq.asyncio.Socket, topics: list[Topic]) -> None:
        """Returns when there was no connection for some time and a new socket should be tried.

        libzmq reconnects by itself, but gives up for good on a peer that once spoke another protocol.
        """
        patience: float | None = _RENEW_AFTER * self._heartbeat
        while True:
            try:
                async with asyncio.timeout(patience):
                    event = await recv_monitor_message(monitor)
            except TimeoutError:
                return
            up = event["event"] == _UP
            for topic in topics:
                topic.connected = up
            patience = None if up else _RENEW_AFTER * self._heartbeat
            if up:
                self._on_hint(Hint.CONNECTED)  # what was said before is lost: look

    def _hear(self, frames: list[bytes], topics: Mapping[bytes, Topic]) -> None:
        """One message: topic, body, and a counter of four bytes (little endian)."""
        topic = topics.get(frames[0])
        if topic is None or len(frames) != 3 or len(frames[2]) != 4 or not _fits(topic.name, frames[1]):
            self.malformed_total += 1
            return
        topic.messages_total += 1
        topic.last_message = time.monotonic()
        if not topic.follows(int.from_bytes(frames[2], "little")):
            self._on_hint(Hint.GAP)
        if topic.name == "rawtx":
            if len(frames[1]) <= _LARGEST_WORTH_READING:
                self._on_rawtx(frames[1])
        elif topic.name == "hashblock" or frames[1][_HASH_SIZE : _HASH_SIZE + 1] in (b"C", b"D"):
            self._on_hint(Hint.BLOCK)
        elif frames[1][_HASH_SIZE : _HASH_SIZE + 1] == b"R":
            self._on_hint(Hint.MEMPOOL)  # something left the mempool; what enters comes as rawtx

    def _try_out(self, context: zmq.Context[Any], topic: Topic) -> None:
        with context.socket(zmq.SUB) as sock:
            sock.setsockopt(zmq.LINGER, 0)
            try:
                sock.connect(topic.endpoint)
            except zmq.ZMQError as error:
                raise HintsMisconfigured(
                    f"node.zmq_{topic.name} is {topic.endpoint!r}, which ZMQ cannot use ({error.strerror}): "
                    f"write what bitcoin.conf has for zmqpub{topic.name}, like tcp://127.0.0.1:28332"
                ) from None


def _fits(topic: str, body: bytes) -> bool:
    if topic == "hashblock":
        return len(body) == _HASH_SIZE
    if topic == "sequence":
        return len(body) in _SEQUENCE_SIZES
    return 0 < len(body) <= _LARGEST
