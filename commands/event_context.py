"""What events need of the settings: where their links lead, and who is told."""

from __future__ import annotations

from config.settings import Settings
from storage.tx import Context


def public_url(settings: Settings) -> str:
    """What links begin with."""
    host = f"[{settings.api.host}]" if ":" in settings.api.host else settings.api.host
    return settings.api.public_url or f"http://{host}:{settings.api.port}"


def event_context(settings: Settings) -> Context:
    endpoints = tuple((hook.url, frozenset(hook.events)) for hook in settings.webhooks)
    return Context(public_url=public_url(settings), endpoints=endpoints)
