"""Who may hold a connection, HTTP or WebSocket alike."""

from collections import Counter
from collections.abc import Callable


class Gate:
    """How many connections there are, in all and from each address, and how many there may be.

    ``read_s`` is within how many seconds a request must be complete; uvicorn alone waits for ever.
    """

    def __init__(self, *, read_s: int, connections: int, per_address: int) -> None:
        self.read_s = read_s
        self._connections = connections
        self._per_address = per_address
        self._counts: Counter[str] = Counter()
        self._idle: dict[Callable[[], None], None] = {}

    def enter(self, address: str) -> bool:
        """Whether a connection may stay; then it is counted until it leaves.

        Where all places are taken, the one that has said nothing whole for longest makes room: whoever holds
        connections and asks for nothing must not keep out somebody who does.
        """
        if self._counts[address] >= self._per_address:
            return False
        if self._counts.total() >= self._connections and not self._make_room():
            return False
        self._counts[address] += 1
        return True

    def leave(self, address: str) -> None:
        """A connection that was let in is gone."""
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]

    def idles(self, hang_up: Callable[[], None]) -> None:
        """A connection waits for its client from now on; ``hang_up`` ends it and has it leave, at once."""
        self._idle.pop(hang_up, None)
        self._idle[hang_up] = None

    def works(self, hang_up: Callable[[], None]) -> None:
        """A connection has a whole request, or is gone."""
        self._idle.pop(hang_up, None)

    def _make_room(self) -> bool:
        longest = next(iter(self._idle), None)
        if longest is not None:
            del self._idle[longest]
            longest()
        return longest is not None
