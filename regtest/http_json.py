"""The smallest HTTP client that tells everything about an answer: a fresh connection a request."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (names in lower case) and body of one answer."""

    request: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def expect(self, status: int) -> Any:
        """The body as JSON. Raises `AssertionError` when the status is another."""
        if self.status != status:
            text = self.body.decode("utf-8", "replace")[:2000]
            raise AssertionError(f"{self.request} answered {self.status}, not {status}: {text}")
        return self.json()


def ask(
    port: int,
    method: str,
    path: str,
    body: object = None,
    *,
    headers: Mapping[str, str] | None = None,
    raw: bytes | None = None,
    timeout: float = 30.0,
) -> Answer:
    """One request to 127.0.0.1. `body` goes out as JSON, `raw` as it is. Raises `OSError` when nobody answers."""
    sent = dict(headers or {})
    data = raw
    if body is not None:
        data = json.dumps(body).encode()
    if data is not None:
        sent.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, data, sent)
        response = connection.getresponse()
        text = response.read()
    except http.client.HTTPException as broken:
        raise ConnectionError(f"{method} {path}: {broken!r}") from broken
    finally:
        connection.close()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Answer(f"{method} {path}", response.status, found, text)
