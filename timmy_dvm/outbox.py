"""When each action is due, and how many are in memory. What they mean is `dispatch`'s affair.

Actions come fresh from commits and, at the start, from disk. Only so many are held in memory; what comes beyond
stays on disk alone and is read again when there is room. Pauses are counted on the monotonic clock, so a wall
clock that is set does not hold anything up.

Actions that may wait long for a place have a room of their own: else as many paid jobs as fit into memory, waiting
for the model, would keep the invoices and results of everybody else on disk.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import Awaitable, Callable, Collection

from ledger.records import PendingAction
from ledger.store import Store, StoreUnavailable
from timmy_dvm.clock import Clock, doze
from timmy_dvm.log import get_logger

ROOM = 2_000
"""Actions held in memory that are performed or wait for a place; and as many of the slow kinds."""
ROOM_FOR_LATER = 8_000
"""Actions held in memory that wait for their moment. They take no room from what can be done now: events that no
relay takes for a week must not keep a paid job waiting.
"""
_IN_BOTH: frozenset[bool] = frozenset({True, False})
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
        slow: kinds of action that may wait long for a place.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        perform: Callable[[PendingAction, bool], Awaitable[None]],
        slow: Collection[str] = (),
    ) -> None:
        self._store = store
        self._clock = clock
        self._perform = perform
        self._slow = frozenset(slow)
        self._group: asyncio.TaskGroup | None = None
        self._held: set[int] = set()
        # Of the two rooms, that of the slow and that of all others: what is in it, and whether more is on disk.
        self._active: Counter[bool] = Counter()
        self._more_on_disk = _IN_BOTH
        self._later: list[tuple[float, int, PendingAction, bool]] = []
        self._waiting: set[int] = set()
        self._sooner = asyncio.Event()
        self._later_on_disk = False
        self._ended_meanwhile: set[int] | None = None
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def has_room(self) -> bool:
        """Whether a fresh action that is not slow is held in memory."""
        return self._active[False] < ROOM

    @property
    def _wants_more(self) -> bool:
        """Whether something was left on disk for want of room, and there is room again."""
        return any(self._active[slow] <= ROOM // 2 for slow in self._more_on_disk) or (
            self._later_on_disk and len(self._waiting) <= ROOM_FOR_LATER // 2
        )

    async def run(self) -> None:
        """Go on with what is on disk, then with what is added, until cancelled.

        Cancelling is safe at any moment: what was not committed as done is found again at the next start.
        """
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                while True:
                    if self._wants_more:
                        await self._refill()
                    await self._nap()
                    while self._later and self._later[0][0] <= self._clock.monotonic():
                        _, _, action, recovered = heapq.heappop(self._later)
                        self._waiting.discard(action.id)
                        self._active[action.kind in self._slow] += 1
                        group.create_task(self._run(action, recovered=recovered))
            finally:
                # A commit may end after this: what it adds is left on disk, for the next start.
                self._group = None

    async def idle(self) -> None:
        """Wait until nothing is being performed; what is delayed does not count."""
        await self._idle.wait()

    def look_again(self) -> None:
        """Read what is on disk once more: another process may have added to it."""
        self._more_on_disk = _IN_BOTH
        self._sooner.set()

    def add(self, action: PendingAction, *, recovered: bool = False) -> None:
        """Take an action that is on disk. Before and after :meth:`run`, and beyond the room, it is left there."""
        if self._group is None or action.id in self._held:
            return
        pause = 0 if action.due_at is None else action.due_at - self._clock.now()
        if pause > 0:
            self._wait(action, pause, recovered=recovered)
        elif self._active[is_slow := action.kind in self._slow] < ROOM:
            self._held.add(action.id)
            self._active[is_slow] += 1
            self._group.create_task(self._run(action, recovered=recovered))
        else:
            self._more_on_disk |= {is_slow}

    def later(self, action: PendingAction, pause_s: float) -> None:
        """Try an action again that is being performed; on disk it is due then already."""
        self._wait(action, pause_s, recovered=False)

    def _wait(self, action: PendingAction, pause_s: float, *, recovered: bool) -> None:
        if len(self._waiting) >= ROOM_FOR_LATER:
            self._later_on_disk = True
            return
        self._held.add(action.id)
        self._waiting.add(action.id)
        heapq.heappush(self._later, (self._clock.monotonic() + pause_s, action.id, action, recovered))
        self._sooner.set()

    async def _run(self, action: PendingAction, *, recovered: bool) -> None:
        self._busy += 1
        self._idle.clear()
        try:
            await self._perform(action, recovered)
        finally:
            self._active[action.kind in self._slow] -= 1
            if action.id not in self._waiting:
                self._held.discard(action.id)
                if self._ended_meanwhile is not None:
                    self._ended_meanwhile.add(action.id)
            self._busy -= 1
            if not self._busy:
                self._idle.set()
            if self._wants_more:
                self._sooner.set()

    async def _refill(self) -> None:
        """Read what is on disk. What ended while it was read is not begun again."""
        self._ended_meanwhile = ended = set[int]()
        # Before the read: what finds no room while it goes on may be too new to be in it.
        self._more_on_disk, self._later_on_disk = frozenset(), False
        try:
            actions = await self._store.pending()
        except StoreUnavailable as error:
            self._more_on_disk = _IN_BOTH
            log.warning("the outbox can't be read now", action="outbox_unread", error=str(error))
            await self._clock.sleep(_RETRY_S)
            return
        finally:
            self._ended_meanwhile = None
        for action in actions:
            if action.id not in ended:
                self.add(action, recovered=True)

    async def _nap(self) -> None:
        """Sleep until the next moment, or until something is added that may be sooner."""
        self._sooner.clear()
        if self._wants_more:
            return
        pause = self._later[0][0] - self._clock.monotonic() if self._later else float(_LONGEST_NAP_S)
        if pause > 0:
            await doze(self._clock, min(pause, _LONGEST_NAP_S), self._sooner)
