"""Wakes whoever waits for a job to change, a top-up or an invoice: routes that answer then, and event streams."""

import asyncio
import contextlib
from collections.abc import Iterator

from ledger.records import Applied


class Watch:
    """One waiter's view of one job."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    async def change(self) -> None:
        """Return once the job was written since the last call, or since the watch began. Cancelling is safe."""
        await self._changed.wait()
        self._changed.clear()

    def wake(self) -> None:
        """The job was written."""
        self._changed.set()


class Watchers:
    """All who wait, by job. Look *after* a watch began and after each change: so nothing is missed."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}

    def applied(self, applied: Applied) -> None:
        """A listener of the engine."""
        change = applied.change
        touched = {refund.job_id or refund.bootstrap_id for refund in change.refunds}
        touched |= {invoice.job_id for invoice in change.invoices}
        if applied.job is not None:
            touched.add(applied.job.id)
        if change.bootstrap is not None:
            touched.add(change.bootstrap.id)
        # Who waits for a session's invoice knows its top-up; who has paid one, its hash.
        touched |= {topup.id for topup in change.topups}
        touched |= {invoice.payment_hash for invoice in change.invoices}
        for touched_id in touched:
            for watch in self._watches.get(touched_id or "", ()):
                watch.wake()

    @contextlib.contextmanager
    def watching(self, job_id: str) -> Iterator[Watch]:
        """Watch one job for as long as the context lasts."""
        watch = Watch()
        self._watches.setdefault(job_id, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._watches[job_id]
            watches.discard(watch)
            if not watches:
                del self._watches[job_id]
