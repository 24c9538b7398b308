"""When each action is due, and how many are in memory. What they mean is `dispatch`'s affair.

Actions come fresh from commits and, at the start, from disk. Only so many are held in memory; what comes beyond
stays on disk alone and is read again when there is room. Pauses are counted on the monotonic clock, so a wall
clock that is set does not hold anything up.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable

from ledger.records import PendingAction
from ledger.store import Store, StoreUnavailable
from timmy_dvm.clock import Clock
from timmy_dvm.log import get_logger

ROOM = 2_000
"""Actions held in memory: performed, waiting for a place, or waiting for their moment."""
_LONGEST_NAP_S = 3_600
_RETRY_S = 5
log = get_logger("outbox")


class Outbox:
    """Hands each action to ``perform`` when it is due, each once at a time.

    Args:
        store: where all of them are.
        clock: what time it is.
        perform: does one; ``recovered`` says that it comes from disk. It never raises, and asks :meth:`later` for
            another try.
    """

    def __init__(
        self, store: Store, clock: Clock, perform: Callable[[PendingAction, bool], Awaitable[None]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._perform = perform
        self._group: asyncio.TaskGroup | None = None
        self._held: set[int] = set()
        self._later: list[tuple[float, int, PendingAction, bool]] = []
        self._waiting: set[int] = set()
        self._sooner = asyncio.Event()
        self._more_on_disk = True
        self._ended: set[int] = set()
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def has_room(self) -> bool:
        """Whether a fresh action is held in memory."""
        return len(self._held) < ROOM

    async def run(self) -> None:
        """Go on with what is on disk, then with what is added, until cancelled.

        Cancelling is safe at any moment: what was not committed as done is found again at the next start.
        """
        async with asyncio.TaskGroup() as group:
            self._group = group
            while True:
                if self._more_on_disk and len(self._held) <= ROOM // 2:
                    await self._refill()
                await self._nap()
                while self._later and self._later[0][0] <= self._clock.monotonic():
                    _, _, action, recovered = heapq.heappop(self._later)
                    self._waiting.discard(action.id)
                    group.create_task(self._run(action, recovered=recovered))

    async def idle(self) -> None:
        """Wait until nothing is being performed; what is delayed does not count."""
        await self._idle.wait()

    def add(self, action: PendingAction, *, recovered: bool = False) -> None:
        """Take an action that is on disk. Before :meth:`run`, and beyond the room, it is left there."""
        if self._group is None or action.id in self._held:
            return
        if not self.has_room:
            self._more_on_disk = True
            return
        self._held.add(action.id)
        pause = 0 if action.due_at is None else action.due_at - self._clock.now()
        if pause > 0:
            self._wait(action, pause, recovered=recovered)
        else:
            self._group.create_task(self._run(action, recovered=recovered))

    def later(self, action: PendingAction, pause_s: float) -> None:
        """Try an action again that is being performed."""
        self._wait(action, pause_s, recovered=False)

    def _wait(self, action: PendingAction, pause_s: float, *, recovered: bool) -> None:
        self._waiting.add(action.id)
        heapq.heappush(self._later, (self._clock.monotonic() + pause_s, action.id, action, recovered))
        self._sooner.set()

    async def _run(self, action: PendingAction, *, recovered: bool) -> None:
        self._busy += 1
        self._idle.clear()
        try:
            await self._perform(action, recovered)
        finally:
            if action.id not in self._waiting:
                self._held.discard(action.id)
                self._ended.add(action.id)
            self._busy -= 1
            if not self._busy:
                self._idle.set()
            if self._more_on_disk and len(self._held) <= ROOM // 2:
                self._sooner.set()

    async def _refill(self) -> None:
        """Read what is on disk. What ended while it was read is not begun again."""
        self._ended.clear()
        try:
            actions = await self._store.pending()
        except StoreUnavailable as error:
            log.warning("the outbox can't be read now", action="outbox_unread", error=str(error))
            await self._clock.sleep(_RETRY_S)
            return
        self._more_on_disk = False
        for action in actions:
            if action.id not in self._ended:
                self.add(action, recovered=True)

    async def _nap(self) -> None:
        """Sleep until the next moment, or until something is added that may be sooner."""
        self._sooner.clear()
        if self._more_on_disk and len(self._held) <= ROOM // 2:
            return
        pause = self._later[0][0] - self._clock.monotonic() if self._later else float(_LONGEST_NAP_S)
        if pause <= 0:
            return
        sleeping = asyncio.ensure_future(self._clock.sleep(min(pause, _LONGEST_NAP_S)))
        waking = asyncio.ensure_future(self._sooner.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()
