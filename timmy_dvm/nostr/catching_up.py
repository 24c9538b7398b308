"""All that a relay has stored since we last heard it: it tells its newest at once, and is asked for the rest.

It has caught us up only when the rest is read (`backlog`). Where that can't be read it has not: the cursor stands
still, and the same is asked for again at the next connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.hearing import Stored
from timmy_dvm.clock import Clock
from timmy_dvm.log import get_logger
from timmy_dvm.nostr import backlog
from timmy_dvm.nostr.backlog import Backlog, BacklogUnread

log = get_logger("nostr")


class Relays(backlog.Relays, Protocol):
    """Who has events, and how much of them they told (`relay_client.pool.RelayPool`)."""

    def stored(self, sub_id: str, url: str) -> tuple[Stored, ...] | None:
        """How much a relay told for each filter before it had told all, as far as it tells at once."""


class CatchingUp:
    """What each relay tells of a subscription, from its connection to the oldest event that it keeps back.

    Args:
        relays: who is asked.
        clock: for pauses.
        sub_id: the subscription.
        filters: the first so many of its filters: what the relay keeps back of the others is let go.
        take: takes a page of a relay's events, newest first; some of them may be known.
        done: told a relay's URL when all that it has stored was taken.
    """

    def __init__(
        self,
        relays: Relays,
        clock: Clock,
        sub_id: str,
        filters: Sequence[Filter],
        *,
        take: Callable[[str, list[Event]], Awaitable[None]],
        done: Callable[[str], None],
    ) -> None:
        self._relays = relays
        self._sub_id = sub_id
        self._backlogs = [Backlog(relays, clock, wanted) for wanted in filters]
        self._take = take
        self._done = done
        self._since: dict[str, int] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._is_stopped = False

    def begin(self, url: str, since: int) -> None:
        """The relay is connected, perhaps again, and about to tell what it has from this Unix second on."""
        self._let_go(url)
        self._since[url] = since

    def told(self, url: str, group: asyncio.TaskGroup) -> None:
        """The relay has told its newest: what is older is read in a task of this group."""
        self._let_go(url)
        if self._is_stopped:
            return  # it is asked again at the next start
        stored = self._relays.stored(self._sub_id, url)
        if stored is None:
            return  # it is gone again, and will tell all anew
        if any(told.count for told in stored):
            self._reading[url] = group.create_task(self._read(url, stored, self._since[url]))
        else:
            self._done(url)

    def stop(self) -> None:
        """Read no further, and begin with nothing more."""
        self._is_stopped = True
        for url in list(self._reading):
            self._let_go(url)

    def _let_go(self, url: str) -> None:
        if (reading := self._reading.pop(url, None)) is not None:
            reading.cancel()

    async def _read(self, url: str, stored: Sequence[Stored], since: int) -> None:
        try:
            for reader, told in zip(self._backlogs, stored, strict=False):
                async for page in reader.older(url, told, since):
                    await self._take(url, page)
        except BacklogUnread as error:
            log.warning("what a relay has stored was not all read", action="backlog_unread", error=str(error))
        else:
            self._done(url)
