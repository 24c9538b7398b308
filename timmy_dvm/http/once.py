"""What may be used once: challenges, and signed events of requests that change something. In memory, bounded."""

from collections import deque


class Full(Exception):
    """No more can be kept in mind; nothing was used."""


class Once:
    """Remembers what was used until it is worth nothing anyway. A use is one step, with no waiting in it.

    Args:
        most: how much is remembered at once; beyond that nothing may be used.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._used: set[str] = set()
        # In the order of their use; what ended behind one that has not waits for that one.
        self._ends: deque[tuple[int, str]] = deque()
        self._forgotten = 0

    def use(self, what: str, until: int, now: int) -> bool:
        """Whether this is its first use.

        Args:
            what: tells it from all others.
            until: the Unix second from which on its user refuses it anyway.
            now: Unix seconds.

        Raises:
            Full: it can't be remembered.
        """
        self._forget(now)
        # A clock that went back must not bring to life what was forgotten.
        if what in self._used or until <= self._forgotten:
            return False
        if len(self._used) >= self._most:
            raise Full
        self._used.add(what)
        self._ends.append((until, what))
        return True

    def _forget(self, now: int) -> None:
        while self._ends and self._ends[0][0] <= now:
            until, what = self._ends.popleft()
            self._used.discard(what)
            self._forgotten = max(self._forgotten, until)
