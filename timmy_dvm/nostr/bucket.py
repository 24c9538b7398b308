"""A bound on how often something is done: a bucket of tokens that fills by the second."""

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
