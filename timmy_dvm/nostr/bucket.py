"""Bounds on how often something is done: a bucket of tokens that fills by the second, and one for each key."""

from collections import OrderedDict

from timmy_dvm.clock import Clock


class TokenBucket:
    """`per_second` tokens a second, and no more than that many saved up.

    Args:
        per_second: how many.
        clock: its monotonic time fills the bucket.
    """

    def __init__(self, per_second: int, clock: Clock) -> None:
        self._per_second = per_second
        self._clock = clock
        self._tokens = float(per_second)
        self._filled_at = clock.monotonic()

    def take(self) -> bool:
        """Take a token, if there is one."""
        self._fill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def spend(self) -> None:
        """Take a token for what was done already; at most one second's worth is owed."""
        self._fill()
        self._tokens = max(-float(self._per_second), self._tokens - 1)

    def _fill(self) -> None:
        now = self._clock.monotonic()
        self._tokens = min(self._per_second, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now


class Patience:
    """How many errors each key is still answered with, so that one key can't use up what all are owed.

    Args:
        per_minute: errors for a key in a minute; as many may come at once.
        clock: its monotonic time gives patience back.
        keys: remembered at one time; the one longest quiet is forgotten first.
    """

    def __init__(self, per_minute: int, clock: Clock, keys: int = 10_000) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._keys = keys
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def has_with(self, key: str) -> bool:
        """Whether a key may still be answered with an error."""
        return self._now_left(key) >= 1

    def spend(self, key: str) -> None:
        """A key was answered with an error."""
        self._left[key] = (self._now_left(key) - 1, self._clock.monotonic())
        self._left.move_to_end(key)
        if len(self._left) > self._keys:
            self._left.popitem(last=False)

    def _now_left(self, key: str) -> float:
        left, at = self._left.get(key, (float(self._per_minute), self._clock.monotonic()))
        return min(self._per_minute, left + (self._clock.monotonic() - at) * self._per_minute / 60)
