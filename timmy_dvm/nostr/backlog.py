"""What a relay has stored beyond what it tells at once: read backwards, page by page.

Relays answer a subscription with their newest so many stored events (NIP-11 `max_limit`; some don't say) and then
tell that this was all. So what is older is asked for, each page up to the oldest date of the one before, until a
page is short of what this relay is known to give. A page's last second is asked for again, for others of that
second may have been cut off. What one relay can have us read is bounded.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.hearing import Stored
from relay_client.query import MAX_FOUND_BYTES
from timmy_dvm.clock import Clock
from timmy_dvm.log import get_logger
from timmy_dvm.nostr.nip90 import MAX_AHEAD_S

PAGE: Final = 100
"""Events of a page, few enough that they mostly fit what one question may bring in bytes."""
MAX_PAGES: Final = 200
TRIES: Final = 6
"""Of a page that did not come."""
PAUSE_S: Final = 5.0
"""Before the second try, then twice as long each time: a relay that found us too fast is left in peace as long
(`relay_client.pace`), and is not even asked meanwhile."""
PAGE_S: Final = 10.0
_SHORT_BYTES: Final = MAX_FOUND_BYTES // 4
"""A page of fewer bytes than this was not cut off for its length: the longest event is far below the rest."""

log = get_logger("nostr")


class BacklogUnread(Exception):
    """A relay did not tell all that it has stored."""


class Relays(Protocol):
    """Who has events (`relay_client.pool.RelayPool`)."""

    async def query(
        self, filters: Sequence[Filter], *, urls: Iterable[str] | None = None, timeout_s: float
    ) -> list[Event]:
        """What relays have stored, newest first, proved; of each no more than it may bring."""


class Backlog:
    """Reads backwards.

    Args:
        relays: who is asked.
        clock: for pauses.
        wanted: what is read, without dates.
    """

    def __init__(self, relays: Relays, clock: Clock, wanted: Filter) -> None:
        self._relays = relays
        self._clock = clock
        self._wanted = wanted

    async def older(self, url: str, told: Stored, since: int) -> AsyncIterator[list[Event]]:
        """Pages of what a relay has from `since` on (Unix seconds), beyond what it has ``told``; newest first.

        The first events of a page may be known. It ends also where the relay has too much. A relay that told
        nothing is asked all the same: others that it was asked for may have taken the room. Where what it told
        may have been for another filter, it is asked from the newest on.

        Raises:
            BacklogUnread: it did not answer, several times.
        """
        newest = int(self._clock.now()) + MAX_AHEAD_S
        is_known = told.count > 0 and not told.is_shared
        at_once, until = (min(told.count, PAGE), told.oldest) if is_known else (1, newest)
        is_sure = told.count > 0 and since <= told.oldest <= until
        for _ in range(MAX_PAGES):
            if until < since:
                return
            page = await self._page(url, since, until, is_sure=is_sure)
            if page is None:
                raise BacklogUnread(f"{url} did not tell all it has stored")
            yield page
            at_once = max(at_once, len(page))
            if len(page) < at_once and sum(len(event.content) for event in page) < _SHORT_BYTES:
                return
            oldest = min((event.created_at for event in page), default=until)
            # As many of one second as it gives at once: what else is of that second can't be asked for.
            until, is_sure = (oldest, True) if oldest < until else (until - 1, False)
        log.warning("a relay has more stored than is read", action="backlog_too_long", relay=url)

    async def _page(self, url: str, since: int, until: int, *, is_sure: bool) -> list[Event] | None:
        """One page; None where the relay does not answer. `is_sure`: it has an event that is asked for."""
        asked = replace(self._wanted, since=since, until=until, limit=PAGE)
        for attempt in range(TRIES):
            if attempt:
                await self._clock.sleep(PAUSE_S * 2.0 ** (attempt - 1))
            found = await self._relays.query([asked], urls=[url], timeout_s=PAGE_S)
            if found or not is_sure:
                return found
        return None
