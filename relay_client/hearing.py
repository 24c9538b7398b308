"""What all relays deliver, as one stream: each event once for a subscription, proved.

A relay's events come in by `heard`, which waits for room in the stream, and go out by `events`. An event counts
as met only after it was proved, so a forged copy cannot hide the true one. Proving is what costs most, so the
subscriber may be asked first whether the event is worth it.
"""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

from relay_client.connection import RelayConnection, RelayState
from relay_client.dial import Outside
from relay_client.errors import InvalidEvent
from relay_client.event import Event, UnverifiedEvent
from relay_client.filter import Filter
from relay_client.happenings import CaughtUp, EventHeard, Happening, Misbehaviour
from relay_client.stream import RecentIds, Stream
from relay_client.subscriptions import MAX_SUBSCRIPTIONS, check_subscription

STREAM_SIZE: Final = 256
"""Events proved and not read yet: at most 32 MiB of them."""
DEDUPE_SIZE: Final = 50_000
"""Ids remembered for each subscription, about 10 MB when full."""

Since = Callable[[str], int | None]
"""For a relay's URL, the Unix second from which on events are wanted; None for all the filters let through."""
OnCaughtUp = Callable[[str], None]
"""Told a relay's URL when the reader of `events` has taken all that the relay had stored."""
Screen = Callable[[str, UnverifiedEvent], bool]
"""Whether an event of that relay is worth proving. Nothing it says is proved yet, not even whose it is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Received:
    """An event, proved, with the relay that delivered it first and the subscription it belongs to."""

    url: str
    subscription: str
    event: Event


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """What a relay told for a filter before it had told all: so many events, the oldest of that Unix second.

    As it told them: the events may be known from elsewhere, or forged. Where one ``is_shared``, it matches another
    filter too, and may have been told for that one alone: then neither number says how far this one was told.
    """

    count: int = 0
    oldest: int = 0
    is_shared: bool = False

    def and_one_more(self, created_at: int, *, is_shared: bool) -> "Stored":
        """With an event of that second."""
        oldest = min(self.oldest, created_at) if self.count else created_at
        return Stored(self.count + 1, oldest, self.is_shared or is_shared)


@dataclasses.dataclass(slots=True)
class _Subscription:
    filters: tuple[Filter, ...]
    since: Since | None
    on_caught_up: OnCaughtUp | None
    screen: Screen | None
    met: RecentIds
    caught_up: set[str] = dataclasses.field(default_factory=set)
    telling: dict[str, list[Stored]] = dataclasses.field(default_factory=dict)
    stored: dict[str, tuple[Stored, ...]] = dataclasses.field(default_factory=dict)

    def note(self, url: str, event: UnverifiedEvent) -> None:
        """The relay told an event."""
        if url not in self.stored:
            telling = self.telling.setdefault(url, [Stored()] * len(self.filters))
            places = [place for place, filter_ in enumerate(self.filters) if filter_.matches(event)]
            for place in places:
                telling[place] = telling[place].and_one_more(event.created_at, is_shared=len(places) > 1)

    def has_told_all(self, url: str) -> None:
        """What the relay tells from now on is new. Said again, as after an AUTH, it changes nothing."""
        if url not in self.stored:
            self.stored[url] = tuple(self.telling.pop(url, [Stored()] * len(self.filters)))

    def forget(self, url: str) -> None:
        """The relay will tell all anew."""
        self.caught_up.discard(url)
        self.telling.pop(url, None)
        self.stored.pop(url, None)


class Hearing:
    """The subscriptions, and what came of them (`connection.Listener`).

    Args:
        outside: clock.
        stream_size: events proved and not read yet.
        dedupe_size: ids remembered for each subscription.

    Attributes:
        last_event_at: for a relay's URL, when it last delivered what was asked for and true, in Unix seconds.
    """

    def __init__(self, outside: Outside, stream_size: int = STREAM_SIZE, dedupe_size: int = DEDUPE_SIZE) -> None:
        self.last_event_at: dict[str, float] = {}
        self._outside = outside
        self._dedupe_size = dedupe_size
        self._subscriptions: dict[str, _Subscription] = {}
        self._stream: Stream[Received | tuple[str, str]] = Stream(stream_size)
        self._changed = asyncio.Event()

    def subscribe(
        self,
        sub_id: str,
        filters: Sequence[Filter],
        *,
        since: Since | None = None,
        on_caught_up: OnCaughtUp | None = None,
        screen: Screen | None = None,
    ) -> None:
        """Take in what comes for this id from now on; see `RelayPool.subscribe`."""
        met = RecentIds(self._dedupe_size)
        subscription = _Subscription(tuple(filters), since, on_caught_up, screen, met)
        former = self._subscriptions.get(sub_id)
        if former is not None:
            subscription.met = former.met
        elif len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise ValueError(f"no more than {MAX_SUBSCRIPTIONS} subscriptions fit one relay connection")
        check_subscription(sub_id, filters)
        self._subscriptions[sub_id] = subscription

    def unsubscribe(self, sub_id: str) -> bool:
        """Leave out what comes for this id from now on; returns whether it was known."""
        return self._subscriptions.pop(sub_id, None) is not None

    async def events(self) -> AsyncGenerator[Received]:
        """Yield events as they come, until `end`. One reader at a time; cancelling loses nothing."""
        while (item := await self._stream.get()) is not None:
            if isinstance(item, Received):
                yield item
            else:
                self._reader_caught_up(*item)

    def end(self) -> None:
        """Nothing more comes."""
        self._stream.end()

    def caught_up(self, sub_id: str) -> set[str]:
        """The relays of which all that they had stored has been read; it goes on changing. Raises KeyError."""
        return self._subscriptions[sub_id].caught_up

    def stored(self, sub_id: str, url: str) -> tuple[Stored, ...] | None:
        """What a relay had stored for each filter, once it has told all; None before. Raises KeyError."""
        return self._subscriptions[sub_id].stored.get(url)

    async def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Wait for a change after which the condition holds.

        Raises:
            TimeoutError: it did not come in time.
        """
        async with asyncio.timeout(timeout_s):
            while not condition():
                await self._changed.wait()

    async def heard(self, connection: RelayConnection, happening: Happening) -> None:
        """Prove an event that is new and put it into the stream, waiting for room."""
        match happening:
            case EventHeard(sub_id, unverified):
                subscription = self._subscriptions.get(sub_id)
                if subscription is None:
                    return
                subscription.note(connection.url, unverified)
                if not subscription.met.has_met(unverified.id):
                    if subscription.screen is not None and not subscription.screen(connection.url, unverified):
                        return
                    try:
                        event = unverified.verify()
                    except InvalidEvent:
                        connection.blame(Misbehaviour.FORGED_EVENT)
                        return
                    subscription.met.remember(event.id)
                    await self._stream.put(Received(connection.url, sub_id, event))
                self.last_event_at[connection.url] = self._outside.unix_time()
            case CaughtUp(sub_id):
                if (subscription := self._subscriptions.get(sub_id)) is not None:
                    subscription.has_told_all(connection.url)
                await self._stream.put((connection.url, sub_id))
            case _:
                pass

    def changed(self, connection: RelayConnection) -> None:
        """A connection came or went."""
        if connection.state is not RelayState.CONNECTED:
            for subscription in self._subscriptions.values():
                subscription.forget(connection.url)
        self._wake()

    def since(self, connection: RelayConnection, sub_id: str) -> int | None:
        """What the subscriber says for this relay, which is about to be asked, perhaps on the same connection."""
        subscription = self._subscriptions.get(sub_id)
        if subscription is None:
            return None
        subscription.forget(connection.url)
        return subscription.since(connection.url) if subscription.since else None

    def _reader_caught_up(self, url: str, sub_id: str) -> None:
        subscription = self._subscriptions.get(sub_id)
        if subscription is not None:
            subscription.caught_up.add(url)
            if subscription.on_caught_up is not None:
                subscription.on_caught_up(url)
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
