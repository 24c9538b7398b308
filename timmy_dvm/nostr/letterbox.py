"""The ear for private messages (NIP-17): gift wraps are opened here, and what is for us goes to the `desk`.

Who wrote one is known only when it is open, which costs two ECDH and a signature check. So what can be seen from
outside is judged first, and wraps are opened no faster than :data:`OPENED_PER_SECOND`; more of them wait, in
bounded room, and what comes beyond is dropped and counted in the log. Nobody who asks in other ways waits for it.

Wraps are dated up to two days back, so relays are asked that much further back than for requests, and by pages
(`backlog`) where they tell only their newest at once; it is the
rumor's own date that must be fresh. What comes twice, in whatever wrap, is known by the rumor's id: here for a
while, in the ledger for good.

Answers go to the relays of the author's kind 10050 and nowhere else. Who lists none that we write to could not be
answered, so nothing is begun for them, and the log says so. Where that is unknown just now, the answer finds out.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ledger.store import StoreUnavailable
from relay_client.errors import DecryptionFailed, InvalidGiftWrap, InvalidKey
from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.keys import Keys
from relay_client.nip59 import MAX_BACKDATE_S, WRAP_KINDS, Rumor, unwrap
from relay_client.pool import OnCaughtUp, Received, RelayStatus, Since, Stored
from relay_client.stream import RecentIds
from timmy_dvm.clock import Clock
from timmy_dvm.log import get_logger
from timmy_dvm.nostr import nip17
from timmy_dvm.nostr.bucket import TokenBucket
from timmy_dvm.nostr.catching_up import CatchingUp
from timmy_dvm.nostr.cursors import Cursors, Memory
from timmy_dvm.nostr.desk import Desk
from timmy_dvm.nostr.nip90 import MAX_AHEAD_S, NotForUs

SUBSCRIPTION: Final = "timmy-letters"
OPENED_PER_SECOND: Final = 100
"""A usual one takes 0.2 ms, the longest 2 ms: so this is a fiftieth of a core, or at worst a fifth."""
MAX_WAITING: Final = 5_000
MAX_WAITING_BYTES: Final = 33_554_432
AT_ONCE: Final = 32
"""Messages being dealt with."""
HANDLED_IDS: Final = 20_000
TICK_S: Final = 30
_OPENING_PAUSE_S: Final = 0.05
_LAST_MOMENTS_S: Final = 1.0
_CURSOR: Final = "letter_cursor:"
log = get_logger("letters")


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

    def stored(self, sub_id: str, url: str) -> tuple[Stored, ...] | None:
        """How much a relay told for each filter before it had told all, as far as it tells at once."""

    async def query(
        self, filters: Sequence[Filter], *, urls: Iterable[str] | None = None, timeout_s: float
    ) -> list[Event]:
        """What relays have stored, newest first."""

    def status(self) -> Sequence[RelayStatus]:
        """How each relay is doing."""


class Outlet(Protocol):
    """How answers will leave (`publishing.NostrPublisher`)."""

    async def can_reach(self, key: str) -> bool:
        """Whether a private message to this key would have somewhere to go; True where that is unknown."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A rumor, proved to be its author's, and the relay that brought its wrap."""

    url: str
    event: Rumor


class Letterbox:
    """Takes private messages.

    Args:
        pool: the relays; somebody else runs it, and hands what `SUBSCRIPTION` brings to `heard`.
        desk: takes what was read.
        outlet: to see whether its author could be answered.
        memory: for cursors.
        keys: Timmy's.
        clock: time.
    """

    def __init__(
        self, *, pool: Pool, desk: Desk, outlet: Outlet, memory: Memory, keys: Keys, clock: Clock
    ) -> None:
        self._pool = pool
        self._desk = desk
        self._outlet = outlet
        self._keys = keys
        self._clock = clock
        self._cursors = Cursors(memory, clock, _CURSOR)
        self._waiting: asyncio.Queue[Received | str | None] = asyncio.Queue()
        self._waiting_bytes = 0
        self._dropped = 0
        self._wanted = Filter(kinds=WRAP_KINDS, tags={"p": frozenset({keys.public_key})})
        self._catching_up = CatchingUp(
            pool, clock, SUBSCRIPTION, [self._wanted], take=self._take_page, done=self._waiting.put_nowait
        )
        self._met = RecentIds(HANDLED_IDS)
        self._rate = TokenBucket(OPENED_PER_SECOND, clock)
        self._turn = asyncio.Lock()
        self._handled = RecentIds(HANDLED_IDS)
        self._in_hand: set[str] = set()
        self._busy = 0
        self._stopping = asyncio.Event()
        self._is_running = False
        self._has_ended = asyncio.Event()

    async def run(self) -> None:
        """Take messages until `stop`, or until cancelled, which is safe at any moment.

        Raises:
            StoreUnavailable: the cursors can't be read.
        """
        self._is_running = True
        try:
            await self._cursors.load(self._pool.urls)
            async with asyncio.TaskGroup() as group:
                self._pool.subscribe(
                    SUBSCRIPTION,
                    [self._wanted],
                    since=self._from_when_on,
                    on_caught_up=lambda url: self._catching_up.told(url, group),
                )
                keeper = group.create_task(self._keep_cursors())
                workers = [group.create_task(self._work()) for _ in range(AT_ONCE)]
                await self._stopping.wait()
                keeper.cancel()
                self._catching_up.stop()
                await self._finish(workers)
        finally:
            self._has_ended.set()

    def heard(self, received: Received) -> None:
        """Take what a relay delivered for `SUBSCRIPTION`. Never waits: what finds no room is dropped."""
        wrap = received.event
        if self._stopping.is_set() or not self._looks_right(wrap):
            return
        size = len(wrap.content)
        if self._waiting.qsize() >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES:
            self._dropped += 1
            return
        self._met.remember(wrap.id)
        self._waiting_bytes += size
        self._waiting.put_nowait(received)

    async def stop(self) -> None:
        """Take no more messages, and give those being dealt with a moment."""
        self._stopping.set()
        if self._is_running:
            await self._has_ended.wait()

    def _from_when_on(self, url: str) -> int:
        """A relay is there (again) and is about to tell what it has stored."""
        since = self._cursors.since(url) - MAX_BACKDATE_S
        self._catching_up.begin(url, since)
        return since

    async def _take_page(self, url: str, page: list[Event]) -> None:
        for event in page:
            if not self._met.has_met(event.id):
                self.heard(Received(url, SUBSCRIPTION, event))
        while self._waiting.qsize() > MAX_WAITING // 2 or self._waiting_bytes > MAX_WAITING_BYTES // 2:
            await self._clock.sleep(_OPENING_PAUSE_S)

    def _looks_right(self, wrap: Event) -> bool:
        now = self._now()
        return (
            wrap.kind in WRAP_KINDS
            and self._keys.public_key in wrap.tag_values("p")
            and wrap.created_at <= now + MAX_AHEAD_S
        )

    async def _work(self) -> None:
        while (item := await self._waiting.get()) is not None and not self._stopping.is_set():
            if isinstance(item, str):  # a relay has told all it had stored, and that was taken before this
                self._cursors.caught_up(item)
                continue
            self._waiting_bytes -= len(item.event.content)
            # Now, and not when it is open: a relay that has caught up meanwhile would make it too old.
            not_before = self._cursors.not_before(item.url)
            self._busy += 1
            try:
                await self._deal_with(item, not_before)
            except Exception:  # a stranger's message must not end the ear for everybody else
                log.exception("a private message could not be dealt with", action="letter_broke")
            finally:
                self._busy -= 1

    async def _deal_with(self, received: Received, not_before: int) -> None:
        rumor = await self._opened(received.event)
        if rumor is None or rumor.id in self._in_hand or self._handled.has_met(rumor.id):
            return
        asked = nip17.read(rumor, self._keys.public_key, now=self._now(), not_before=not_before)
        if isinstance(asked, NotForUs):
            log.debug("a private message is not for us", action="not_for_us", event_id=rumor.id, why=asked.why)
            return
        self._in_hand.add(rumor.id)
        try:
            if not await self._outlet.can_reach(rumor.pubkey):
                log.info(
                    "a private message can't be answered: its author lists no relay for them that we may write to",
                    action="no_inbox",
                    event_id=rumor.id,
                )
                return
            self._handled.remember(rumor.id)
            await self._desk.take(Opened(received.url, rumor), asked)
        finally:
            self._in_hand.discard(rumor.id)

    async def _opened(self, wrap: Event) -> Rumor | None:
        async with self._turn:
            while not self._rate.take():
                await self._clock.sleep(_OPENING_PAUSE_S)
        try:
            return unwrap(wrap, self._keys)
        except (DecryptionFailed, InvalidGiftWrap, InvalidKey) as error:
            log.debug("a gift wrap can't be opened", action="letter_unread", event_id=wrap.id, error=str(error))
            return None

    async def _keep_cursors(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            if self._dropped:
                log.warning(
                    "private messages came too fast, and some were dropped",
                    action="letters_dropped",
                    dropped=self._dropped,
                )
                self._dropped = 0
            await self._save_cursors()

    async def _save_cursors(self) -> None:
        serving = [relay.url for relay in self._pool.status() if relay.serves(SUBSCRIPTION)]
        # What waits may be of any date, so the cursors stand still until all of it is dealt with.
        if self._waiting.empty() and not self._busy:
            self._cursors.advance(serving, None)
        try:
            await self._cursors.save()
        except StoreUnavailable as error:
            log.warning("could not note how far relays were read", action="cursor_unsaved", error=str(error))

    async def _finish(self, workers: "Sequence[asyncio.Task[None]]") -> None:
        """Let what is being dealt with end; what does not in time is asked for again at the next start."""
        for _ in workers:
            self._waiting.put_nowait(None)
        _, late = await asyncio.wait(workers, timeout=_LAST_MOMENTS_S)
        for task in late:
            task.cancel()
        await self._save_cursors()

    def _now(self) -> int:
        return int(self._clock.now())
