"""Who may hold a connection, HTTP or WebSocket alike."""

from collections import Counter
from collections.abc import Callable
from typing import Final

_PARTING: Final = 20
"""So many at a time are told why they are not let in; in a flood the others are hung up on."""


class Gate:
    """How many connections there are, in all and from each address, and how many there may be.

    As many again of an address may wait before the gate, unread, until there is a place for one: whoever asks
    twenty things at once is served ten at a time, and not hung up on.

    ``read_s`` is within how many seconds a request must be complete; uvicorn alone waits for ever. ``wait_s`` is
    how long a connection may wait to be let in. ``bucket`` tells under what an address counts; None: only among
    all.
    """

    def __init__(
        self,
        *,
        read_s: int,
        connections: int,
        per_address: int,
        wait_s: float = 5,
        bucket: Callable[[str], str | None] = str,
    ) -> None:
        self.read_s = read_s
        self.wait_s = wait_s
        self._connections = connections
        self._per_address = per_address
        self._bucket = bucket
        self._counts: Counter[str | None] = Counter()
        self._parting = 0
        self._idle: dict[Callable[[], None], None] = {}
        self._waiting: dict[Callable[[], None], str | None] = {}

    def enter(self, address: str) -> bool:
        """Whether a connection may stay; then it is counted until it leaves.

        Where all places are taken, the one that has said nothing whole for longest makes room: whoever holds
        connections and asks for nothing must not keep out somebody who does.
        """
        if not self.has_share(address) or (self._is_full() and not self._idle):
            return False
        makes_room = self._is_full()
        self._counts[self._bucket(address)] += 1  # before that, or who waits would take the place that is made
        if makes_room:
            self._make_room()
        return True

    def has_share(self, address: str) -> bool:
        """Whether this address may have one more, whatever others have."""
        bucket = self._bucket(address)
        return bucket is None or self._counts[bucket] < self._per_address

    def parts(self) -> bool:
        """Whether one that was not let in may hear why; it says so when it has :meth:`parted`."""
        if self._parting >= _PARTING:
            return False
        self._parting += 1
        return True

    def parted(self) -> None:
        """One that heard why is gone."""
        self._parting -= 1

    def leave(self, address: str) -> None:
        """A connection that was let in is gone."""
        bucket = self._bucket(address)
        self._counts[bucket] -= 1
        if not self._counts[bucket]:
            del self._counts[bucket]
        while (let_in := self._next()) is not None:
            del self._waiting[let_in]
            let_in()  # who is gone meanwhile takes no place, and the one behind it is asked

    def waits(self, address: str, let_in: Callable[[], None]) -> bool:
        """Whether a connection that may not enter may wait; ``let_in`` is called once, when it may try again."""
        bucket = self._bucket(address)
        waiting = sum(other == bucket for other in self._waiting.values())
        if bucket is None or waiting >= self._per_address or len(self._waiting) >= self._connections:
            return False
        self._waiting[let_in] = bucket
        return True

    def gives_up(self, let_in: Callable[[], None]) -> None:
        """A connection waits no more."""
        self._waiting.pop(let_in, None)

    def is_wanted(self, address: str) -> bool:
        """Whether another connection waits for the place that one of this address has."""
        mine = self._bucket(address)
        return any(other == mine or self._counts[other] < self._per_address for other in self._waiting.values())

    def idles(self, hang_up: Callable[[], None]) -> None:
        """A connection waits for its client from now on; ``hang_up`` ends it and has it leave, at once."""
        self._idle.pop(hang_up, None)
        self._idle[hang_up] = None

    def works(self, hang_up: Callable[[], None]) -> None:
        """A connection has a whole request, or is gone."""
        self._idle.pop(hang_up, None)

    def _is_full(self) -> bool:
        return self._counts.total() >= self._connections

    def _next(self) -> Callable[[], None] | None:
        """Who has waited longest of those for whom there is a place."""
        if self._is_full():
            return None
        waiting = self._waiting.items()
        return next((let_in for let_in, bucket in waiting if self._counts[bucket] < self._per_address), None)

    def _make_room(self) -> None:
        longest = next(iter(self._idle))
        del self._idle[longest]
        longest()
