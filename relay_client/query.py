"""A question asked once: what relays have stored for some filters, gathered, proved and bounded.

    Findings    what one query has found so far, over all the relays it asks
    Share       one relay's part in it, with a bound of its own: who floods us crowds out nobody else

How a question travels is `asker`'s for configured relays, and `strangers`' for others.
"""

import asyncio
import dataclasses
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final

import msgspec

from relay_client.errors import InvalidEvent
from relay_client.event import Event, UnverifiedEvent
from relay_client.filter import Filter
from relay_client.happenings import CaughtUp, EventHeard, Happening, Misbehaviour, Score, SubscriptionClosed

QUERY_TIMEOUT_S: Final = 5.0
MAX_FOUND: Final = 500
"""Events one relay may answer a query with."""
MAX_FOUND_BYTES: Final = 2_097_152
"""Their bytes, as JSON."""


class Findings:
    """What a query has found: each event once, proved, matching its filters.

    Args:
        filters: what is asked for; where one has no `limit`, it gets `MAX_FOUND`.
        enough: so many events end the query; None waits for all relays.

    Raises:
        ValueError: there is no filter.

    Attributes:
        filters: as relays are asked.
    """

    def __init__(self, filters: Sequence[Filter], enough: int | None = None) -> None:
        if not filters:
            raise ValueError("a query has at least one filter")
        self.filters = tuple(
            dataclasses.replace(
                filter_, limit=min(MAX_FOUND, MAX_FOUND if filter_.limit is None else filter_.limit)
            )
            for filter_ in filters
        )
        self._enough = enough
        self._deadline: asyncio.Timeout | None = None
        self._events: dict[str, Event] = {}

    async def gather(self, asks: Iterable[Coroutine[Any, Any, None]], timeout_s: float) -> None:
        """Run these, each of which adds to the findings, until all have ended, `end` is called, or time is up."""
        try:
            async with asyncio.timeout(timeout_s) as self._deadline, asyncio.TaskGroup() as group:
                for ask in asks:
                    group.create_task(ask)
        except TimeoutError:
            pass
        finally:
            self._deadline = None

    def end(self) -> None:
        """Wait for nothing more."""
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time())

    def newest_first(self) -> list[Event]:
        """All that was found; of one second, the lowest id first (NIP-01)."""
        return sorted(self._events.values(), key=lambda event: (-event.created_at, event.id))

    def take(self, unverified: UnverifiedEvent) -> None:
        """Prove an event, unless it is here already.

        Raises:
            InvalidEvent: its id or its signature is false.
        """
        if unverified.id not in self._events:
            self._events[unverified.id] = unverified.verify()
            if self._enough is not None and len(self._events) >= self._enough:
                self.end()


class Share:
    """One relay's part in a query: at most as many events as were asked for, at most `MAX_FOUND_BYTES`."""

    def __init__(self, findings: Findings) -> None:
        self.filters = findings.filters
        self._findings = findings
        self._events_left = min(MAX_FOUND, sum(filter_.limit or 0 for filter_ in findings.filters))
        self._bytes_left = MAX_FOUND_BYTES

    def take(self, happening: Happening, score: Score, now: float) -> bool:
        """Take what the relay said to our question; a false event is left out and scored.

        Returns:
            Whether more is to be waited for.
        """
        match happening:
            case EventHeard(_, event):
                self._events_left -= 1
                self._bytes_left -= _size(event)
                if self._events_left < 0 or self._bytes_left < 0:
                    return False
                try:
                    self._findings.take(event)
                except InvalidEvent:
                    score.add(Misbehaviour.FORGED_EVENT, now)
                return self._events_left > 0
            case CaughtUp() | SubscriptionClosed():
                return False
            case _:
                return True


def _size(event: UnverifiedEvent) -> int:
    return len(msgspec.json.encode(event))
