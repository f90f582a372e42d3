"""What a shop asks of the service, by HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import jwt

from node_watcher.clock import now_ms
from regtest.http_json import Answer, ask
from storage.api_keys import create_key
from storage.database import Database

BASE = "/api/v1/bitcoin"
SCOPES = ("payments:read", "payments:write", "credits:read", "credits:write")


class ServiceClient:
    """The API of one service. Tells nothing of processes."""

    def __init__(self, port: int, database_url: str, user_token_secret: str) -> None:
        self.port, self.database_url, self.user_token_secret = port, database_url, user_token_secret
        self._key: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """An API key with every scope, made on first use."""
        if self._key is None:
            self._key = self.new_key(*SCOPES)
        return self._key

    def new_key(self, *scopes: str) -> str:
        """What `keys create` does, without the second that a new process would take."""

        async def make() -> str:
            async with Database(self.database_url) as database:
                return (await database.write(create_key, "shop", scopes, now_ms()))[1]

        return asyncio.run(make())

    def user_token(self, sub: str, *, seconds: float = 600.0) -> str:
        """What the site would give its user `sub`."""
        return jwt.encode({"sub": sub, "exp": int(time.time() + seconds)}, self.user_token_secret, "HS256")

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = "",
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        """One request; `path` below `/api/v1/bitcoin` unless it begins with a slash.

        `key`: "" is our API key, None is nobody, anything else is sent as the bearer.
        """
        sent = dict(headers or {})
        bearer = self.key if key == "" else key
        if bearer is not None:
            sent["Authorization"] = f"Bearer {bearer}"
        path = path if path.startswith("/") else f"{BASE}/{path}"
        return ask(self.port, method, path, body, headers=sent, raw=raw)

    def get(self, path: str, *, key: str | None = "") -> Any:
        """JSON of a GET that must succeed."""
        return self.ask("GET", path, key=key).expect(200)

    def post(self, path: str, body: object = None, *, key: str | None = "", status: int = 200) -> Any:
        """JSON of a POST that must answer `status`."""
        return self.ask("POST", path, body, key=key).expect(status)

    def create(self, package_id: str = "small", user_id: str = "u1", **more: object) -> dict[str, Any]:
        """A new payment."""
        made: dict[str, Any] = self.post("payments", {"package_id": package_id, "user_id": user_id, **more}, status=201)
        return made

    def payment(self, payment_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.get(f"payments/{payment_id}")
        return shown

    def look(self, payment_id: str) -> dict[str, Any]:
        """The payment after the watcher has finished a pass that began now (`POST /confirm`)."""
        answer = self.ask("POST", f"confirm/{payment_id}")
        if answer.status not in (200, 409):
            answer.expect(200)
        return self.payment(payment_id)

    def balance(self, user_id: str = "u1") -> int:
        return int(self.get(f"users/{user_id}/credits")["balance"])

    def entries(self, user_id: str = "u1") -> list[tuple[str, int]]:
        """(kind, amount) of a user's statement, oldest first."""
        found: list[tuple[str, int]] = []
        page: dict[str, Any] = {"next_cursor": ""}
        while page["next_cursor"] is not None:
            page = self.get(f"users/{user_id}/credits?limit=100&cursor={page['next_cursor']}")
            found += [(entry["kind"], entry["amount"]) for entry in page["entries"]]
        return found[::-1]

    def all_events(self) -> list[dict[str, Any]]:
        """The whole feed."""
        found: list[dict[str, Any]] = []
        after = 0
        while True:
            page = self.get(f"events?after={after}&limit=100")
            if not page["events"]:
                return found
            found += page["events"]
            after = page["next_after"]

    def events_of(self, payment_id: str) -> list[str]:
        """Types of a payment's events in the order of the feed."""
        return [event["type"] for event in self.all_events() if event["data"].get("payment_id") == payment_id]
