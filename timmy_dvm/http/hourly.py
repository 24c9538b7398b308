"""How much each address may have in an hour: free answers, keys spent on what is refused."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from timmy_dvm.clock import Clock

HOUR_S: Final = 3_600
ADDRESSES: Final = 10_000
"""Remembered at one time; the one longest quiet is forgotten first."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How an address stands: whether it may have one more, and what is told about that.

    Attributes:
        granted: whether it has, or may have, this one.
        limit, left: of how many in an hour how many are left.
        reset_at: the Unix second at which the oldest is forgotten.
    """

    granted: bool
    limit: int
    left: int
    reset_at: int

    @property
    def headers(self) -> dict[str, str]:
        """As they go with an answer."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.left),
            "X-RateLimit-Reset": str(self.reset_at),
        }


class PerHour:
    """At most so many for each address, over any hour. Kept in memory: a new start gives it anew.

    Args:
        limit: how many.
        clock: its monotonic time counts, its wall clock is told.
        addresses: how many are remembered; with a large ``limit`` fewer, for each of theirs is a number in memory.
    """

    def __init__(self, limit: int, clock: Clock, addresses: int = ADDRESSES) -> None:
        self._limit = limit
        self._clock = clock
        self._addresses = addresses
        self._taken: OrderedDict[str, list[float]] = OrderedDict()

    def look(self, address: str) -> Standing:
        """How it stands; nothing is taken."""
        taken = self._recent(address)
        return self._standing(taken, granted=len(taken) < self._limit)

    def take(self, address: str) -> Standing:
        """Take one, if there is one left."""
        taken = self._recent(address)
        granted = len(taken) < self._limit
        if granted:
            taken.append(self._clock.monotonic())
            self._taken[address] = taken
            self._taken.move_to_end(address)
            if len(self._taken) > self._addresses:
                self._taken.popitem(last=False)
        return self._standing(taken, granted=granted)

    def give_back(self, address: str) -> None:
        """The one taken last brought nothing."""
        if self._taken.get(address):
            self._taken[address].pop()

    def _recent(self, address: str) -> list[float]:
        now = self._clock.monotonic()
        return [at for at in self._taken.get(address, ()) if now - at < HOUR_S]

    def _standing(self, taken: list[float], *, granted: bool) -> Standing:
        wait_s = HOUR_S - (self._clock.monotonic() - taken[0]) if taken else HOUR_S
        left = max(0, self._limit - len(taken))
        return Standing(granted, self._limit, left, math.ceil(self._clock.now() + wait_s))
