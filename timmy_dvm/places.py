"""Places for runs of the model, and who gets the next one that is free. No I/O.

Who paid is never refused: what finds no place waits. A place that comes free goes

1. to nobody beyond their share: keys that have not paid before hold at most half of the places, all together, so
   that a crowd of newcomers leaves the other half to known payers; and no key alone holds more than half;
2. of the rest, to the key that holds the fewest, so that a long queue of one key delays that key alone;
3. of equals, to a job that is half done: else, with more paid than can be done within a job's time, all would be
   begun and none would end;
4. of equals, to whoever waits longest.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bidder:
    """Who wants a place.

    Attributes:
        key: the customer, or the job where nobody is known.
        has_paid: whether this key has paid for a job before.
        is_half_done: whether a run of the job has ended already.
    """

    key: str
    has_paid: bool = False
    is_half_done: bool = False


class Places:
    """So many runs at once.

    Args:
        count: how many, at least 1.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._share = (count + 1) // 2
        self._held: Counter[str] = Counter()
        self._held_by_newcomers = 0
        # In the order they came; each giving out looks at all of them, and the outbox bounds how many they are.
        self._waiting: dict[asyncio.Future[None], Bidder] = {}

    @contextlib.asynccontextmanager
    async def one(self, bidder: Bidder) -> AsyncIterator[bool]:
        """Hold a place; yields whether it had to be waited for. Cancelling is safe: no place is lost."""
        had_to_wait = await self._take(bidder)
        try:
            yield had_to_wait
        finally:
            self._leave(bidder)

    async def _take(self, bidder: Bidder) -> bool:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[place] = bidder
        self._give_out()
        if place.done():
            return False
        try:
            await place
        except asyncio.CancelledError:
            if self._waiting.pop(place, None) is None:
                self._leave(bidder)  # it was given in the very moment in which nobody wanted it any more
            raise
        return True

    def _leave(self, bidder: Bidder) -> None:
        self._held[bidder.key] -= 1
        if not self._held[bidder.key]:
            del self._held[bidder.key]
        self._held_by_newcomers -= not bidder.has_paid
        self._give_out()

    def _give_out(self) -> None:
        while self._held.total() < self._count:
            allowed = (
                place
                for place, bidder in self._waiting.items()
                if self._may_hold(bidder) and not place.cancelled()
            )
            place = min(allowed, key=lambda place: self._turn_of(self._waiting[place]), default=None)
            if place is None:
                return
            bidder = self._waiting.pop(place)
            self._held[bidder.key] += 1
            self._held_by_newcomers += not bidder.has_paid
            place.set_result(None)

    def _may_hold(self, bidder: Bidder) -> bool:
        return self._held[bidder.key] < self._share and (bidder.has_paid or self._held_by_newcomers < self._share)

    def _turn_of(self, bidder: Bidder) -> tuple[int, bool]:
        return self._held[bidder.key], not bidder.is_half_done
