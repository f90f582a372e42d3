"""Problems as RFC 9457 wants them, and the one place that turns every error into one.

A handler raises `Problem`; aiohttp's own refusals (unknown path, wrong method, body too large) and
whatever nobody expected come out in the same shape. Never a traceback, never HTML on the API.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from storage.errors import DatabaseBusy, StorageError

log = logging.getLogger("nodetill.api")


class Kind(Enum):
    """Every problem the API knows: code, HTTP status, title, and what a caller does about it."""

    MALFORMED = ("malformed-request", 400, "The request cannot be read", "Send valid JSON.")
    UNAUTHENTICATED = (
        "unauthenticated",
        401,
        "Credentials are missing or not valid",
        "Send `Authorization: Bearer` with an API key or a user token that has not expired.",
    )
    FORBIDDEN = (
        "forbidden",
        403,
        "These credentials do not allow this",
        "Use an API key with the scope that the detail names.",
    )
    NOT_FOUND = ("not-found", 404, "There is nothing here", "Check the path and the id in it.")
    PAYMENT_NOT_FOUND = (
        "payment-not-found",
        404,
        "There is no such payment",
        "Check the id; it is the payment_id of the answer to POST /payments.",
    )
    PACKAGE_NOT_FOUND = (
        "package-not-found",
        404,
        "There is no such package",
        "Ask GET /packages for the ids on sale.",
    )
    USER_NOT_FOUND = (
        "user-not-found",
        404,
        "There is no such user",
        "A user token acts for its own `sub` only.",
    )
    METHOD = (
        "method-not-allowed",
        405,
        "This method does not exist here",
        "The Allow header lists the methods that do.",
    )
    NOT_CONFIRMED = (
        "payment-not-confirmed",
        409,
        "The payment is not confirmed yet",
        "Ask again after the next block, or wait for the event payment.confirmed.",
    )
    IN_FLIGHT = (
        "request-in-flight",
        409,
        "The first request with this Idempotency-Key is still running",
        "Repeat the request in a moment; the answer will be that of the first.",
    )
    INSUFFICIENT = (
        "insufficient-credits",
        409,
        "There are not enough credits",
        "Ask GET /users/{user_id}/credits for the balance.",
    )
    TIMEOUT = (
        "request-timeout",
        408,
        "The body did not arrive in time",
        "Send the whole body at once.",
    )
    TOO_LARGE = ("body-too-large", 413, "The body is too large", "Send at most 64 KiB.")
    MEDIA_TYPE = (
        "unsupported-media-type",
        415,
        "The body is of a kind that is not understood",
        "Send `Content-Type: application/json` without Content-Encoding.",
    )
    INVALID = (
        "invalid-request",
        422,
        "Some fields are not right",
        "`errors` lists each with a JSON pointer or the name of the query parameter.",
    )
    KEY_REUSED = (
        "idempotency-key-reused",
        422,
        "This Idempotency-Key belongs to a different request",
        "Use a new key for a new request.",
    )
    TOO_MANY_OPEN = (
        "too-many-open-payments",
        429,
        "This user has too many unpaid payments",
        "Pay one of them, or wait until they expire.",
    )
    INTERNAL = (
        "internal-error",
        500,
        "Something went wrong here",
        "Not your fault. Tell the operator the request_id; the log has the rest.",
    )
    UNAVAILABLE = (
        "temporarily-unavailable",
        503,
        "The service cannot do this just now",
        "Ask again after Retry-After seconds.",
    )

    def __init__(self, code: str, status: int, title: str, mend: str) -> None:
        self.code = code
        self.status = status
        self.title = title
        self.mend = mend

    @property
    def type(self) -> str:
        """Reference to the paragraph that explains the problem; never changes."""
        return f"/docs/problems#{self.code}"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: `pointer` into the body (RFC 6901), or the name of a query parameter."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None

    def json(self) -> dict[str, str]:
        place = {"pointer": self.pointer, "parameter": self.parameter}
        return {"detail": self.detail, **{k: v for k, v in place.items() if v is not None}}


class Problem(Exception):
    """The request ends here, with this problem."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> web.Response:
        body: dict[str, Any] = {
            "type": self.kind.type,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "code": self.kind.code,
            **self.more,
        }
        if self.errors:
            body["errors"] = [error.json() for error in self.errors]
        return web.Response(
            status=self.kind.status,
            body=json.dumps(body).encode(),
            content_type="application/problem+json",
            headers=self.headers,
        )


def invalid(detail: str, *errors: FieldError) -> Problem:
    """422 with the fields that are wrong."""
    return Problem(Kind.INVALID, detail, errors=errors)


_OF_STATUS = {kind.status: kind for kind in reversed(Kind) if kind is not Kind.INVALID} | {
    404: Kind.NOT_FOUND,
    422: Kind.INVALID,
}


def of_http_error(error: web.HTTPException) -> Problem:
    """aiohttp's own refusal in our shape."""
    kind = _OF_STATUS.get(error.status, Kind.MALFORMED if error.status < 500 else Kind.INTERNAL)
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return Problem(kind, kind.mend, headers=headers)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost: whatever went wrong below leaves as a problem."""
    request_id = secrets.token_hex(8)
    try:
        response = await handler(request)
    except Problem as problem:
        response = problem.response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = of_http_error(error).response()
    except ConnectionError:
        if request.transport is None or request.transport.is_closing():
            raise  # the caller hung up: aiohttp knows, and there is nobody to answer
        response = _failed(request_id)
    except DatabaseBusy:
        log.warning("database busy, request refused", extra={"request_id": request_id})
        response = _unavailable()
    except StorageError as error:
        log.error("database: %s", error, extra={"request_id": request_id})
        response = _unavailable()
    except Exception:  # noqa: BLE001 - the one place: logged in full by _failed, told as a 500
        response = _failed(request_id)
    if not response.prepared:
        response.headers["X-Request-Id"] = request_id
    return response


def _failed(request_id: str) -> web.Response:
    log.exception("request %s failed", request_id, extra={"request_id": request_id})
    detail = f"The request {request_id} failed; the operator's log says why."
    return Problem(Kind.INTERNAL, detail, request_id=request_id).response()


def _unavailable() -> web.Response:
    detail = "The database cannot be written or read just now."
    return Problem(Kind.UNAVAILABLE, detail, headers={"Retry-After": "2"}).response()
