"""Other processes that ask for a look at the node: an API that runs apart from the watcher.

They ask through the database (`storage.looks`). What rings is a hint; that nothing is missed when it
does not ring is the interval's work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from storage import looks
from storage.database import Database
from storage.errors import DatabaseBusy, DatabaseUnusable

log = logging.getLogger("nodetill")
_PAUSE_SECONDS = 0.5


async def answer_askers(database: Database, next_pass: Callable[[], Awaitable[bool]], interval: float) -> None:
    """Look when another process asks, once for all that ask. Ends where none can: on SQLite.

    `next_pass` returns when a pass that began after its call has ended: False when the node could not be
    asked. `interval` (seconds): how often
    the database is asked without a ring.
    """
    said = False
    while True:
        try:
            async with aclosing(database.notices(looks.CHANNEL, interval)) as notices:
                async for _ in notices:
                    # Read before the look: who asks during it waits for the next.
                    if (number := await database.read(looks.due)) is not None:
                        looked = await next_pass()
                        await database.write(looks.finish if looked else looks.fail, number)
                    said = False
            return
        except (DatabaseBusy, DatabaseUnusable) as error:
            if not said:
                log.warning("Other processes cannot ask for a look just now: %s", error)
            said = True
        await asyncio.sleep(_PAUSE_SECONDS)
