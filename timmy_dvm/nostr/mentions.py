"""Answers people who mention us in a note: who we are, what it costs, how to ask. No model, and no invoice.

A thread is answered once for ever, and what replies to us is not answered at all, so no two bots can keep each
other talking. It is a courtesy that nobody pays for: a key gets few answers a minute, all keys together not many,
and what goes beyond is met with silence. So is what was said while we were away.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from ledger.records import Applied, NewEvent, Replayed
from ledger.store import StoreUnavailable
from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.pool import OnCaughtUp, Received, Since
from timmy_dvm.clock import Clock
from timmy_dvm.core.facts import Fact, MentionHeard
from timmy_dvm.engine import Contended
from timmy_dvm.log import get_logger
from timmy_dvm.nostr.bucket import PerMinute
from timmy_dvm.nostr.nip90 import MAX_AHEAD_S
from timmy_dvm.nostr.notes import BOT_TAG, KIND_NOTE, replied_to, root_of
from timmy_dvm.nostr.origin import write_origin
from timmy_dvm.nostr.privacy import Scheme
from timmy_dvm.prices import PriceSource

SUBSCRIPTION: Final = "timmy-mentions"
FRESH_S: Final = 600
"""An older note is not answered."""
GRACE_S: Final = 60
"""Nor is one from before our start, but for clocks that are slow."""
ANSWERS_PER_MINUTE: Final = 30
"""To all keys together."""
MAX_PEOPLE: Final = 10
"""A note that names more keys than this speaks to none of them."""
_WAITING: Final = 32
_ONE_KEY: Final = ""
log = get_logger("mentions")


class Handler(Protocol):
    """The one way in (`engine.Engine`)."""

    async def handle(self, fact: Fact) -> Applied | Replayed:
        """Apply one fact, once for ever."""


class Books(Protocol):
    """What is read of the ledger (`ledger.store.Store`)."""

    async def event(self, event_id: str) -> NewEvent | None:
        """An event of ours."""


class Pool(Protocol):
    """The relays (`relay_client.pool.RelayPool`)."""

    def subscribe(
        self,
        sub_id: str,
        filters: Sequence[Filter],
        *,
        since: Since | None = None,
        on_caught_up: OnCaughtUp | None = None,
    ) -> None:
        """Ask every relay for events, now and after each reconnect."""


class Mentions:
    """Listens for our name.

    Args:
        pool: the relays; somebody else runs it, and hands what `SUBSCRIPTION` brings to `heard`.
        engine: where facts go.
        books: tells our own events from others'.
        prices: the bitcoin price at which we say what we cost.
        public_key: ours.
        clock: time.
        per_minute: answers a key gets.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        engine: Handler,
        books: Books,
        prices: PriceSource,
        public_key: str,
        clock: Clock,
        per_minute: int,
    ) -> None:
        self._pool = pool
        self._engine = engine
        self._books = books
        self._prices = prices
        self._public_key = public_key
        self._clock = clock
        self._of_key = PerMinute(per_minute, clock)
        self._of_all = PerMinute(ANSWERS_PER_MINUTE, clock)
        self._started_at = int(clock.now())
        self._notes: asyncio.Queue[Received] = asyncio.Queue(_WAITING)

    async def run(self) -> None:
        """Answer until cancelled, which is safe at any moment."""
        self._started_at = int(self._clock.now())
        me = frozenset({self._public_key})
        self._pool.subscribe(
            SUBSCRIPTION,
            [Filter(kinds=frozenset({KIND_NOTE}), tags={"p": me})],
            since=lambda _: self._not_before(),
        )
        while True:
            received = await self._notes.get()
            try:
                await self._answer(received)
            except (StoreUnavailable, Contended) as error:
                log.warning("a mention is not answered", action="mention_unanswered", error=str(error))

    def _not_before(self) -> int:
        return max(self._started_at - GRACE_S, int(self._clock.now()) - FRESH_S)

    def heard(self, received: Received) -> None:
        """Take what a relay delivered for `SUBSCRIPTION`. Never waits: a note too many is met with silence."""
        if not self._is_to_us(received.event) or self._notes.full():
            log.debug("a note is not answered", action="mention_unanswered", event_id=received.event.id)
            return
        self._notes.put_nowait(received)

    def _is_to_us(self, note: Event) -> bool:
        now, people = int(self._clock.now()), note.tag_values("p")
        return (
            note.kind == KIND_NOTE
            and self._public_key in people
            and len(people) <= MAX_PEOPLE
            and note.pubkey != self._public_key
            and note.tag(BOT_TAG) is None
            and self._not_before() <= note.created_at <= now + MAX_AHEAD_S
        )

    async def _answer(self, received: Received) -> None:
        note = received.event
        for event_id in replied_to(note)[:MAX_PEOPLE]:
            if await self._books.event(event_id) is not None:
                return  # it speaks to us because we spoke: let it have the last word
        if not self._of_key.take(note.pubkey) or not self._of_all.take(_ONE_KEY):
            log.debug("too many mentions: one is not answered", action="mention_unanswered", event_id=note.id)
            return
        btc = self._prices.current()
        origin = write_origin(note, relay=received.url, relays=(), scheme=Scheme.NONE, btc=btc)
        fact = MentionHeard(
            event_id=note.id, thread_id=root_of(note), origin=origin, btc=btc, at=int(self._clock.now())
        )
        await self._engine.handle(fact)
