"""Who looks on, each with a bounded queue: nobody is waited for, and who does not keep up is let go."""

import asyncio
from typing import Final

QUEUE_MAX: Final = 128
"""Frames that may wait for one watcher; about a hundred bytes each."""


class Watcher:
    """One open page.

    Args:
        address: where it comes from, as limits count it.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.lost = asyncio.Event()
        """Set once it did not keep up; its connection is to be cut."""
        self._queue: asyncio.Queue[str] = asyncio.Queue(QUEUE_MAX)

    def tell(self, frame: str) -> None:
        """Put a frame into its queue, or give it up."""
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            self.lost.set()

    async def next(self) -> str:
        """The next frame for it, once there is one."""
        return await self._queue.get()


class Watchers:
    """All of them.

    Args:
        at_most: how many may look on; one more is not let in.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._all: set[Watcher] = set()

    def __len__(self) -> int:
        return len(self._all)

    def join(self, address: str) -> Watcher | None:
        """Let somebody look on; None: there is no room."""
        if len(self._all) >= self._at_most:
            return None
        watcher = Watcher(address)
        self._all.add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """It is gone. Safe to repeat."""
        self._all.discard(watcher)

    def tell(self, frame: str) -> None:
        """Tell all of them."""
        for watcher in self._all:
            watcher.tell(frame)
