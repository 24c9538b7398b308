"""Many relays, one stream: each event once, proved; one publish to all of them; one question to all of them.

    async with RelayPool(["wss://one.example", "wss://two.example"]) as pool:
        pool.subscribe("jobs", [Filter(kinds=frozenset({5050}))], since=cursor_of)
        async for received in pool.events():
            ...

An event that three relays deliver is proved once and yielded once per subscription (`hearing`). How long ids
are remembered is bounded (`DEDUPE_SIZE` for each subscription): who must never act twice keeps the ids for
good, in a database.

Nothing is dropped. When the reader of `events` is slow, the stream of `STREAM_SIZE` fills, then the relays'
sockets are not read, then the relays wait. OKs come over the same sockets, so **never await `publish` in the
task that reads `events`**: with a full stream it would wait for an answer that cannot be read. `query` has
connections of its own and may be awaited anywhere.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from relay_client.asker import Asker
from relay_client.connection import RelayConnection, RelayState
from relay_client.dial import DialOptions, Outside, PublishOutcome, PublishState
from relay_client.errors import DialRefused, InvalidRelayUrl, NotConnected
from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.hearing import DEDUPE_SIZE, STREAM_SIZE, Hearing, OnCaughtUp, Received, Screen, Since, Stored
from relay_client.information import Fetch, Information
from relay_client.keys import Keys
from relay_client.query import QUERY_TIMEOUT_S, Findings, Share
from relay_client.session import Session
from relay_client.status import RelayStatus, status_of
from relay_client.strangers import Dialler, Strangers, refuse_to_dial
from relay_client.wire import parse_relay_url

__all__ = ["OnCaughtUp", "Received", "RelayPool", "RelayStatus", "Screen", "Since", "Stored"]

PUBLISH_TIMEOUT_S: Final = 10.0
MAX_STRANGERS_ASKED: Final = 3
"""Relays that are not configured, asked for one query: who writes long lists shall not make us dial them all."""


class RelayPool:
    """The configured relays, kept connected, as one stream of events.

    Run it with `async with`, or call `run` in a TaskGroup of your own; both end within a second.

    Args:
        urls: the configured relays; doubles (in whatever spelling) count once.
        keys: who we are, for relays that ask (NIP-42); None to stay nobody.
        outside: clock, sleep and randomness.
        options: how sockets are opened.
        dialler: judges relays named to `publish` or `query` that are not configured; without it none is dialled.
        fetch: reads the relays' information documents (NIP-11); without it their limits are not known.
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
        fetch: Fetch | None = None,
        stream_size: int = STREAM_SIZE,
        dedupe_size: int = DEDUPE_SIZE,
    ) -> None:
        self._outside = outside or Outside()
        self._options = options or DialOptions()
        self._strangers = Strangers(dialler, self._outside, self._options)
        self._hearing = Hearing(self._outside, stream_size, dedupe_size)
        self._connections: dict[str, RelayConnection] = {}
        self._askers: dict[str, Asker] = {}
        for url in dict.fromkeys(parse_relay_url(text) for text in urls):
            information = Information(url, fetch, self._outside, self._options)
            connection = RelayConnection(
                Session(url, keys), self._hearing, self._outside, self._options, information
            )
            self._connections[url] = connection
            self._askers[url] = Asker(
                Session(url, keys), connection.score, information, self._outside, self._options
            )
        self._runner: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[PublishOutcome]] = set()
        self._queries: set[Findings] = set()

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
                for asker in self._askers.values():
                    group.create_task(asker.run())
                await asyncio.Event().wait()  # a pool without relays runs too
        finally:
            self._hearing.end()
            for query in self._queries:
                query.end()
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
        screen: Screen | None = None,
    ) -> None:
        """Ask every relay for events, now and after each reconnect; the same id again replaces the filters.

        Args:
            sub_id: 1 to 64 characters.
            filters: an event is meant if any of them matches.
            since: asked at each (re)connect, per relay; narrows the filters, never widens them.
            on_caught_up: called from the task that reads `events`, in order: what comes after it is new.
            screen: asked of each event that was not met yet, before it is proved; what it turns down is left out,
                and asked about again when it comes again. It must be quick and must not raise.

        Raises:
            ValueError: no filters, a bad id, or more than `subscriptions.MAX_SUBSCRIPTIONS`.
        """
        self._hearing.subscribe(sub_id, filters, since=since, on_caught_up=on_caught_up, screen=screen)
        for connection in self._connections.values():
            connection.subscribe(sub_id, filters)

    def unsubscribe(self, sub_id: str) -> None:
        """Want no more of it; what is in the stream already is still yielded."""
        if self._hearing.unsubscribe(sub_id):
            for connection in self._connections.values():
                connection.unsubscribe(sub_id)

    def events(self) -> AsyncGenerator[Received]:
        """Yield events as they come, until the pool stops. One reader at a time.

        Cancelling is safe: no event is lost, the next reader goes on where this one stopped.
        """
        return self._hearing.events()

    def stored(self, sub_id: str, url: str) -> tuple[Stored, ...] | None:
        """How much a relay told for each filter of a subscription before it said that this was all, which may be
        its newest alone (NIP-11 `max_limit`); None before that, and after the connection is lost.

        Raises:
            KeyError: there is no such subscription.
        """
        return self._hearing.stored(sub_id, url)

    async def publish(
        self,
        event: Event,
        urls: Iterable[str] | None = None,
        *,
        timeout_s: float = PUBLISH_TIMEOUT_S,
        enough: int | None = None,
        grace_s: float = 0.0,
        is_spare: bool = False,
    ) -> dict[str, PublishOutcome]:
        """Send an event to many relays at once and report how each took it.

        Cancelling is safe; the event may have reached any of them. Sending the same event again is safe too.

        Args:
            event: what to send.
            urls: where to; None for all configured relays. Others are dialled if the `dialler` allows, get
                this one event and are hung up on.
            timeout_s: for all of it.
            enough: return when that many have accepted, the others then being `NO_ANSWER`; they still get the
                event.
            grace_s: for which the others are waited for all the same.
            is_spare: the event can be left out. A configured relay that finds us too fast is not offered it again,
                and is not left in peace for it either: what must arrive does not wait for what need not.

        Returns:
            An outcome for each URL, spelt as it was given. It never raises for what a relay or an URL is.
        """
        targets = list(dict.fromkeys(self._connections if urls is None else urls))
        sends = {url: asyncio.create_task(self._send(url, event, timeout_s, is_spare=is_spare)) for url in targets}
        self._sending.update(sends.values())
        for task in sends.values():
            task.add_done_callback(self._sending.discard)
        pending = set(sends.values())
        while pending:
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            accepted = sum(_outcome(task).is_accepted for task in sends.values())
            if enough is not None and accepted >= enough:
                break
        if pending and grace_s > 0:
            await asyncio.wait(pending, timeout=grace_s)
        return {url: _outcome(task) for url, task in sends.items()}

    async def query(
        self,
        filters: Sequence[Filter],
        *,
        urls: Iterable[str] | None = None,
        timeout_s: float = QUERY_TIMEOUT_S,
        enough: int | None = None,
    ) -> list[Event]:
        """Ask relays once for what they have stored, until all have answered or the time is up.

        Nothing of it comes out of `events`, and it may be awaited in the task that reads them. Cancelling is
        safe. An empty list may also mean that no relay answered; those not connected just now are not asked.

        Args:
            filters: an event is meant if any of them matches.
            urls: whom to ask; None for all configured relays. Of others, the first `MAX_STRANGERS_ASKED` are
                dialled if the `dialler` allows, and never told who we are.
            timeout_s: for all of it.
            enough: return as soon as that many events were found: for ids, not for the newest of versions.

        Returns:
            The events, each once, proved, matching a filter, newest first; of each relay at most
            `query.MAX_FOUND`, and `query.MAX_FOUND_BYTES`.

        Raises:
            ValueError: there is no filter.
        """
        findings = Findings(filters, enough)
        self._queries.add(findings)
        try:
            asks = [self._ask(url, Share(findings)) for url in self._whom_to_ask(urls)]
            await findings.gather(asks, timeout_s)
        finally:
            self._queries.discard(findings)
        return findings.newest_first()

    async def wait_connected(self, count: int = 1, timeout_s: float = 10.0) -> None:
        """Wait until that many relays are connected.

        Raises:
            TimeoutError: they were not, in time.
        """
        await self._hearing.wait_until(lambda: self._connected_count() >= count, timeout_s)

    async def wait_caught_up(self, sub_id: str, count: int = 1, timeout_s: float = 10.0) -> frozenset[str]:
        """Wait until all that `count` relays had stored has been read from `events`; returns which relays.

        Somebody else must be reading `events` meanwhile.

        Raises:
            KeyError: there is no such subscription.
            TimeoutError: they were not, in time.
        """
        caught_up = self._hearing.caught_up(sub_id)
        await self._hearing.wait_until(lambda: len(caught_up) >= count, timeout_s)
        return frozenset(caught_up)

    def status(self) -> list[RelayStatus]:
        """How each configured relay is doing, in their order."""
        heard_at = self._hearing.last_event_at
        return [status_of(connection, heard_at.get(url)) for url, connection in self._connections.items()]

    async def _send(self, given: str, event: Event, timeout_s: float, *, is_spare: bool) -> PublishOutcome:
        try:
            url = parse_relay_url(given)
        except InvalidRelayUrl as error:
            return PublishOutcome(PublishState.NOT_CONNECTED, text=str(error))
        connection = self._connections.get(url)
        if connection is not None:
            return await connection.publish(event, timeout_s, is_spare=is_spare)
        return await self._strangers.publish(url, event, timeout_s)

    def _whom_to_ask(self, urls: Iterable[str] | None) -> list[str]:
        """The configured relays among these, and a few of the others."""
        if urls is None:
            return list(self._connections)
        asked: dict[str, None] = {}
        for given in urls:
            with contextlib.suppress(InvalidRelayUrl):
                asked[parse_relay_url(given)] = None
        others = [url for url in asked if url not in self._connections]
        return [url for url in asked if url in self._connections] + others[:MAX_STRANGERS_ASKED]

    async def _ask(self, url: str, share: Share) -> None:
        connection = self._connections.get(url)
        if connection is None:
            with contextlib.suppress(DialRefused, NotConnected, OSError):
                await self._strangers.ask(url, share)
        elif connection.is_fit:
            await self._askers[url].ask(share)

    def _connected_count(self) -> int:
        return sum(connection.state is RelayState.CONNECTED for connection in self._connections.values())


def _outcome(task: asyncio.Task[PublishOutcome]) -> PublishOutcome:
    """How one send stands; those that go on, and those that ended with the pool, are unknown."""
    if not task.done():
        return PublishOutcome(PublishState.NO_ANSWER, text="not waited for; others had accepted")
    if task.cancelled():
        return PublishOutcome(PublishState.NO_ANSWER, text="the pool was stopped")
    return task.result()
