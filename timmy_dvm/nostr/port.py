"""The relay door: events in, facts out; and the other way round, signed events out to the relays.

What is subscribed to, in one subscription of these filters:

    requests that name us             never drowned by those for others, where a relay caps what it has stored
    all requests of the served kinds  only where the operator takes open jobs
    deletions that name a served kind (`k`, NIP-09) or us
    all deletions                     NIP-90 asks a cancellation for its `e` alone; they are few, and one that
                                      meets no job of its author costs a read and nothing else

The reader judges each event without waiting (`nip90.read`) and starts a task for what is for us, many at once, so
that the ledger commits them in groups. When the ledger is away, tasks wait and try again, then the reader waits,
then the relays wait: nothing is dropped, and the cursors stand still (`cursors`).
"""

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, Protocol, TypeVar, assert_never

import msgspec

from ledger.records import Applied, JobRecord, Replayed
from ledger.store import StoreUnavailable
from relay_client.connection import RelayState
from relay_client.dial import PublishOutcome
from relay_client.errors import InvalidEvent
from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.keys import Keys
from relay_client.pool import OnCaughtUp, Received, RelayStatus, Since
from relay_client.stream import RecentIds
from timmy_dvm.clock import Clock, Randomness
from timmy_dvm.core import facts
from timmy_dvm.engine import Contended
from timmy_dvm.log import get_logger
from timmy_dvm.nostr import as_facts, nip90
from timmy_dvm.nostr.asked_for import wanted
from timmy_dvm.nostr.bucket import Patience, TokenBucket
from timmy_dvm.nostr.cursors import Cursors, Memory
from timmy_dvm.nostr.nip90 import Terms
from timmy_dvm.nostr.operations import Operation, Question, RefundAsked
from timmy_dvm.prices import PriceSource

SUBSCRIPTION: Final = "timmy"
AT_ONCE: Final = 64
"""Events being dealt with; more of them wait."""
HANDLED_IDS: Final = 20_000
CANCELLED_IDS: Final = 10_000
TICK_S: Final = 30
ERRORS_PER_KEY_MINUTE: Final = 20
"""A key that asks for more nonsense than this, questions (`op me`) counted in, is not answered to either until the
minute is over. Both cost us a commit and an event, and nobody pays for them."""
FIRST_DIALS_S: Final = 3.0
"""How long the first events to be published wait for all relays to be connected."""
_LAST_MOMENTS_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30

_targets: Final = msgspec.json.Decoder(tuple[str, ...])
_T = TypeVar("_T")
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
    ) -> None:
        """Ask every relay for events, now and after each reconnect."""

    def events(self) -> AsyncIterator[Received]:
        """Events as they come, each once."""

    async def publish(self, event: Event, urls: Collection[str] | None = None) -> Mapping[str, PublishOutcome]:
        """Send an event; an outcome for each relay."""

    async def wait_connected(self, count: int = 1, timeout_s: float = 10.0) -> None:
        """Wait until that many relays are connected; TimeoutError if they are not, in time."""

    def status(self) -> Sequence[RelayStatus]:
        """How each relay is doing."""


class Handler(Protocol):
    """The one way in (`engine.Engine`)."""

    async def handle(self, fact: facts.Fact) -> Applied | Replayed:
        """Apply one fact, once for ever."""


class Books(Memory, Protocol):
    """What is read of the ledger (`ledger.store.Store`)."""

    async def find_jobs(self, text: str) -> Sequence[JobRecord]:
        """Jobs whose id or event id starts with `text`."""


class NostrPort:
    """Listens on the relays, and publishes on them (`dispatch.Publisher`).

    Args:
        pool: the relays; somebody else runs it.
        engine: where facts go.
        store: for cursors, and to see whether a deletion means a job of its author.
        keys: Timmy's.
        prices: the bitcoin price that goes with a request.
        clock, randomness: time, and fresh job ids.
        kinds: of requests served.
        open_jobs: also take requests that name no provider.
        network: our wallet's, as BOLT11 writes it: bc, tb, tbs or bcrt.
        models: what a customer may choose from; empty: a `model` parameter is ignored.
        error_answers_per_second: questions, and requests that can't be read, are answered no more often than this,
            all together.
        aside: takes what the pool's other subscriptions bring, without waiting.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        engine: Handler,
        store: Books,
        keys: Keys,
        prices: PriceSource,
        clock: Clock,
        randomness: Randomness,
        kinds: Collection[int],
        open_jobs: bool = True,
        network: str,
        models: Collection[str] = (),
        error_answers_per_second: int = 20,
        aside: Callable[[Received], None] = lambda _: None,
    ) -> None:
        self._pool = pool
        self._engine = engine
        self._store = store
        self._keys = keys
        self._prices = prices
        self._clock = clock
        self._randomness = randomness
        self._terms = Terms(kinds=frozenset(kinds), open_jobs=open_jobs, models=tuple(models))
        self._network = network
        self._aside = aside
        self._errors = TokenBucket(error_answers_per_second, clock)
        self._patience = Patience(ERRORS_PER_KEY_MINUTE, clock)
        self._cursors = Cursors(store, clock)
        self._handled = RecentIds(HANDLED_IDS)
        self._cancelled = RecentIds(CANCELLED_IDS)
        self._open: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._is_ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._is_running = False
        self._had_first_dials = False
        self._has_ended = asyncio.Event()

    async def run(self) -> None:
        """Listen until `stop`, until the pool ends, or until cancelled.

        Cancelling is safe at any moment: what was not dealt with is asked for again at the next start.

        Raises:
            StoreUnavailable: the cursors can't be read.
        """
        self._is_running = True
        try:
            await self._cursors.load(self._pool.urls)
            self._pool.subscribe(
                SUBSCRIPTION,
                wanted(self._terms, self._keys.public_key),
                since=self._cursors.since,
                on_caught_up=self._caught_up,
            )
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._read_all(group))
                keeper = group.create_task(self._keep_cursors())
                stopping = group.create_task(self._stopping.wait())
                await asyncio.wait((reader, stopping), return_when=asyncio.FIRST_COMPLETED)
                for task in (reader, keeper, stopping):
                    task.cancel()
                await self._finish()
        finally:
            self._has_ended.set()

    async def ready(self) -> None:
        """Return once a relay has our subscription: it told what it had stored, or was connected for a while."""
        await self._is_ready.wait()

    async def stop(self) -> None:
        """Take no more events, and give those being dealt with a moment. `publish` goes on working."""
        self._stopping.set()
        if self._is_running:
            await self._has_ended.wait()

    async def publish(self, event_json: str, targets: str) -> Mapping[str, str]:
        """See `dispatch.Publisher`. Only configured relays are sent to; with no `targets` all of them are."""
        try:
            event = Event.from_wire(event_json)
            named = _targets.decode(targets or "[]")
        except (InvalidEvent, msgspec.MsgspecError) as error:
            # Written by ourselves, so it can't happen; and a broken event is better kept than sent.
            log.warning("an event of ours can't be published", action="event_broken", error=str(error))
            return {}
        urls = [url for url in self._pool.urls if url in named] or None
        await self._first_dials()
        return {url: outcome.word for url, outcome in (await self._pool.publish(event, urls)).items()}

    async def _first_dials(self) -> None:
        """At the start, let every relay be reached: one acceptance is enough, so the others would never get it."""
        if not self._had_first_dials:
            with contextlib.suppress(TimeoutError):
                await self._pool.wait_connected(len(self._pool.urls), FIRST_DIALS_S)
            self._had_first_dials = True

    def _caught_up(self, url: str) -> None:
        self._cursors.caught_up(url)
        self._is_ready.set()

    async def _read_all(self, group: asyncio.TaskGroup) -> None:
        async for received in self._pool.events():
            if self._stopping.is_set():
                return
            if received.subscription != SUBSCRIPTION:
                self._aside(received)
                continue
            asked = self._read(received)
            if asked is None:
                continue
            event = received.event
            self._open[event.id] = event.created_at
            await self._places.acquire()
            task = group.create_task(self._deal_with(received, asked))
            self._tasks[event.id] = task
            task.add_done_callback(functools.partial(self._left, event.id))

    def _read(self, received: Received) -> nip90.ForUs | None:
        """What an event asks, if it asks us and is new. Judged at once, and without waiting for anything."""
        event = received.event
        if self._handled.has_met(event.id):
            return None
        try:
            asked = nip90.read(
                event,
                self._keys,
                now=self._now(),
                not_before=self._cursors.not_before(received.url),
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

    def _left(self, event_id: str, _: asyncio.Task[None]) -> None:
        self._places.release()
        self._tasks.pop(event_id, None)

    async def _deal_with(self, received: Received, asked: nip90.ForUs) -> None:
        event = received.event
        try:
            await self._hand_in(received, asked)
        except Exception:  # nothing was written, and one event must not end the door, again at each start
            log.exception("an event could not be dealt with", action="event_dropped", event_id=event.id)
        self._open.pop(event.id, None)

    async def _hand_in(self, received: Received, asked: nip90.ForUs) -> None:
        key = received.event.pubkey
        if isinstance(asked, nip90.CancelAsked):
            # Before anything is waited for: what it cancels may be the very next event.
            for request_id in asked.request_ids:
                self._cancelled.remember(f"{key}:{request_id}")
            for request_id in asked.request_ids:
                await self._cancel(received.event, request_id)
            return
        # With its errors used up a key is still served what is right; what is wrong is met with silence.
        is_heard = await self._patience.begin(key)
        was_error = False
        try:
            was_error = await self._answer(received, asked, is_heard=is_heard)
        finally:
            if is_heard:
                self._patience.end(key, was_error=was_error)

    async def _answer(
        self, received: Received, asked: nip90.JobAsked | Operation | nip90.Unreadable, *, is_heard: bool
    ) -> bool:
        """Whether it came to nothing but an error, or to an answer that nobody pays for."""
        match asked:
            case nip90.JobAsked():
                addressed = asked.addressed and is_heard
                return await self._ask(received, dataclasses.replace(asked, addressed=addressed))
            case RefundAsked():
                return await self._claim(received, asked, is_heard=is_heard)
            case Question():
                fact = as_facts.question(received, asked, btc=self._prices.current(), at=self._now())
                return is_heard and await self._answer_free(fact)
            case nip90.Unreadable():
                unreadable = as_facts.unreadable(received, asked, at=self._now())
                return is_heard and await self._answer_free(unreadable)
            case _:
                assert_never(asked)

    async def _ask(self, received: Received, asked: nip90.JobAsked) -> bool:
        event = received.event
        if self._cancelled.has_met(f"{event.pubkey}:{event.id}"):
            return False  # relays may tell a cancellation before what it cancels
        fact = as_facts.request(
            received, asked, job_id=self._randomness.new_id(), btc=self._prices.current(), at=self._now()
        )
        outcome = await self._until_it_works(lambda: self._engine.handle(fact))
        is_refused = isinstance(outcome, Applied) and outcome.change.new_job is None
        if is_refused and asked.addressed:
            self._errors.spend()  # one of the answers we may give; who named nobody hears nothing
        return is_refused

    async def _claim(self, received: Received, asked: RefundAsked, *, is_heard: bool) -> bool:
        fact = as_facts.claim(received, asked, network=self._network, at=self._now(), answered=is_heard)
        if isinstance(fact, facts.RequestUnreadable):
            return is_heard and await self._answer_free(fact)
        outcome = await self._until_it_works(lambda: self._engine.handle(fact))
        is_refused = isinstance(outcome, Applied) and not outcome.change.refunds
        if is_refused:
            self._errors.spend()
        return is_refused

    async def _answer_free(self, fact: facts.RequestUnreadable | facts.QuestionAsked) -> bool:
        if not self._errors.take():
            log.warning("too many free answers: one is not given", action="unsaid", fact=type(fact).__name__)
            return False
        return isinstance(await self._until_it_works(lambda: self._engine.handle(fact)), Applied)

    async def _cancel(self, event: Event, request_id: str) -> None:
        """A deletion costs a commit only if it means a job of its own author (NIP-09)."""
        if (asking := self._tasks.get(request_id)) is not None:
            await asyncio.wait((asking,))
        jobs = await self._until_it_works(lambda: self._store.find_jobs(request_id))
        job = next((job for job in jobs if job.event_id == request_id), None)
        if job is None or job.pubkey != event.pubkey:
            return
        fact = facts.CancelAsked(
            event_id=event.id, request_event_id=request_id, pubkey=event.pubkey, at=self._now()
        )
        await self._until_it_works(lambda: self._engine.handle(fact))

    async def _until_it_works(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        pause_s = 1
        while True:
            try:
                return await attempt()
            except (StoreUnavailable, Contended) as error:
                log.warning("an event has to wait", action="event_waits", error=str(error))
            await self._clock.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    async def _keep_cursors(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            if self._connected():
                self._is_ready.set()
            await self._save_cursors()

    async def _save_cursors(self) -> None:
        self._cursors.advance(self._connected(), min(self._open.values(), default=None))
        try:
            await self._cursors.save()
        except StoreUnavailable as error:
            log.warning("could not note how far relays were read", action="cursor_unsaved", error=str(error))

    def _now(self) -> int:
        return int(self._clock.now())

    def _connected(self) -> list[str]:
        return [relay.url for relay in self._pool.status() if relay.state is RelayState.CONNECTED]

    async def _finish(self) -> None:
        """Let what is being dealt with end; what does not in time is asked for again at the next start."""
        if tasks := list(self._tasks.values()):
            _, late = await asyncio.wait(tasks, timeout=_LAST_MOMENTS_S)
            for task in late:
                task.cancel()
        await self._save_cursors()
