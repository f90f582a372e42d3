"""The line on which a node's notifications come, and a hand in it: lose, repeat, delay, damage, invent."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import zmq

from regtest.node import RegtestNode

Frames = list[bytes]
"""One message: topic, body, counter of four bytes (little endian)."""
Change = Callable[[list[Frames]], Iterable[Frames]]
"""What comes out instead of the messages that came at about the same time: fewer, more, others."""
_TOGETHER_MS = 15
TOPICS = (b"rawtx", b"hashblock")


def untouched(messages: list[Frames]) -> list[Frames]:
    return messages


def with_counter(message: Frames, counter: int) -> Frames:
    return [*message[:2], (counter % 2**32).to_bytes(4, "little")]


def counter_of(message: Frames) -> int:
    return int.from_bytes(message[2], "little")


class ZmqLine:
    """`with ZmqLine(node) as line: line.change = …`. Set `endpoint` as node.zmq_rawtx and node.zmq_hashblock."""

    def __init__(self, node: RegtestNode) -> None:
        self._node = node
        self.change: Change = untouched
        self.came = 0
        """Messages of the node so far, passed on or not."""
        self._invented: deque[Frames] = deque()
        self._listeners = 0
        self._closing = threading.Event()
        self._context = zmq.Context()
        self._out = self._context.socket(zmq.XPUB)
        self._out.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.endpoint = f"tcp://127.0.0.1:{self._out.bind_to_random_port('tcp://127.0.0.1')}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def invent(self, *messages: Frames) -> None:
        """Send messages that the node never sent."""
        self._invented.extend(messages)
        end = time.monotonic() + 10
        while self._invented:
            if time.monotonic() > end:
                raise TimeoutError("the line is dead")
            time.sleep(0.01)

    def wait_for_listeners(self, subscriptions: int = len(TOPICS)) -> None:
        """Until so many topics were subscribed to since the line was opened."""
        end = time.monotonic() + 30
        while self._listeners < subscriptions:
            if time.monotonic() > end:
                raise TimeoutError("nobody listens")
            time.sleep(0.01)

    def _run(self) -> None:
        with self._context.socket(zmq.SUB) as source:
            for topic in TOPICS:
                source.subscribe(topic)
            for endpoint in (self._node.zmq_rawtx, self._node.zmq_hashblock):
                source.connect(endpoint)
            while not self._closing.is_set():
                came = _burst(source)
                for message in self.change(came):
                    self._send(message)
                self.came += len(came)
                while self._invented:
                    self._send(self._invented[0])
                    self._invented.popleft()
                while self._out.poll(0):
                    self._listeners += self._out.recv()[:1] == b"\x01"

    def _send(self, message: Frames) -> None:
        self._out.send_multipart(message)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()
        self._out.close(linger=0)
        self._context.destroy(linger=0)


def _burst(source: zmq.Socket[bytes]) -> list[Frames]:
    """What comes until there is a moment's silence; perhaps nothing."""
    found: list[Frames] = []
    while source.poll(_TOGETHER_MS):
        found.append(source.recv_multipart())
    return found
