"""Deadlines as facts: when a job's ``due_at`` goes by, the engine hears of it. One heap, one sleeper, no polls."""

import asyncio
import heapq

from ledger.records import Applied, JobRecord
from ledger.store import RuleBroken, Store, StoreUnavailable
from timmy_dvm.clock import Clock, doze
from timmy_dvm.core.facts import DeadlinePassed
from timmy_dvm.engine import SHORT_ID, Contended, Engine
from timmy_dvm.log import get_logger

_RETRY_S = 5
_LONGEST_NAP_S = 3_600
"""A wall clock that was set must not leave us asleep past a deadline for long."""
log = get_logger("timers")


class Timers:
    """Watches the one deadline of each job. At most one heap entry a job and change; stale ones are skipped."""

    def __init__(self, store: Store, engine: Engine, clock: Clock) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._due: dict[str, int] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._sooner = asyncio.Event()
        engine.listen(self._applied)

    def _applied(self, applied: Applied) -> None:
        if applied.job is not None:
            self._note(applied.job)

    def _note(self, job: JobRecord) -> None:
        if job.due_at is None:
            self._due.pop(job.id, None)
        elif self._due.get(job.id) != job.due_at:
            self._watch(job.due_at, job.id)

    def _watch(self, due_at: int, job_id: str) -> None:
        self._due[job_id] = due_at
        self._wake_at(due_at, due_at, job_id)

    def _wake_at(self, moment: float, due_at: int, job_id: str) -> None:
        heapq.heappush(self._heap, (moment, due_at, job_id))
        if self._heap[0][2] == job_id:
            self._sooner.set()

    async def run(self) -> None:
        """Run until cancelled. Cancelling is safe: a deadline not handled is found again at the next start."""
        for due_at, job_id in await self._store.due():
            self._watch(due_at, job_id)
        while True:
            await self._nap()
            while self._heap and self._heap[0][0] <= self._clock.now():
                _, due_at, job_id = heapq.heappop(self._heap)
                if self._due.get(job_id) == due_at:
                    await self._passed(due_at, job_id)

    async def _nap(self) -> None:
        """Sleep until the next deadline, or until a sooner one is noted."""
        self._sooner.clear()
        seconds = self._heap[0][0] - self._clock.now() if self._heap else _LONGEST_NAP_S
        if seconds > 0:
            await doze(self._clock, min(seconds, _LONGEST_NAP_S), self._sooner)

    async def _passed(self, due_at: int, job_id: str) -> None:
        now = int(self._clock.now())
        try:
            await self._engine.handle(DeadlinePassed(job_id=job_id, due_at=due_at, at=now))
        except (StoreUnavailable, RuleBroken, Contended) as error:
            log.warning(
                "a deadline waits for the ledger", action="deadline_waits", job=job_id[:SHORT_ID], error=str(error)
            )
            self._wake_at(now + _RETRY_S, due_at, job_id)
            return
        if self._due.get(job_id) == due_at:
            self._due.pop(job_id)
