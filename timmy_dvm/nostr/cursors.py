"""From when on each relay is asked for events, and which of them are too old to be news.

A relay's cursor is the last moment at which we are sure to have seen, and dealt with, all it had for us. It moves
while the relay serves us and has told what it had stored; it never passes an event that is still being dealt
with, so whatever a crash interrupts is asked for again. Asked for is a little more, because clocks differ.
"""

from collections.abc import Iterable
from typing import Final, Protocol

from timmy_dvm.clock import Clock

OVERLAP_S: Final = 600
LONGEST_AWAY_S: Final = 86_400
"""What came longer ago than this while we were away is too late to be answered."""
LONGEST_LATE_S: Final = 3_600
"""A request that is older when it is first seen is ignored, unless it came while we were away."""
_KEY: Final = "relay_cursor:"


class Memory(Protocol):
    """The part of the ledger that remembers settings (`ledger.store.Store`)."""

    async def setting(self, key: str) -> str | None:
        """A remembered value, or None."""

    async def remember(self, key: str, value: str) -> None:
        """Remember a value; on disk when this returns."""


class Cursors:
    """The cursors of all configured relays, kept in the ledger under `relay_cursor:<url>`.

    Args:
        memory: where they are kept.
        clock: what time it is.
        key: what they are kept under, for a second set of them.
    """

    def __init__(self, memory: Memory, clock: Clock, key: str = _KEY) -> None:
        self._memory = memory
        self._key = key
        self._clock = clock
        self._cursors: dict[str, int] = {}
        self._saved: dict[str, int] = {}
        self._first: set[str] = set()
        self._catching_up: dict[str, int] = {}

    async def load(self, urls: Iterable[str]) -> None:
        """Read the cursors. A relay that was never asked before starts now, which is remembered at once.

        Raises:
            StoreUnavailable: they can't be read or written.
        """
        now = int(self._clock.now())
        for url in urls:
            text = await self._memory.setting(self._key + url)
            if text is not None and text.isascii() and text.isdigit():
                self._cursors[url] = self._saved[url] = min(int(text), now)
                continue
            await self._memory.remember(self._key + url, str(now))
            self._cursors[url] = self._saved[url] = now
            self._first.add(url)

    def since(self, url: str) -> int:
        """From when on to ask a relay that is being (re)connected: from now on it is catching up.

        Relays hold new events to this moment too, so it is at least as far back as a request may be late: else a
        customer whose clock is slow would meet silence.
        """
        now = int(self._clock.now())
        overlap = min(self._cursors.get(url, now) - OVERLAP_S, now - LONGEST_LATE_S)
        since = max(overlap, now - LONGEST_AWAY_S)
        self._catching_up[url] = since
        return since

    def caught_up(self, url: str) -> None:
        """The relay has told all it had stored, and that has been read."""
        self._catching_up.pop(url, None)
        self._first.discard(url)

    def not_before(self, url: str) -> int:
        """Events of this relay that are older than this second are ignored, as things stand.

        At the very first start what a relay has stored is none of our business: it was asked of nobody. But the
        overlap is asked for all the same, for customers whose clocks are behind ours.
        """
        late = int(self._clock.now()) - LONGEST_LATE_S
        since = self._catching_up.get(url)
        if since is None:
            return late
        return self._cursors[url] if url in self._first else min(late, since)

    def advance(self, serving: Iterable[str], oldest_open: int | None) -> None:
        """Move the cursors of relays that serve us and have caught up to now.

        Args:
            serving: relays.
            oldest_open: the date of the oldest event that is not dealt with yet: none of them passes it.
        """
        now = int(self._clock.now())
        sure = now if oldest_open is None else min(now, oldest_open)
        for url in serving:
            if url in self._cursors and url not in self._catching_up:
                self._cursors[url] = max(self._cursors[url], sure)

    async def save(self) -> None:
        """Remember the cursors that moved.

        Raises:
            StoreUnavailable: some could not be written; they are written with the next call.
        """
        for url, cursor in self._cursors.items():
            if cursor != self._saved[url]:
                await self._memory.remember(self._key + url, str(cursor))
                self._saved[url] = cursor
