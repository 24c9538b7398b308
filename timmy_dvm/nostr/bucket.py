"""Bounds on how often something is done: a bucket of tokens that fills by the second, and one for each key."""

import asyncio
from collections import Counter, OrderedDict

from timmy_dvm.clock import Clock

_MINUTE_S = 60


class TokenBucket:
    """`per_second` tokens a second, and no more than a second's worth saved up.

    Args:
        per_second: how many.
        clock: its monotonic time fills the bucket.
        room: how many are saved up, where it is not a second's worth; at least 1.
    """

    def __init__(self, per_second: float, clock: Clock, *, room: int | None = None) -> None:
        self._per_second = per_second
        self._clock = clock
        self._room = float(per_second if room is None else room)
        self._tokens = self._room
        self._filled_at = clock.monotonic()

    def take(self) -> bool:
        """Take a token, if there is one."""
        self._fill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def spend(self, count: int = 1) -> None:
        """Take tokens for what was done already; no more are owed than would be saved up."""
        self._fill()
        self._tokens = max(-self._room, self._tokens - count)

    def _fill(self) -> None:
        now = self._clock.monotonic()
        self._tokens = min(self._room, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now


class PerMinute:
    """At most so many takes a minute for each key, over any 60 seconds.

    Args:
        limit: how many.
        clock: its monotonic time.
        keys: remembered at one time; the one longest quiet is forgotten first.
    """

    def __init__(self, limit: int, clock: Clock, keys: int = 10_000) -> None:
        self._limit = limit
        self._clock = clock
        self._keys = keys
        self._taken: OrderedDict[str, list[float]] = OrderedDict()

    def take(self, key: str) -> bool:
        """Take one, if there is one left."""
        now = self._clock.monotonic()
        taken = [at for at in self._taken.get(key, ()) if now - at < _MINUTE_S]
        if len(taken) >= self._limit:
            return False
        self._taken[key] = [*taken, now]
        self._taken.move_to_end(key)
        if len(self._taken) > self._keys:
            self._taken.popitem(last=False)
        return True


class Tally:
    """Counts what happens often, so that the log need not name each.

    Args:
        clock: its monotonic time.
        every_s: how often a count is told at most; the first at once.
    """

    def __init__(self, clock: Clock, every_s: int = 10) -> None:
        self._clock = clock
        self._every_s = every_s
        self._count = 0
        self._told_at = -float("inf")

    def one_more(self) -> int:
        """It has happened. How often since it was last told, if it is time to tell; else 0."""
        self._count += 1
        now = self._clock.monotonic()
        if now - self._told_at < self._every_s:
            return 0
        count, self._count, self._told_at = self._count, 0, now
        return count


class Turns:
    """So many answers a second; what is more than that has a turn later, or none.

    Args:
        per_second: how many; as many may come at once.
        clock: its monotonic time lets turns pass.
        longest_s: who would wait longer than this has no turn.
    """

    def __init__(self, per_second: int, clock: Clock, longest_s: int) -> None:
        self._pause_s = 1 / per_second
        self._clock = clock
        self._longest_s = longest_s
        self._booked_until = clock.monotonic()

    def book(self) -> float | None:
        """Take the next turn: in how many seconds it is. None: too many wait before it, and nothing is taken."""
        now = self._clock.monotonic()
        wait_s = max(0.0, self._booked_until + self._pause_s - now - 1)
        if wait_s > self._longest_s:
            return None
        self._booked_until = max(self._booked_until, now) + self._pause_s
        return wait_s

    def give_back(self) -> None:
        """A turn that was booked is not needed."""
        self._booked_until -= self._pause_s


class Patience:
    """How many errors each key is still answered with, so that one key can't use up what all are owed.

    Any request may turn out to be an error, so no more of a key's are dealt with at once than it may still have.

    Args:
        at_most: errors for a key in `per_s`; as many may come at once.
        clock: its monotonic time gives patience back.
        keys: remembered at one time; the one longest quiet is forgotten first.
        per_s: seconds.
    """

    def __init__(self, at_most: int, clock: Clock, keys: int = 10_000, *, per_s: int = 60) -> None:
        self._at_most = at_most
        self._per_s = per_s
        self._clock = clock
        self._keys = keys
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._in_hand: Counter[str] = Counter()
        self._one_ended = asyncio.Event()

    def has_left(self, key: str) -> bool:
        """Whether a key would be answered to one more error just now."""
        return self._now_left(key) >= 1

    async def begin(self, key: str) -> bool:
        """Wait for a key's turn. False: it has used up its errors; True: `end` is to be called."""
        while self._in_hand[key] >= max(1, int(self._now_left(key))):
            await self._one_ended.wait()
        if self._now_left(key) < 1:
            return False
        self._in_hand[key] += 1
        return True

    def end(self, key: str, *, was_error: bool) -> None:
        """A key's request was dealt with."""
        self._in_hand[key] -= 1
        if not self._in_hand[key]:
            del self._in_hand[key]
        if was_error:
            self._spend(key)
        self._one_ended.set()
        self._one_ended = asyncio.Event()

    def _spend(self, key: str) -> None:
        self._left[key] = (self._now_left(key) - 1, self._clock.monotonic())
        self._left.move_to_end(key)
        if len(self._left) > self._keys:
            self._left.popitem(last=False)

    def _now_left(self, key: str) -> float:
        left, at = self._left.get(key, (float(self._at_most), self._clock.monotonic()))
        return min(self._at_most, left + (self._clock.monotonic() - at) * self._at_most / self._per_s)
