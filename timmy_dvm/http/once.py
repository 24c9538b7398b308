"""What may be used once: challenges, and signed events of requests that change something. In memory, bounded."""

from collections import Counter, deque
from typing import Final

_SHARE: Final = 20
"""One address has a twentieth of the places, and always this many where there are few."""
_FEWEST: Final = 20


class Full(Exception):
    """No more can be kept in mind; nothing was used."""


class ShareUsed(Full):
    """No more can be kept in mind of this address."""


class Once:
    """Remembers what was used until it is worth nothing anyway. A use is one step, with no waiting in it.

    Args:
        most: how much is remembered at once; beyond that nothing may be used.
        per_address: how much of it one address may have used; None: a twentieth, and 20 at least.
    """

    def __init__(self, most: int, per_address: int | None = None) -> None:
        self._most = most
        self._per_address = max(_FEWEST, most // _SHARE) if per_address is None else per_address
        self._used: set[str] = set()
        self._of_address: Counter[str] = Counter()
        # In the order of their use; what ended behind one that has not waits for that one.
        self._ends: deque[tuple[int, str, str]] = deque()
        self._forgotten = 0

    def use(self, what: str, until: int, now: int, address: str = "") -> bool:
        """Whether this is its first use.

        Args:
            what: tells it from all others.
            until: the Unix second from which on its user refuses it anyway.
            now: Unix seconds.
            address: from where it is used, as limits count: nobody may fill the memory alone.

        Raises:
            Full: it can't be remembered; :class:`ShareUsed` where only this address has too many.
        """
        self._forget(now)
        # A clock that went back must not bring to life what was forgotten.
        if what in self._used or until <= self._forgotten:
            return False
        if len(self._used) >= self._most:
            raise Full
        if self._of_address[address] >= self._per_address:
            raise ShareUsed
        self._used.add(what)
        self._of_address[address] += 1
        self._ends.append((until, what, address))
        return True

    def _forget(self, now: int) -> None:
        while self._ends and self._ends[0][0] <= now:
            until, what, address = self._ends.popleft()
            self._used.discard(what)
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]
            self._forgotten = max(self._forgotten, until)
