"""Who may hold a connection, HTTP or WebSocket alike."""

from collections import Counter


class Gate:
    """How many connections there are, in all and from each address, and how many there may be.

    ``read_s`` is within how many seconds a request must be complete; uvicorn alone waits for ever.
    """

    def __init__(self, *, read_s: int, connections: int, per_address: int) -> None:
        self.read_s = read_s
        self._connections = connections
        self._per_address = per_address
        self._counts: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a connection; whether it may stay."""
        self._counts[address] += 1
        return self._counts[address] <= self._per_address and self._counts.total() <= self._connections

    def leave(self, address: str) -> None:
        """A connection is gone."""
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]
