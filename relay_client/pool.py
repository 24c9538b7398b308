"""Many relays, one stream: each event once, proved; and one publish to all of them.

    async with RelayPool(["wss://one.example", "wss://two.example"]) as pool:
        pool.subscribe("jobs", [Filter(kinds=frozenset({5050}))], since=cursor_of)
        async for received in pool.events():
            ...

An event that three relays deliver is proved once and yielded once per subscription. It counts as met only
after it was proved, so a forged copy cannot hide the true one. How long ids are remembered is bounded
(`DEDUPE_SIZE` for each subscription): who must never act twice keeps the ids for good, in a database.

Nothing is dropped. When the reader of `events` is slow, the stream of `STREAM_SIZE` fills, then the relays'
sockets are not read, then the relays wait. OKs come over the same sockets, so **never await `publish` in the
task that reads `events`**: with a full stream it would wait for an answer that cannot be read.
"""

import asyncio
import collections
import dataclasses
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from relay_client.connection import RelayConnection, RelayState
from relay_client.dial import DialOptions, Outside, PublishOutcome, PublishState, publish_once
from relay_client.errors import DialRefused, InvalidEvent, InvalidRelayUrl
from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.happenings import CaughtUp, EventHeard, Happening, Misbehaviour
from relay_client.keys import Keys
from relay_client.session import MAX_SUBSCRIPTIONS, Session, check_subscription
from relay_client.stream import RecentIds, Stream
from relay_client.wire import parse_relay_url

STREAM_SIZE: Final = 256
"""Events proved and not read yet: at most 32 MiB of them."""
DEDUPE_SIZE: Final = 50_000
"""Ids remembered for each subscription, about 10 MB when full."""
PUBLISH_TIMEOUT_S: Final = 10.0
MAX_DIALS_AT_ONCE: Final = 8
MAX_DIALS_PER_MINUTE: Final = 50
"""Relays named by strangers are dialled no more often than this, all together."""

Since = Callable[[str], int | None]
"""For a relay's URL, the Unix second from which on events are wanted; None for all the filters let through."""
OnCaughtUp = Callable[[str], None]
"""Told a relay's URL when the reader of `events` has taken all that the relay had stored."""
Dialler = Callable[[str], Awaitable[tuple[str, int]]]
"""Judges a relay that a stranger named: the IP address and port to connect to, or raises `DialRefused`."""


async def refuse_to_dial(url: str) -> tuple[str, int]:
    """The `Dialler` of a pool that was given none."""
    raise DialRefused(f"{url} is not one of the configured relays, and no other is dialled.")


@dataclasses.dataclass(frozen=True, slots=True)
class Received:
    """An event, proved, with the relay that delivered it first and the subscription it belongs to."""

    url: str
    subscription: str
    event: Event


@dataclasses.dataclass(frozen=True, slots=True)
class RelayStatus:
    """How one relay is doing.

    Attributes:
        url: its address.
        state: where the connection stands.
        connected_since: Unix seconds; None while not connected.
        last_event_at: when it last delivered an event that was asked for and true, in Unix seconds.
        reconnects: how often the connection was made again.
        misbehaviour: points against it (`happenings.POINTS`), fading by the second.
        last_error: why the last connection ended or could not be made, one line.
    """

    url: str
    state: RelayState
    connected_since: float | None
    last_event_at: float | None
    reconnects: int
    misbehaviour: float
    last_error: str | None


@dataclasses.dataclass(slots=True)
class _Subscription:
    filters: tuple[Filter, ...]
    since: Since | None
    on_caught_up: OnCaughtUp | None
    met: RecentIds
    caught_up: set[str] = dataclasses.field(default_factory=set)


class RelayPool:
    """The configured relays, kept connected, as one stream of events.

    Run it with `async with`, or call `run` in a TaskGroup of your own; both end within a second.

    Args:
        urls: the configured relays; doubles (in whatever spelling) count once.
        keys: who we are, for relays that ask (NIP-42); None to stay nobody.
        outside: clock, sleep and randomness.
        options: how sockets are opened.
        dialler: judges relays that `publish` is given and that are not configured; without it none is dialled.
        stream_size: events proved and not read yet.
        dedupe_size: ids remembered for each subscription.

    Raises:
        InvalidRelayUrl: one of `urls` cannot be dialled.
    """

    def __init__(
        self,
        urls: Iterable[str],
        *,
        keys: Keys | None = None,
        outside: Outside | None = None,
        options: DialOptions | None = None,
        dialler: Dialler = refuse_to_dial,
        stream_size: int = STREAM_SIZE,
        dedupe_size: int = DEDUPE_SIZE,
    ) -> None:
        self._outside = outside or Outside()
        self._options = options or DialOptions()
        self._dialler = dialler
        self._dedupe_size = dedupe_size
        self._connections = {
            url: RelayConnection(Session(url, keys), self, self._outside, self._options)
            for url in dict.fromkeys(parse_relay_url(text) for text in urls)
        }
        self._subscriptions: dict[str, _Subscription] = {}
        self._stream: Stream[Received | tuple[str, str]] = Stream(stream_size)
        self._last_event_at: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[PublishOutcome]] = set()
        self._dials: collections.deque[float] = collections.deque()
        self._dial_slots = asyncio.Semaphore(MAX_DIALS_AT_ONCE)
        self._host_locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    @property
    def urls(self) -> tuple[str, ...]:
        """The configured relays, in their one spelling."""
        return tuple(self._connections)

    async def run(self) -> None:
        """Keep all relays connected until cancelled; then `events` ends when what it holds is read."""
        try:
            async with asyncio.TaskGroup() as group:
                for connection in self._connections.values():
                    group.create_task(connection.run())
                await asyncio.Event().wait()  # a pool without relays runs too
        finally:
            self._stream.end()
            for task in self._sending:
                task.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def __aenter__(self) -> Self:
        self._runner = asyncio.create_task(self.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait([self._runner])
            if not self._runner.cancelled() and (failure := self._runner.exception()) is not None:
                raise failure

    def subscribe(
        self,
        sub_id: str,
        filters: Sequence[Filter],
        *,
        since: Since | None = None,
        on_caught_up: OnCaughtUp | None = None,
    ) -> None:
        """Ask every relay for events, now and after each reconnect; the same id again replaces the filters.

        Args:
            sub_id: 1 to 64 characters.
            filters: an event is meant if any of them matches.
            since: asked at each (re)connect, per relay; narrows the filters, never widens them.
            on_caught_up: called from the task that reads `events`, in order: what comes after it is new.

        Raises:
            ValueError: no filters, a bad id, or more than `session.MAX_SUBSCRIPTIONS`.
        """
        subscription = _Subscription(tuple(filters), since, on_caught_up, RecentIds(self._dedupe_size))
        former = self._subscriptions.get(sub_id)
        if former is not None:
            subscription.met = former.met
        elif len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise ValueError(f"no more than {MAX_SUBSCRIPTIONS} subscriptions fit one relay connection")
        check_subscription(sub_id, filters)
        self._subscriptions[sub_id] = subscription
        for connection in self._connections.values():
            connection.subscribe(sub_id, filters)

    def unsubscribe(self, sub_id: str) -> None:
        """Want no more of it; what is in the stream already is still yielded."""
        if self._subscriptions.pop(sub_id, None) is not None:
            for connection in self._connections.values():
                connection.unsubscribe(sub_id)

    async def events(self) -> AsyncGenerator[Received]:
        """Yield events as they come, until the pool stops. One reader at a time.

        Cancelling is safe: no event is lost, the next reader goes on where this one stopped.
        """
        while (item := await self._stream.get()) is not None:
            if isinstance(item, Received):
                yield item
            else:
                self._reader_caught_up(*item)

    async def publish(
        self,
        event: Event,
        urls: Iterable[str] | None = None,
        *,
        timeout_s: float = PUBLISH_TIMEOUT_S,
        enough: int | None = None,
    ) -> dict[str, PublishOutcome]:
        """Send an event to many relays at once and report how each took it.

        Cancelling is safe; the event may have reached any of them. Sending the same event again is safe too.

        Args:
            event: what to send.
            urls: where to; None for all configured relays. Others are dialled if the `dialler` allows, get
                this one event and are hung up on.
            timeout_s: for all of it.
            enough: return as soon as that many have accepted, the others then being `NO_ANSWER`; they still
                get the event.

        Returns:
            An outcome for each URL, spelt as it was given. It never raises for what a relay or an URL is.
        """
        targets = list(dict.fromkeys(self._connections if urls is None else urls))
        sends = {url: asyncio.create_task(self._send(url, event, timeout_s)) for url in targets}
        self._sending.update(sends.values())
        for task in sends.values():
            task.add_done_callback(self._sending.discard)
        pending = set(sends.values())
        while pending:
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            accepted = sum(_outcome(task).is_accepted for task in sends.values())
            if enough is not None and accepted >= enough:
                break
        return {url: _outcome(task) for url, task in sends.items()}

    async def wait_connected(self, count: int = 1, timeout_s: float = 10.0) -> None:
        """Wait until that many relays are connected.

        Raises:
            TimeoutError: they were not, in time.
        """
        await self._wait_until(lambda: self._connected_count() >= count, timeout_s)

    async def wait_caught_up(self, sub_id: str, count: int = 1, timeout_s: float = 10.0) -> frozenset[str]:
        """Wait until all that `count` relays had stored has been read from `events`; returns which relays.

        Somebody else must be reading `events` meanwhile.

        Raises:
            KeyError: there is no such subscription.
            TimeoutError: they were not, in time.
        """
        caught_up = self._subscriptions[sub_id].caught_up
        await self._wait_until(lambda: len(caught_up) >= count, timeout_s)
        return frozenset(caught_up)

    def status(self) -> list[RelayStatus]:
        """How each configured relay is doing, in their order."""
        return [
            RelayStatus(
                url,
                connection.state,
                connection.connected_since,
                self._last_event_at.get(url),
                connection.reconnects,
                round(connection.points, 1),
                connection.last_error,
            )
            for url, connection in self._connections.items()
        ]

    # What the connections call (connection.Listener).

    async def heard(self, connection: RelayConnection, happening: Happening) -> None:
        """Prove an event that is new and put it into the stream, waiting for room."""
        match happening:
            case EventHeard(sub_id, unverified):
                subscription = self._subscriptions.get(sub_id)
                if subscription is None:
                    return
                if not subscription.met.has_met(unverified.id):
                    try:
                        event = unverified.verify()
                    except InvalidEvent:
                        connection.blame(Misbehaviour.FORGED_EVENT)
                        return
                    subscription.met.remember(event.id)
                    await self._stream.put(Received(connection.url, sub_id, event))
                self._last_event_at[connection.url] = self._outside.unix_time()
            case CaughtUp(sub_id):
                await self._stream.put((connection.url, sub_id))
            case _:
                pass

    def changed(self, connection: RelayConnection) -> None:
        """A connection came or went."""
        if connection.state is not RelayState.CONNECTED:
            for subscription in self._subscriptions.values():
                subscription.caught_up.discard(connection.url)
        self._wake()

    def since(self, connection: RelayConnection, sub_id: str) -> int | None:
        """What the subscriber says for this relay."""
        subscription = self._subscriptions.get(sub_id)
        return subscription.since(connection.url) if subscription and subscription.since else None

    def _reader_caught_up(self, url: str, sub_id: str) -> None:
        subscription = self._subscriptions.get(sub_id)
        if subscription is not None:
            subscription.caught_up.add(url)
            if subscription.on_caught_up is not None:
                subscription.on_caught_up(url)
            self._wake()

    async def _send(self, given: str, event: Event, timeout_s: float) -> PublishOutcome:
        try:
            url = parse_relay_url(given)
        except InvalidRelayUrl as error:
            return PublishOutcome(PublishState.NOT_CONNECTED, text=str(error))
        connection = self._connections.get(url)
        if connection is not None:
            return await connection.publish(event, timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._send_to_stranger(url, event, timeout_s)
        except DialRefused as error:
            return PublishOutcome(PublishState.NOT_CONNECTED, text=str(error))
        except TimeoutError:
            return PublishOutcome(PublishState.NO_ANSWER, text=f"no answer within {timeout_s:g} s")
        except OSError:  # the dialler's look-up failed
            return PublishOutcome(PublishState.NOT_CONNECTED, text=f"{url} cannot be found")

    async def _send_to_stranger(self, url: str, event: Event, timeout_s: float) -> PublishOutcome:
        """One connection to one host at a time, and few dials altogether, so nobody can aim us at anyone."""
        host = urlsplit(url).hostname or url
        lock = self._host_locks.setdefault(host, asyncio.Lock())
        async with lock, self._dial_slots:
            now = self._outside.monotonic()
            while self._dials and now - self._dials[0] >= 60:  # noqa: PLR2004 - seconds of a minute
                self._dials.popleft()
            if len(self._dials) >= MAX_DIALS_PER_MINUTE:
                raise DialRefused(f"{url} is not dialled: too many other relays were in the last minute.")
            self._dials.append(now)
            address = await self._dialler(url)
            return await publish_once(
                url,
                event,
                address=address,
                timeout_s=timeout_s,
                options=self._options,
                outside=self._outside,
            )

    def _connected_count(self) -> int:
        return sum(connection.state is RelayState.CONNECTED for connection in self._connections.values())

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait_until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await self._changed.wait()


def _outcome(task: asyncio.Task[PublishOutcome]) -> PublishOutcome:
    """How one send stands; those that go on, and those that ended with the pool, are unknown."""
    if not task.done():
        return PublishOutcome(PublishState.NO_ANSWER, text="not waited for; others had accepted")
    if task.cancelled():
        return PublishOutcome(PublishState.NO_ANSWER, text="the pool was stopped")
    return task.result()
