"""Who is dealt with first when many ask at once: keys that have paid before have no queue, all others have turns.

Keys cost nothing, so no bound on each key bounds a flood of fresh ones. What a stranger's event may cost us (a
decryption, a commit, a signed answer) is bounded here for all of them together: so many a second have their turn,
fewer while keys that have paid are asking, and only so many wait for it. A key may have as many waiting as a tenth
of the room that is left, so none fills it, and the first event of a key finds a place as long as there is one.
What finds none is met with silence.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ledger.records import Applied
from relay_client.event import UnverifiedEvent
from relay_client.pool import Received
from relay_client.stream import RecentIds
from timmy_dvm.clock import Clock
from timmy_dvm.nostr.bucket import TokenBucket

TURNS_PER_SECOND: Final = 100
TURNS_BESIDE_PAYERS: Final = 25
"""A turn takes some milliseconds of the one processor core, and four times as much of it is felt by who pays."""
GIVES_WAY_S: Final = 2
"""For so long after a paying key has asked, for most jobs are served in less."""
TURNS_IN_A_ROW: Final = 8
"""No more are saved up: after a pause, as when the disk stood still, paid jobs must not stand behind strangers."""
ROOM: Final = 8_000
"""Events that wait: a crowd of newcomers who all ask within a second is heard within 80 seconds, or later where
paying keys ask all the time."""
ROOM_BYTES: Final = 16_777_216
"""What all that wait may take in memory, roughly."""
KNOWN_PAYERS: Final = 50_000
"""Keys remembered as having paid; of more, those seen last."""
_SHARE: Final = 10
_EVENT_BYTES: Final = 1_000
_ITEM_BYTES: Final = 60
_NAP_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Guest:
    """An event that waits, and how old an event of its relay might be when it came."""

    received: Received
    not_before: int


class Books(Protocol):
    """What is read of the ledger (`ledger.store.Store`)."""

    async def paying_keys(self, limit: int) -> Sequence[str]:
        """Keys that have paid for a job, the last seen first."""


class Payers:
    """Keys that have paid for a job.

    Args:
        books: which they are so far.
    """

    def __init__(self, books: Books) -> None:
        self._books = books
        self._keys = RecentIds(KNOWN_PAYERS)

    async def load(self) -> None:
        """Read who has paid so far.

        Raises:
            StoreUnavailable: it can't be read.
        """
        for key in reversed(await self._books.paying_keys(KNOWN_PAYERS)):
            self._keys.remember(key)

    def __contains__(self, key: str) -> bool:
        return self._keys.has_met(key)

    def applied(self, applied: Applied) -> None:
        """Listen to the engine: whose job was done and paid is one of them from now on."""
        identity = applied.change.identity
        if identity is not None and identity.paid_jobs:
            self._keys.remember(identity.pubkey)


class Lobby:
    """Where strangers' events wait for their turn, in the order in which they came.

    Args:
        clock: its monotonic time gives turns.
        turns_per_second: how many.
        in_a_row: how many may come at once, after a quiet time.
        room: events that may wait.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        turns_per_second: int = TURNS_PER_SECOND,
        in_a_row: int = TURNS_IN_A_ROW,
        room: int = ROOM,
    ) -> None:
        self._clock = clock
        self._turns = TokenBucket(turns_per_second, clock, room=in_a_row)
        self._gives_way_until = -math.inf
        self._room = room
        self._bytes_left = ROOM_BYTES
        self._waiting: deque[Guest] = deque()
        self._of_key: Counter[str] = Counter()
        self._somebody = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_half_empty(self) -> bool:
        """Whether there is room for what is in no hurry, without taking it from those who come now."""
        return len(self._waiting) <= self._room // 2 and self._bytes_left >= ROOM_BYTES // 2

    def has_room_for(self, event: UnverifiedEvent) -> bool:
        """Whether it may wait here. The event need not be proved to ask."""
        left = self._room - len(self._waiting)
        return left > 0 and (
            self._of_key[event.pubkey] < max(1, left // _SHARE) and _size(event) <= self._bytes_left // _SHARE
        )

    def could_hold(self, event: UnverifiedEvent) -> bool:
        """Whether it would find room here if nobody else waited."""
        return _size(event) <= ROOM_BYTES // _SHARE

    def enter(self, guest: Guest) -> bool:
        """Wait for a turn. False: there is no room for it."""
        event = guest.received.event
        if not self.has_room_for(event):
            return False
        self._waiting.append(guest)
        self._of_key[event.pubkey] += 1
        self._bytes_left -= _size(event)
        self._somebody.set()
        return True

    def give_way(self) -> None:
        """A key that has paid asks: for a while fewer of those here have a turn beside it."""
        self._gives_way_until = self._clock.monotonic() + GIVES_WAY_S

    async def next(self) -> Guest:
        """Who is next, once there is somebody and it is their turn. Cancelling is safe: nobody is lost."""
        while not self._waiting:
            self._somebody.clear()
            await self._somebody.wait()
        while not self._turns.take():
            await self._clock.sleep(_NAP_S)
        if self._clock.monotonic() < self._gives_way_until:
            self._turns.spend(TURNS_PER_SECOND // TURNS_BESIDE_PAYERS - 1)
        guest = self._waiting.popleft()
        event = guest.received.event
        self._of_key[event.pubkey] -= 1
        if not self._of_key[event.pubkey]:
            del self._of_key[event.pubkey]
        self._bytes_left += _size(event)
        return guest


def _size(event: UnverifiedEvent) -> int:
    """About what it takes in memory, for its texts and for how many they are."""
    return _EVENT_BYTES + len(event.content) + sum(_ITEM_BYTES + len(item) for tag in event.tags for item in tag)
