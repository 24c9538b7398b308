"""Two small things the pool is made of: a bounded stream that can end, and a memory for ids that forgets."""

import asyncio
import collections
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Stream(Generic[_T]):
    """A bounded queue with an end: `put` waits for room, `get` waits for an item.

    Args:
        size: how many items it holds.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: collections.deque[_T] = collections.deque()
        self._is_ended = False
        self._has_item = asyncio.Event()
        self._has_room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    async def put(self, item: _T) -> None:
        """Add an item, when there is room. Cancelling is safe: the item is then not in the stream.

        After the end it is dropped, for nobody will ask for it.
        """
        while len(self._items) >= self._size and not self._is_ended:
            self._has_room.clear()
            await self._has_room.wait()
        if not self._is_ended:
            self._items.append(item)
            self._has_item.set()

    async def get(self) -> _T | None:
        """Take the oldest item, when there is one; None when the stream has ended and is empty.

        Cancelling is safe: no item is lost.
        """
        while not self._items:
            if self._is_ended:
                return None
            self._has_item.clear()
            await self._has_item.wait()
        self._has_room.set()
        return self._items.popleft()

    def end(self) -> None:
        """No more items: those that wait to put give up, those that get take what is left."""
        self._is_ended = True
        self._has_item.set()
        self._has_room.set()


class RecentIds:
    """The ids met lately, at most `size` of them; the one not met for longest is forgotten first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ids: collections.OrderedDict[str, None] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._ids)

    def has_met(self, id_: str) -> bool:
        """Whether the id is remembered; if so, it counts as met now."""
        if id_ in self._ids:
            self._ids.move_to_end(id_)
            return True
        return False

    def remember(self, id_: str) -> None:
        """The id has been met."""
        self._ids[id_] = None
        if len(self._ids) > self._size:
            self._ids.popitem(last=False)
