"""Writes down what could be seen in the Workshop, in the ledger's bounded table. Nothing waits for it."""

import asyncio
from collections import deque
from typing import Final

from ledger.store import Store, StoreUnavailable
from timmy_dvm.clock import Clock
from timmy_dvm.log import get_logger

WAITING_MAX: Final = 256
"""What happens in a greater hurry is left out, the oldest first."""
PAUSE_S: Final = 0.25
log = get_logger("world")


class Diary:
    """Notes events as they come; somebody runs :meth:`run`, which writes batches, four a second at most."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: deque[tuple[int, str]] = deque(maxlen=WAITING_MAX)
        self._some = asyncio.Event()

    def note(self, event: str) -> None:
        """Remember that something could be seen just now. Never waits."""
        self._waiting.append((int(self._clock.now()), event))
        self._some.set()

    async def run(self) -> None:
        """Write what was noted, until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            await self.write()
            await self._clock.sleep(PAUSE_S)

    async def write(self) -> None:
        """Write what waits now. A ledger that is away loses these lines and no others."""
        batch = tuple(self._waiting)
        self._waiting.clear()
        try:
            await self._store.note_world_events(batch)
        except StoreUnavailable as error:
            log.warning("the diary has a gap", action="diary_gap", lines=len(batch), error=str(error))
