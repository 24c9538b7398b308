"""The ear of the relay door: what relays tell is judged here, and what is for us goes to the `desk`.

What is subscribed to, in one subscription of these filters:

    requests that name us             never drowned by those for others, where a relay caps what it has stored
    all requests of the served kinds  only where the operator takes open jobs
    deletions that name a served kind (`k`, NIP-09) or us
    all deletions                     NIP-90 asks a cancellation for its `e` alone; they are few, and one that
                                      meets no job of its author costs a read and nothing else

What can't be for us is left out before it is proved, for that is what costs most; so is, in a flood, what would
find no room. The reader judges each event without waiting (`nip90.read`) and starts a task for what is for us,
many at once, so that the ledger commits them in groups. Events of keys that never paid wait in the `lobby` for
their turn to be judged. When the ledger is away, tasks wait and try again, then the reader waits, then the relays
wait: nothing else is dropped, and the cursors stand still (`cursors`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final, Protocol

from ledger.store import StoreUnavailable
from relay_client.connection import RelayState
from relay_client.event import Event, UnverifiedEvent
from relay_client.filter import Filter
from relay_client.keys import Keys
from relay_client.pool import OnCaughtUp, Received, RelayStatus, Screen, Since, Stored
from relay_client.query import QUERY_TIMEOUT_S
from relay_client.stream import RecentIds
from timmy_dvm.clock import Clock
from timmy_dvm.log import get_logger
from timmy_dvm.nostr import nip90
from timmy_dvm.nostr.asked_for import wanted
from timmy_dvm.nostr.bucket import Tally
from timmy_dvm.nostr.catching_up import CatchingUp
from timmy_dvm.nostr.cursors import LONGEST_LATE_S, Cursors, Memory
from timmy_dvm.nostr.desk import Desk
from timmy_dvm.nostr.lobby import Guest, Lobby, Payers
from timmy_dvm.nostr.nip90 import Terms

SUBSCRIPTION: Final = "timmy"
AT_ONCE: Final = 64
"""Events being dealt with, of keys that have paid before and as many of others; more of them wait."""
EVENTS_PER_TURN: Final = 8
"""Read without a pause where they are here already; then paid jobs have their turn."""
HANDLED_IDS: Final = 20_000
TICK_S: Final = 30
_FULL_PAUSE_S: Final = 0.1
_LAST_MOMENTS_S: Final = 1.0

log = get_logger("nostr")


class Pool(Protocol):
    """The relays (`relay_client.pool.RelayPool`)."""

    @property
    def urls(self) -> tuple[str, ...]:
        """The configured relays."""

    def subscribe(
        self,
        sub_id: str,
        filters: Sequence[Filter],
        *,
        since: Since | None = None,
        on_caught_up: OnCaughtUp | None = None,
        screen: Screen | None = None,
    ) -> None:
        """Ask every relay for events, now and after each reconnect."""

    def stored(self, sub_id: str, url: str) -> tuple[Stored, ...] | None:
        """How much a relay told for each filter before it had told all, as far as it tells at once."""

    async def query(
        self, filters: Sequence[Filter], *, urls: Iterable[str] | None = None, timeout_s: float = QUERY_TIMEOUT_S
    ) -> list[Event]:
        """What relays have stored, newest first."""

    def events(self) -> AsyncIterator[Received]:
        """Events as they come, each once."""

    def status(self) -> Sequence[RelayStatus]:
        """How each relay is doing."""


class NostrPort:
    """Listens on the relays.

    Args:
        pool: the relays; somebody else runs it.
        desk: takes what was read.
        memory: for cursors.
        keys: Timmy's.
        clock: time.
        terms: what the operator serves.
        payers: who has paid before; somebody else keeps it true.
        lobby: where all others wait.
        aside: takes what the pool's other subscriptions bring, without waiting.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        desk: Desk,
        memory: Memory,
        keys: Keys,
        clock: Clock,
        terms: Terms,
        payers: Payers,
        lobby: Lobby,
        aside: Callable[[Received], None] = lambda _: None,
    ) -> None:
        self._pool = pool
        self._desk = desk
        self._keys = keys
        self._clock = clock
        self._terms = terms
        self._aside = aside
        self._cursors = Cursors(memory, clock)
        self._filters = wanted(terms, keys.public_key)
        self._handled = RecentIds(HANDLED_IDS)
        self._open: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._payers = payers
        self._lobby = lobby
        self._turned_away = Tally(clock)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._strangers_places = asyncio.Semaphore(AT_ONCE)
        self._is_ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._is_running = False
        self._has_ended = asyncio.Event()

    async def run(self) -> None:
        """Listen until `stop`, until the pool ends, or until cancelled.

        Cancelling is safe at any moment: what was not dealt with is asked for again at the next start.

        Raises:
            StoreUnavailable: the cursors, or who has paid, can't be read.
        """
        self._is_running = True
        try:
            await self._cursors.load(self._pool.urls)
            await self._payers.load()
            async with asyncio.TaskGroup() as group:
                catching_up = self._subscribe(group)
                reader = group.create_task(self._read_all(group))
                usher = group.create_task(self._let_in(group))
                keeper = group.create_task(self._keep_cursors())
                stopping = group.create_task(self._stopping.wait())
                await asyncio.wait((reader, stopping), return_when=asyncio.FIRST_COMPLETED)
                for task in (reader, usher, keeper, stopping):
                    task.cancel()
                catching_up.stop()
                await self._finish()
        finally:
            self._has_ended.set()

    async def ready(self) -> None:
        """Return once a relay has our subscription: it told what it had stored, or was connected for a while."""
        await self._is_ready.wait()

    async def stop(self) -> None:
        """Take no more events, and give those being dealt with a moment."""
        self._stopping.set()
        if self._is_running:
            await self._has_ended.wait()

    def _subscribe(self, group: asyncio.TaskGroup) -> CatchingUp:
        """Ask all relays, now and after each reconnect, also for what they keep back at first."""

        async def take(url: str, page: list[Event]) -> None:
            await self._take_page(url, page, group)

        def since(url: str) -> int:
            second = self._cursors.since(url)
            catching_up.begin(url, self._cursors.not_before(url))
            return second

        def told(url: str) -> None:
            catching_up.told(url, group)
            self._is_ready.set()

        # All deletions there are, which the last filter is for, are not read back: those for us are.
        read_back = self._filters[:-1]
        catching_up = CatchingUp(
            self._pool, self._clock, SUBSCRIPTION, read_back, take=take, done=self._cursors.caught_up
        )
        screen = self._is_worth_proving
        self._pool.subscribe(SUBSCRIPTION, self._filters, since=since, on_caught_up=told, screen=screen)
        return catching_up

    async def _read_all(self, group: asyncio.TaskGroup) -> None:
        events = 0
        async for received in self._pool.events():
            if self._stopping.is_set():
                return
            events += 1
            if events % EVENTS_PER_TURN == 0:
                await asyncio.sleep(0)
            if received.subscription != SUBSCRIPTION:
                self._aside(received)
                continue
            if not await self._admit(received, group):
                self._turn_away()

    async def _take_page(self, url: str, page: list[Event], group: asyncio.TaskGroup) -> None:
        """What a relay had kept back. It has waited for us, so we wait until there is room for it and others."""
        for event in sorted(page, key=lambda event: event.pubkey not in self._payers):
            if not self._may_be_news(url, event):
                continue
            if event.pubkey not in self._payers and not self._lobby.could_hold(event):
                self._turn_away()
                continue
            received = Received(url, SUBSCRIPTION, event)
            while not (self._has_room_to_spare(event) and await self._admit(received, group)):
                await self._clock.sleep(_FULL_PAUSE_S)

    def _has_room_to_spare(self, event: Event) -> bool:
        """For a payer a free place: a reading ends with its connection, and what waited for one would be lost."""
        return not self._places.locked() if event.pubkey in self._payers else self._lobby.is_half_empty

    async def _admit(self, received: Received, group: asyncio.TaskGroup) -> bool:
        """Begin with it, or have it wait for its turn. False: there is no room for it."""
        event = received.event
        guest = Guest(received, self._cursors.not_before(received.url))
        if event.pubkey in self._payers:
            self._lobby.give_way()
            await self._begin(guest, group, self._places)
            return True
        if is_waiting := self._lobby.enter(guest):
            self._open[event.id] = event.created_at
        return is_waiting

    async def _let_in(self, group: asyncio.TaskGroup) -> None:
        """Strangers, as their turns come."""
        while True:
            await self._begin(await self._lobby.next(), group, self._strangers_places)

    async def _begin(self, guest: Guest, group: asyncio.TaskGroup, places: asyncio.Semaphore) -> None:
        """Read it, and deal with it in a task of its own when there is a place."""
        event = guest.received.event
        asked = self._read(guest)
        if asked is None:
            self._open.pop(event.id, None)
            return
        self._open[event.id] = event.created_at
        await places.acquire()
        task = group.create_task(self._deal_with(guest.received, asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: places.release())

    def _is_worth_proving(self, url: str, event: UnverifiedEvent) -> bool:
        """Cheap questions only; anybody may have put anybody's key into it."""
        if not self._may_be_news(url, event):
            return False
        if event.pubkey in self._payers or self._lobby.has_room_for(event):
            return True
        self._turn_away()
        return False

    def _may_be_news(self, url: str, event: UnverifiedEvent) -> bool:
        if event.id in self._open or self._handled.has_met(event.id):
            return False
        # The reader may not have heard yet that the relay has caught up, and judges the date when it has.
        not_before = min(self._cursors.not_before(url), self._now() - LONGEST_LATE_S)
        why_not = nip90.why_not_for_us(
            event, self._keys, now=self._now(), not_before=not_before, terms=self._terms
        )
        if why_not is not None:
            log.debug("an event is not for us", action="not_for_us", event_id=event.id, why=why_not)
        return why_not is None

    def _turn_away(self) -> None:
        if count := self._turned_away.one_more():
            log.warning("too many ask at once: some are turned away", action="turned_away", count=count)

    def _read(self, guest: Guest) -> nip90.ForUs | None:
        """What an event asks, if it asks us and is new. Judged at once, and without waiting for anything."""
        event = guest.received.event
        if self._handled.has_met(event.id):
            return None
        try:
            asked = nip90.read(
                event,
                self._keys,
                now=self._now(),
                not_before=guest.not_before,
                terms=self._terms,
            )
        except Exception:  # a stranger's event must not end the ear for everybody else
            log.exception("an event could not be read", action="event_unread", event_id=event.id)
            return None
        if isinstance(asked, nip90.NotForUs):
            log.debug("an event is not for us", action="not_for_us", event_id=event.id, why=asked.why)
            return None
        self._handled.remember(event.id)
        return asked

    async def _deal_with(self, received: Received, asked: nip90.ForUs) -> None:
        event = received.event
        try:
            await self._desk.take(received, asked)
        except Exception:  # nothing was written, and one event must not end the door, again at each start
            log.exception("an event could not be dealt with", action="event_dropped", event_id=event.id)
        self._open.pop(event.id, None)

    async def _keep_cursors(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            if any(relay.state is RelayState.CONNECTED for relay in self._pool.status()):
                self._is_ready.set()
            await self._save_cursors()

    async def _save_cursors(self) -> None:
        serving = [relay.url for relay in self._pool.status() if relay.serves(SUBSCRIPTION)]
        self._cursors.advance(serving, min(self._open.values(), default=None))
        try:
            await self._cursors.save()
        except StoreUnavailable as error:
            log.warning("could not note how far relays were read", action="cursor_unsaved", error=str(error))

    def _now(self) -> int:
        return int(self._clock.now())

    async def _finish(self) -> None:
        """Let what is being dealt with end; what does not in time is asked for again at the next start."""
        if tasks := list(self._tasks):
            _, late = await asyncio.wait(tasks, timeout=_LAST_MOMENTS_S)
            for task in late:
                task.cancel()
        await self._save_cursors()
