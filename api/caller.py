"""Who is asking, and what that allows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from api.problem import Kind, Problem


class Scope(StrEnum):
    """What an API key may be allowed. `admin` includes the others."""

    PAYMENTS_READ = "payments:read"
    PAYMENTS_WRITE = "payments:write"
    CREDITS_READ = "credits:read"
    CREDITS_WRITE = "credits:write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """An API key (`key_id`), a user of the site (`user_id`), or nobody (neither)."""

    key_id: str | None = None
    scopes: frozenset[str] = frozenset()
    user_id: str | None = None

    @property
    def known(self) -> bool:
        return self.key_id is not None or self.user_id is not None

    @property
    def id(self) -> str:
        """Names the caller, for idempotency keys: two callers never share one."""
        return f"key:{self.key_id}" if self.key_id is not None else f"user:{self.user_id}"

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def is_user(self, user_id: str) -> bool:
        return self.user_id is not None and self.user_id == user_id

    def require_known(self) -> None:
        """Raises `Problem` 401."""
        if not self.known:
            raise unauthenticated("Send Authorization: Bearer with an API key or a user token.")

    def require(self, scope: Scope) -> None:
        """Raises `Problem` 401 or 403."""
        self.require_known()
        if not self.may(scope):
            raise Problem(
                Kind.FORBIDDEN,
                f"This needs an API key with the scope {scope.value}.",
                headers={
                    "WWW-Authenticate": f'Bearer realm="nodetill", error="insufficient_scope", scope="{scope.value}"'
                },
            )


def unauthenticated(detail: str, error: str = "") -> Problem:
    """401. `error` is RFC 6750's code when credentials were there."""
    challenge = 'Bearer realm="nodetill"' + (f', error="{error}"' if error else "")
    return Problem(Kind.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": challenge})
