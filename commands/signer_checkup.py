"""The doctor's look at the signer that somebody else runs."""

from __future__ import annotations

import asyncio

from commands.finding import Finding, green, red, yellow
from commands.keychain import Keychain
from commands.signing import difference
from config.settings import Settings
from node_watcher.signing.remote import RemoteSigner
from node_watcher.signing.signer import SignerDown, SignerError

_PATIENCE_SECONDS = 10.0


async def look_at_signer(settings: Settings, keychain: Keychain) -> list[Finding]:
    """Whether it answers, and has the keys and the destination of the settings. Nothing where there is none."""
    if settings.wallet.signer_socket is None:
        return []
    signer = RemoteSigner(settings.wallet.signer_socket, _PATIENCE_SECONDS)
    try:
        said = await asyncio.to_thread(signer.describe)
    except SignerDown as error:
        return [yellow("signer", f"Coins are not sent on: {error}.")]
    except SignerError as error:
        return [red("signer", f"{error}.")]
    if differs := difference(said, keychain, settings):
        return [red("signer", differs)]
    return [green("signer", f"The signer answers, has the keys of the descriptor, and signs for {said.destination}.")]
