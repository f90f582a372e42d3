"""Headers that every answer carries."""

from __future__ import annotations

from aiohttp import web

_API_POLICY = "default-src 'none'; frame-ancestors 'none'"
_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


async def secure(request: web.Request, response: web.StreamResponse) -> None:
    """Signal `on_response_prepare`: also reaches streams, errors and redirects."""
    headers = response.headers
    headers["Server"] = "nodetill"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    # Addresses of pages hold payment ids: other sites must not learn them. Our own forms still
    # send their Origin, which "no-referrer" would blank.
    headers["Referrer-Policy"] = "same-origin"
    page = response.content_type == "text/html"
    headers.setdefault("Content-Security-Policy", _PAGE_POLICY if page else _API_POLICY)
    headers.setdefault("Cache-Control", "no-store")
