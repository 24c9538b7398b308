"""Signed events out to the relays (`dispatch.Publisher`): first to the configured ones, beside that to others.

What a customer is told goes to all configured relays, and besides to where the customer reads: the relay that
delivered the request and those it names, else the read relays of the customer's own list (NIP-65). A direct
message goes to the reader's inbox relays alone (NIP-17). `targets` says which of it an event is for.

A relay that is not configured is a stranger's word. So for one event at most `MAX_OTHERS` are dialled, `wss` on
public addresses only (`dialling`); they get the event, are never told who we are (NIP-42), and are hung up on. All
together they are dialled no more often than the pool allows (`relay_client.strangers`, 50 a minute). What anybody
may cause for nothing has a part of that, so that what was paid for finds some left. For each relay one outcome is
kept: its own word, or `not_dialled` where we would not.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol, assert_never

from relay_client.dial import PublishOutcome
from relay_client.errors import InvalidEvent, InvalidRelayUrl
from relay_client.event import Event
from relay_client.wire import parse_relay_url
from timmy_dvm.clock import Clock
from timmy_dvm.log import get_logger
from timmy_dvm.nostr.bucket import TokenBucket
from timmy_dvm.nostr.dialling import is_fit
from timmy_dvm.nostr.pauses import Pauses
from timmy_dvm.nostr.relay_lists import KIND_INBOX_LIST, KIND_RELAY_LIST, Askable, RelayLists
from timmy_dvm.nostr.targets import Configured, Targets, ToCustomer, ToInbox, read_targets

FIRST_DIALS_S: Final = 3.0
"""How long the first events to be published wait for all relays to be connected."""
STRAGGLERS_S: Final = 2.0
"""Once a configured relay has taken an event, the others have this long to say what they make of it: one that is
silent would otherwise keep all that is said in hand for as long as any answer may take."""
MAX_OTHERS: Final = 3
"""Relays that are not configured, dialled for one event."""
EVENTS_TO_OTHERS: Final = 64
"""Events on their way to relays that are not configured; one more goes to the configured ones alone."""
DIALS_A_MINUTE: Final = 20
"""For what customers are told, and as many for direct messages, where it is not paid for."""
MANY_ON_THEIR_WAY: Final = 16
"""Events that must arrive and that configured relays have not answered yet; with so many no spare one is sent."""
NOT_DIALLED: Final = "not_dialled"

log = get_logger("nostr")


class Outlet(Askable, Protocol):
    """Where events leave (`relay_client.pool.RelayPool`)."""

    @property
    def urls(self) -> tuple[str, ...]:
        """The configured relays."""

    async def publish(
        self,
        event: Event,
        urls: Collection[str] | None = None,
        *,
        enough: int | None = None,
        grace_s: float = 0.0,
        is_spare: bool = False,
    ) -> Mapping[str, PublishOutcome]:
        """Send an event; an outcome for each relay. Relays that are not configured are judged and dialled."""

    async def wait_connected(self, count: int = 1, timeout_s: float = 10.0) -> None:
        """Wait until that many relays are connected; TimeoutError if they are not, in time."""


class NostrPublisher:
    """Offers events to relays.

    Args:
        pool: the relays; somebody else runs it.
        clock: its monotonic time bounds how often others are dialled and asked for.
        dials: whether relays that are not configured are dialled at all.
    """

    def __init__(self, pool: Outlet, clock: Clock, *, dials: bool) -> None:
        self._pool = pool
        self._lists = RelayLists(pool, clock)
        self._pauses = Pauses(clock)
        self._dials = dials
        self._had_first_dials = False
        self._to_others = 0
        self._dials_left = {
            kind: TokenBucket(DIALS_A_MINUTE / 60, clock, room=DIALS_A_MINUTE // 2)
            for kind in (ToCustomer, ToInbox)
        }
        self._on_their_way = 0

    async def publish(self, event_json: str, targets: str) -> Mapping[str, str]:
        """See `dispatch.Publisher`. Nothing but what is for an inbox alone is kept from the configured relays."""
        event, wanted = _event(event_json), _targets(targets)
        if event is None or wanted is None or isinstance(wanted, ToInbox):
            return {}
        await self._first_dials()
        self._on_their_way += 1
        try:
            return self._told(await self._pool.publish(event, enough=1, grace_s=STRAGGLERS_S))
        finally:
            self._on_their_way -= 1

    async def can_reach(self, key: str) -> bool:
        """Whether a direct message to this key (hex) would have somewhere to go; True also where that is unknown.

        Takes 5 s at most. Cancelling is safe.
        """
        urls = await self._further(ToInbox(key=key))
        # Nothing found, and nothing remembered of that, is no answer: too many lists are being asked for.
        unknown = self._lists.known(key, KIND_INBOX_LIST) is None
        return unknown or any(url in self._pool.urls or is_fit(url) for url in urls)

    def publish_further(self, event_json: str, targets: str) -> "asyncio.Task[Mapping[str, str]] | None":
        """See `dispatch.Publisher`. None also where too many events are on their way to others."""
        wanted = _targets(targets)
        if wanted is None or not self._may_concern_others(wanted):
            return None
        event = _event(event_json)
        if event is None:
            return None
        if self._to_others >= EVENTS_TO_OTHERS:
            log.warning(
                "an event goes to the configured relays alone", action="others_left_out", event_id=event.id
            )
            return None
        self._to_others += 1
        task = asyncio.create_task(self._publish_further(event, wanted))
        task.add_done_callback(self._left)
        return task

    def _left(self, _: "asyncio.Task[Mapping[str, str]]") -> None:
        self._to_others -= 1

    def _may_concern_others(self, targets: Targets) -> bool:
        """Whether others come into question, as far as that is known without asking."""
        match targets:
            case Configured():
                return False
            case ToInbox():
                return True
            case ToCustomer():
                known = targets.named or self._lists.known(targets.key, KIND_RELAY_LIST)
                return self._dials and (known is None or bool(self._others((targets.came_from, *known))))
            case _:
                assert_never(targets)

    @property
    def has_room(self) -> bool:
        """Whether an event that can be left out would be in nobody's way now."""
        return self._on_their_way < MANY_ON_THEIR_WAY and bool(self._not_paused())

    async def publish_spare(self, event: Event) -> None:
        """Offer an event that can be left out, once, to the configured relays that want no less of us just now."""
        for url, outcome in (await self._pool.publish(event, self._not_paused(), is_spare=True)).items():
            self._pauses.hear(url, outcome, is_spare=True)

    def _not_paused(self) -> list[str]:
        return [url for url in self._pool.urls if self._pauses.is_over(url)]

    async def _publish_further(self, event: Event, targets: Targets) -> Mapping[str, str]:
        try:
            await self._first_dials()
            urls = await self._further(targets)
            fit = [url for url in urls if url in self._pool.urls or self._may_dial(url, targets)]
            outcomes = self._told(await self._pool.publish(event, fit)) if fit else {}
            return {**dict.fromkeys(urls, NOT_DIALLED), **outcomes}
        except Exception:  # what strangers' relays do to us must not keep an event in the outbox for ever
            log.exception("an event did not get further", action="further_broke", event_id=event.id)
            return {}

    async def _further(self, targets: Targets) -> Sequence[str]:
        match targets:
            case Configured():
                return ()
            case ToCustomer():
                named = targets.named or await self._lists.find(targets.key, KIND_RELAY_LIST)
                return self._others((targets.came_from, *named))
            case ToInbox():
                listed = await self._lists.find(targets.key, KIND_INBOX_LIST)
                ours = [url for url in listed if url in self._pool.urls]
                return (*ours, *self._others(listed)) if self._dials else ours
            case _:
                assert_never(targets)

    def _others(self, urls: Iterable[str]) -> list[str]:
        """The first few that are not configured, each once."""
        found: dict[str, None] = {}
        for text in urls:
            with contextlib.suppress(InvalidRelayUrl):
                url = parse_relay_url(text)
                if url not in self._pool.urls and len(found) < MAX_OTHERS:
                    found[url] = None
        return list(found)

    def _may_dial(self, url: str, targets: Targets) -> bool:
        if not is_fit(url) or isinstance(targets, Configured):
            return False
        return targets.is_owed or self._dials_left[type(targets)].take()

    def _told(self, outcomes: Mapping[str, PublishOutcome]) -> Mapping[str, str]:
        for url, outcome in outcomes.items():
            if url in self._pool.urls:
                self._pauses.hear(url, outcome)
        return {url: outcome.word for url, outcome in outcomes.items()}

    async def _first_dials(self) -> None:
        """At the start, let every relay be reached: one acceptance is enough, so the others would never get it."""
        if not self._had_first_dials:
            with contextlib.suppress(TimeoutError):
                await self._pool.wait_connected(len(self._pool.urls), FIRST_DIALS_S)
            self._had_first_dials = True


# Both are written by ourselves, so neither can be broken; and a broken event is better kept than sent.


def _event(text: str) -> Event | None:
    try:
        return Event.from_wire(text)
    except InvalidEvent as error:
        log.warning("an event of ours can't be published", action="event_broken", error=str(error))
        return None


def _targets(text: str) -> Targets | None:
    try:
        return read_targets(text)
    except ValueError as error:
        log.warning("an event of ours can't be published", action="event_broken", error=str(error))
        return None
