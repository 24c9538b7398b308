"""Where a key reads: the relay lists it has published, asked of the configured relays and remembered for a while.

    kind 10002   `r` tags without a marker or with `read`: where it looks for what is meant for it (NIP-65)
    kind 10050   `relay` tags: where it takes direct messages (NIP-17)

What stands in them is a stranger's word: nothing here is dialled, and nothing here is fit to be dialled unjudged.
"""

import asyncio
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Protocol

from relay_client.errors import InvalidRelayUrl
from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.wire import parse_relay_url
from timmy_dvm.clock import Clock
from timmy_dvm.nostr.bucket import TokenBucket

KIND_RELAY_LIST: Final = 10_002
KIND_INBOX_LIST: Final = 10_050
MAX_LISTED: Final = 10
"""Relays of one list that are looked at; the others are ignored."""
FOUND_FOR_S: Final = 3_600
NOT_FOUND_FOR_S: Final = 300
"""How long it is remembered that no relay knew of a list."""
REMEMBERED: Final = 5_000
"""Lists; the one longest unused is forgotten first."""
MAX_ASKED_AT_ONCE: Final = 32
ASKED_A_SECOND: Final = 5
"""Beyond either, a list is not asked for, and taken for unknown: anybody can make new keys."""
_TIMEOUT_S: Final = 5.0


class Askable(Protocol):
    """Relays that can be asked (`relay_client.pool.RelayPool`)."""

    async def query(self, filters: Sequence[Filter], *, timeout_s: float = _TIMEOUT_S) -> Sequence[Event]:
        """Ask every configured relay once for what it has stored; proved, matching, newest first."""


class RelayLists:
    """The newest lists of keys.

    Args:
        pool: the relays to ask.
        clock: its monotonic time makes what is remembered old.
    """

    def __init__(self, pool: Askable, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._known: OrderedDict[tuple[str, int], tuple[float, tuple[str, ...]]] = OrderedDict()
        self._asking = 0
        self._asks_left = TokenBucket(ASKED_A_SECOND, clock, room=MAX_ASKED_AT_ONCE)
        self._turns: weakref.WeakValueDictionary[tuple[str, int], asyncio.Lock] = weakref.WeakValueDictionary()

    def known(self, key: str, kind: int) -> tuple[str, ...] | None:
        """What is remembered of a key's list, without asking; None: nothing, or nothing fresh."""
        remembered = self._known.get((key, kind))
        if remembered is None or remembered[0] <= self._clock.monotonic():
            return None
        self._known.move_to_end((key, kind))
        return remembered[1]

    async def find(self, key: str, kind: int) -> tuple[str, ...]:
        """The relays of a key's newest list, each once, as `parse_relay_url` spells them; none where it has none.

        Takes 5 s at most. Cancelling is safe.

        Args:
            key: hex.
            kind: `KIND_RELAY_LIST` or `KIND_INBOX_LIST`.
        """
        turn = self._turns.setdefault((key, kind), asyncio.Lock())
        async with turn:
            known = self.known(key, kind)
            if known is not None or self._asking >= MAX_ASKED_AT_ONCE or not self._asks_left.take():
                return known or ()
            self._asking += 1
            try:
                wanted = Filter(kinds=frozenset({kind}), authors=frozenset({key}), limit=1)
                events = await self._pool.query([wanted], timeout_s=_TIMEOUT_S)
            finally:
                self._asking -= 1
            relays = _relays(events[0]) if events else ()
            self._remember(key, kind, relays)
            return relays

    def _remember(self, key: str, kind: int, relays: tuple[str, ...]) -> None:
        until = self._clock.monotonic() + (FOUND_FOR_S if relays else NOT_FOUND_FOR_S)
        self._known[key, kind] = (until, relays)
        self._known.move_to_end((key, kind))
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


def _relays(event: Event) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for tag in event.tags:
        match tag:
            case ("r", url) | ("r", url, "read" | "", *_) if event.kind == KIND_RELAY_LIST:
                text = url
            case ("relay", url, *_) if event.kind == KIND_INBOX_LIST:
                text = url
            case _:
                continue
        try:
            found[parse_relay_url(text)] = None
        except InvalidRelayUrl:
            continue
        if len(found) == MAX_LISTED:
            break
    return tuple(found)
