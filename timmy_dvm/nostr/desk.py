"""What is done with an event that was read: it becomes a fact for the engine, or an answer that nobody pays for.

Answers that cost nothing to ask for are bounded: a key may be wrong so often a minute (`bucket.Patience`), and
all keys together so often a second (`bucket.TokenBucket`). That a job is refused, as when too many wait for money,
is told at that same pace, later where many are (`bucket.Turns`), and not at all where it would come too late; a
key that has paid before is told at once. Whoever asks rightly is always heard. While the ledger is away an event
waits here and tries again.
"""

import asyncio
import dataclasses
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar, assert_never

from ledger.records import Applied, Replayed
from ledger.store import StoreUnavailable, View
from relay_client.event import EventFields
from relay_client.stream import RecentIds
from timmy_dvm.clock import Clock, Randomness
from timmy_dvm.core import facts
from timmy_dvm.core.credit_facts import ForgetAsked
from timmy_dvm.engine import Contended
from timmy_dvm.log import get_logger
from timmy_dvm.nostr import as_facts, nip90
from timmy_dvm.nostr.as_facts import Came
from timmy_dvm.nostr.bucket import Patience, Tally, TokenBucket, Turns
from timmy_dvm.nostr.conversation import Heard, goes_on_from
from timmy_dvm.nostr.gathering import Gatherer
from timmy_dvm.nostr.operations import (
    CreditWanted,
    ForgetWanted,
    Operation,
    Question,
    RefundAsked,
    StatusWanted,
    TopUpWanted,
)
from timmy_dvm.nostr.privacy import Scheme
from timmy_dvm.prices import PriceSource

CANCELLED_IDS: Final = 10_000
LETTERS_PER_KEY_HOUR: Final = 12
"""Private messages to which a key gets an answer that nobody pays for. Another bot may answer each of ours, and be
answered again, for ever: so these are few, and come back slowly. What makes a job is not counted."""
ERRORS_PER_KEY_MINUTE: Final = 20
"""A key that asks for more nonsense than this, questions (`op me`) counted in, is not answered to either until the
minute is over. Both cost us a commit and an event, and nobody pays for them."""
LONGEST_REFUSAL_WAIT_S: Final = 300
"""A crowd of newcomers that is refused at once learns of it within this; then there is silence for the rest."""
_LONGEST_PAUSE_S: Final = 30

_T = TypeVar("_T")
log = get_logger("nostr")


class Handler(Protocol):
    """The one way in (`engine.Engine`)."""

    async def handle(self, fact: facts.Fact) -> Applied | Replayed:
        """Apply one fact, once for ever."""


class Books(Protocol):
    """What is read of the ledger (`ledger.store.Store`)."""

    async def look(self, at: Callable[[View], _T]) -> _T:
        """Have `at` look at one snapshot of the books."""


@dataclasses.dataclass(frozen=True, slots=True)
class Owner:
    """The operator's own key (hex), and what tells them how things stand."""

    pubkey: str
    show: Callable[[], Awaitable[dict[str, Any]]]


class Desk:
    """Hands in what customers ask.

    Args:
        engine: where facts go.
        store: to see whether a deletion means a job of its author.
        gatherer: looks up what a request only names.
        prices: the bitcoin price that goes with a request.
        clock, randomness: time, and fresh job ids.
        owner: whom the operator's answers are for (hex), and how things stand, for them alone; None: for nobody.
        network: our wallet's, as BOLT11 writes it: bc, tb, tbs or bcrt.
        error_answers_per_second: questions, and requests that can't be read, are answered no more often than this,
            all together; and so are jobs that are refused.
    """

    def __init__(
        self,
        *,
        engine: Handler,
        store: Books,
        gatherer: Gatherer,
        prices: PriceSource,
        clock: Clock,
        randomness: Randomness,
        network: str,
        error_answers_per_second: int,
        owner: Owner | None = None,
    ) -> None:
        self._engine = engine
        self._store = store
        self._gatherer = gatherer
        self._prices = prices
        self._clock = clock
        self._randomness = randomness
        self._network = network
        self._owner = owner
        self._errors = TokenBucket(error_answers_per_second, clock)
        self._refusals = Turns(error_answers_per_second, clock, LONGEST_REFUSAL_WAIT_S)
        self._unsaid = Tally(clock)
        self._patience = Patience(ERRORS_PER_KEY_MINUTE, clock)
        self._patience_with_letters = Patience(LETTERS_PER_KEY_HOUR, clock, per_s=3_600)
        self._cancelled = RecentIds(CANCELLED_IDS)
        self._underway: dict[str, asyncio.Future[None]] = {}

    async def take(self, received: Came, asked: nip90.ForUs) -> None:
        """Deal with one event to its end; returns when what it caused is in the ledger."""
        event_id = received.event.id
        done = self._underway[event_id] = asyncio.get_running_loop().create_future()
        try:
            await self._hand_in(received, asked)
        finally:
            del self._underway[event_id]
            done.set_result(None)

    async def _hand_in(self, received: Came, asked: nip90.ForUs) -> None:
        key = received.event.pubkey
        if isinstance(asked, nip90.CancelAsked):
            # Before anything is waited for: what it cancels may be the very next event.
            for request_id in asked.request_ids:
                self._cancelled.remember(f"{key}:{request_id}")
            for request_id in asked.request_ids:
                await self._cancel(received.event, request_id)
            return
        silent = isinstance(asked, nip90.JobAsked) and not asked.addressed
        if isinstance(asked, nip90.JobAsked | Question) and asked.wanted is not None:
            # Before its turn: what takes seconds must not hold up what else the key asks.
            found = await self._look_up(received.event, asked)
            if found is None:
                return
            asked = found
        if isinstance(asked, nip90.JobAsked | Question) and asked.heard is not None:
            asked = await self._placed(received.event, asked, asked.heard)
        # With its errors used up a key is still served what is right; what is wrong is met with silence.
        is_letter = asked.reply.scheme is Scheme.NIP59
        patience = self._patience_with_letters if is_letter else self._patience
        is_heard = await patience.begin(key)
        was_error = False
        try:
            is_unsaid = silent and isinstance(asked, nip90.Unreadable)  # who named nobody hears nothing
            was_error = is_unsaid or await self._answer(received, asked, is_heard=is_heard)
        finally:
            if is_heard:
                patience.end(key, was_error=was_error)

    async def _answer(
        self, received: Came, asked: nip90.JobAsked | Operation | nip90.Unreadable, *, is_heard: bool
    ) -> bool:
        """Whether it came to nothing but an error, or to an answer that nobody pays for."""
        match asked:
            case nip90.JobAsked():
                addressed = asked.addressed and is_heard
                return await self._ask(received, dataclasses.replace(asked, addressed=addressed))
            case RefundAsked() | CreditWanted():
                return await self._claim(received, asked, is_heard=is_heard)
            case TopUpWanted():
                return await self._top_up(received, asked, is_heard=is_heard)
            case ForgetWanted():
                forget = as_facts.forget(received, asked, at=self._now())
                return is_heard and await self._answer_free(forget)
            case StatusWanted():
                return await self._tell_status(received, asked, is_heard=is_heard)
            case Question():
                fact = as_facts.question(received, asked, btc=self._prices.current(), at=self._now())
                return is_heard and await self._answer_free(fact)
            case nip90.Unreadable():
                unreadable = as_facts.unreadable(received, asked, at=self._now())
                return is_heard and await self._answer_free(unreadable)
            case _:
                assert_never(asked)

    async def _look_up(
        self, event: EventFields, asked: nip90.JobAsked | Question
    ) -> nip90.JobAsked | Question | nip90.Unreadable | None:
        """What the request names, found. None: nothing is looked up for a key that has used up its errors, nor for
        a request that is a job already and is only told again.
        """
        if not self._patience.has_left(event.pubkey):
            return None
        known = await self._until_it_works(lambda: self._store.look(lambda view: view.job_of_event(event.id)))
        if known is not None:
            return None
        return await self._until_it_works(lambda: self._gatherer.complete(asked, event.pubkey))

    async def _placed(
        self, event: EventFields, asked: nip90.JobAsked | Question, heard: Heard
    ) -> nip90.JobAsked | Question:
        """A private message in its conversation."""

        def look(view: View) -> str | None:
            return goes_on_from(view, event.pubkey, heard)

        follows = await self._until_it_works(lambda: self._store.look(look))
        return dataclasses.replace(asked, follows=follows)

    async def _ask(self, received: Came, asked: nip90.JobAsked) -> bool:
        event = received.event
        if self._cancelled.has_met(f"{event.pubkey}:{event.id}"):
            return False  # relays may tell a cancellation before what it cancels
        # Before it is known whether it is refused: many are dealt with at once, and each needs its own turn.
        wait_s, now = self._refusals.book() if asked.addressed else None, self._now()
        fact = as_facts.request(
            received,
            dataclasses.replace(asked, addressed=wait_s is not None),
            job_id=self._randomness.new_id(),
            btc=self._prices.current(),
            at=now,
            refusal_at=now + math.ceil(wait_s) if wait_s else None,
        )
        outcome = await self._until_it_works(lambda: self._engine.handle(fact))
        is_refused = isinstance(outcome, Applied) and outcome.change.new_job is None
        if wait_s is not None and not is_refused:
            self._refusals.give_back()
        if is_refused and asked.addressed and wait_s is None:
            self._leave_unsaid()
        return is_refused

    async def _claim(self, received: Came, asked: RefundAsked | CreditWanted, *, is_heard: bool) -> bool:
        fact: facts.Fact
        if isinstance(asked, CreditWanted):
            fact = as_facts.wish(received, asked, at=self._now(), answered=is_heard)
        else:
            fact = as_facts.claim(
                received,
                asked,
                refund_id=self._randomness.new_id(),
                network=self._network,
                at=self._now(),
                answered=is_heard,
            )
        if isinstance(fact, facts.RequestUnreadable):
            return is_heard and await self._answer_free(fact)
        outcome = await self._until_it_works(lambda: self._engine.handle(fact))
        is_refused = isinstance(outcome, Applied) and not outcome.change.refunds
        if is_refused:
            self._errors.spend()
        return is_refused

    async def _top_up(self, received: Came, asked: TopUpWanted, *, is_heard: bool) -> bool:
        event = received.event
        if self._cancelled.has_met(f"{event.pubkey}:{event.id}"):
            return False
        fact = as_facts.topup(
            received,
            asked,
            topup_id=self._randomness.new_id(),
            btc=self._prices.current(),
            at=self._now(),
            answered=is_heard,
        )
        outcome = await self._until_it_works(lambda: self._engine.handle(fact))
        is_refused = isinstance(outcome, Applied) and not outcome.change.topups
        if is_refused:
            self._errors.spend()
        return is_refused

    async def _tell_status(self, received: Came, asked: StatusWanted, *, is_heard: bool) -> bool:
        if self._owner is None or received.event.pubkey != self._owner.pubkey:
            sentence = "How this node stands is told to its operator's own key alone: ask something else."
            refused = nip90.Unreadable(code="owner_only", sentence=sentence, reply=asked.reply)
            unreadable = as_facts.unreadable(received, refused, at=self._now())
            return is_heard and await self._answer_free(unreadable)
        if not is_heard:
            return False
        # Not held to the pace of all free answers: in a flood the operator most wants to know.
        fact = as_facts.status(received, asked, await self._owner.show(), at=self._now())
        return isinstance(await self._until_it_works(lambda: self._engine.handle(fact)), Applied)

    async def _answer_free(self, fact: facts.RequestUnreadable | facts.QuestionAsked | ForgetAsked) -> bool:
        if not self._errors.take():
            self._leave_unsaid()
            return False
        return isinstance(await self._until_it_works(lambda: self._engine.handle(fact)), Applied)

    def _leave_unsaid(self) -> None:
        if count := self._unsaid.one_more():
            log.warning("too many free answers: some are not given", action="unsaid", count=count)

    async def _cancel(self, event: EventFields, request_id: str) -> None:
        """A deletion costs a commit only if it means a job or a top-up of its own author (NIP-09)."""
        if (asking := self._underway.get(request_id)) is not None:
            await asyncio.shield(asking)
        asker = await self._until_it_works(lambda: self._store.look(lambda view: _asker(view, request_id)))
        if asker != event.pubkey:
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

    def _now(self) -> int:
        return int(self._clock.now())


def _asker(view: View, event_id: str) -> str | None:
    """Whose job or top-up an event asked for; None where it asked for none."""
    asked = view.job_of_event(event_id) or view.topup_of_event(event_id)
    return None if asked is None else asked.pubkey
