"""Finds what a request only names, so that it can be priced: events, results of jobs, pages, and its own thread.

What was said to a key in its own jobs comes out of the ledger, and goes to that key alone. All else is public:
events that relays have, and pages where the operator lets us fetch any. It is bounded in number, size and time,
and one request can't aim us at more than a few relays, which whoever owns the pool guards.

An earlier answer of ours, named by a request that says something itself, is the thread that goes on. Without words
beside it, or in a kind that does not talk, it is an input like any other.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

from ledger.records import JobRecord, JobState, JobTexts, NewEvent
from ledger.store import View
from relay_client.event import Event, UnverifiedEvent
from relay_client.filter import Filter
from timmy_dvm.clock import Clock
from timmy_dvm.core.transitions import ENDED
from timmy_dvm.nostr import inputs
from timmy_dvm.nostr.bad import Bad
from timmy_dvm.nostr.bucket import TokenBucket
from timmy_dvm.nostr.dialling import is_fit
from timmy_dvm.nostr.inputs import EventNamed, PageNamed, Wanted, Words
from timmy_dvm.nostr.job_kind import Piece
from timmy_dvm.nostr.nip90 import JobAsked, Unreadable
from timmy_dvm.nostr.operations import Question
from timmy_dvm.web import NotFetched

AT_ONCE: Final = 32
"""Requests for which something is being fetched, half of what the ear deals with; one more is put off."""
AT_ONCE_OPEN: Final = 16
"""Of these, those that name no provider."""
PER_KEY: Final = 16
DIALS_A_MINUTE: Final = 6
"""Anybody can have us look for what nobody has: of the pool's dials this is all that is left to that."""
RELAYS_S: Final = 3.0
"""How long our relays may take, and then the others that a request names."""

_T = TypeVar("_T")
_Found = dict[EventNamed | PageNamed, Piece]
_Job = TypeVar("_Job", bound=JobAsked | Question)


class Books(Protocol):
    """What is read of the ledger (`ledger.store.Store`)."""

    async def look(self, at: Callable[[View], _T]) -> _T:
        """Have `at` look at one snapshot of the books."""


class Relays(Protocol):
    """Who has events (`relay_client.pool.RelayPool`)."""

    async def query(
        self,
        filters: Sequence[Filter],
        *,
        urls: Iterable[str] | None = None,
        timeout_s: float,
        enough: int | None = None,
    ) -> list[Event]:
        """What relays have stored, proved, within that time; of relays that are not ours only those in `urls`."""


class Pages(Protocol):
    """Who fetches web pages (`web.Web`)."""

    async def text_of(self, url: str) -> str:
        """The text of a page. Raises `NotFetched`."""


@dataclass(frozen=True, slots=True)
class _Ours:
    """A job of ours. ``event`` is the one of ours that named it; None where its request did."""

    job: JobRecord
    texts: JobTexts
    event: NewEvent | None


class Gatherer:
    """Completes requests.

    Args:
        books: our own jobs.
        relays: where events are looked for.
        pages: fetches pages; None where `Terms.pages` is off.
        public_key: ours.
        clock: time.
        dials: whether relays that are not ours may be asked.
    """

    def __init__(
        self,
        *,
        books: Books,
        relays: Relays,
        pages: Pages | None,
        public_key: str,
        clock: Clock,
        dials: bool,
    ) -> None:
        self._books = books
        self._relays = relays
        self._pages = pages
        self._public_key = public_key
        self._clock = clock
        self._dials = dials
        self._dials_left = TokenBucket(DIALS_A_MINUTE / 60, clock, room=inputs.MAX_HINTS)
        self._fetching: Counter[str] = Counter()

    async def complete(self, asked: _Job, pubkey: str) -> _Job | Unreadable:
        """The request with its text; or what the customer should do about it. Within a few seconds.

        Cancelling is safe: nothing is written.

        Args:
            asked: what has something ``wanted``.
            pubkey: who asks.

        Raises:
            StoreUnavailable: our own jobs can't be read.
        """
        wanted = asked.wanted
        if wanted is None:
            return asked
        is_open = isinstance(asked, JobAsked) and not asked.addressed
        try:
            # One look for all that is named: whoever names much shall not cost us a look each.
            named = wanted.ids
            ours = await self._books.look(lambda view: _ours_among(view, named))
            follows, wanted = _thread(wanted, pubkey, ours)
            pieces = await self._pieces(wanted, pubkey, ours, is_open=is_open)
            task = wanted.kind.task(pieces, wanted.params)
        except Bad as bad:
            return Unreadable(code=bad.code, sentence=bad.sentence, reply=asked.reply)
        return replace(asked, text=task.text, preface_chars=task.preface_chars, wanted=None, follows=follows)

    async def _pieces(
        self, wanted: Wanted, pubkey: str, ours: Mapping[str, _Ours], *, is_open: bool
    ) -> list[Piece]:
        """All inputs as text, in their order."""
        texts: _Found = {}
        for part in wanted.parts:
            if isinstance(part, EventNamed) and (known := ours.get(part.event_id)) is not None:
                text = self._from_books(part, known, pubkey)
                if text is not None:
                    texts[part] = Piece(text, is_fetched=True)
        events = [part for part in wanted.parts if isinstance(part, EventNamed) and part not in texts]
        pages = [part for part in wanted.parts if isinstance(part, PageNamed)]
        if events or pages:
            with self._place(pubkey, is_open=is_open):
                texts |= await self._from_relays(events, pubkey)
                texts |= await self._from_web(pages)
        return [Piece(part.text) if isinstance(part, Words) else texts[part] for part in wanted.parts]

    @contextlib.contextmanager
    def _place(self, pubkey: str, *, is_open: bool) -> Iterator[None]:
        """One of the places for those who fetch. Nobody waits for one, so that no flood of them can pile up."""
        room = AT_ONCE_OPEN if is_open else AT_ONCE
        if self._fetching[pubkey] >= PER_KEY or self._fetching.total() >= room:
            raise Bad(
                "busy",
                "Too many inputs are being fetched just now: ask again in a minute, or put the text itself into "
                "an i tag of type text.",
            )
        self._fetching[pubkey] += 1
        try:
            yield
        finally:
            self._fetching[pubkey] -= 1
            self._fetching += Counter()  # forget the keys that stand at nothing

    def _from_books(self, part: EventNamed, ours: _Ours, pubkey: str) -> str | None:
        """The text of an answer of ours: to its customer always, to others what was said in public."""
        if ours.job.pubkey == pubkey:
            return _answer_of(ours)
        if _is_forgotten(ours):
            raise _gone()
        if ours.event is None:
            return None
        return self._text_of(UnverifiedEvent.from_wire(ours.event.json), part)

    async def _from_relays(self, named: Sequence[EventNamed], pubkey: str) -> _Found:
        found = await self._events({part.event_id for part in named}, None) if named else {}
        lacking = [part for part in named if part.event_id not in found]
        if hints := self._to_dial(lacking):
            found |= await self._events({part.event_id for part in lacking}, hints)
        pieces: _Found = {}
        for part in named:
            event = found.get(part.event_id)
            if event is None:
                raise inputs.not_found()
            if event.pubkey == self._public_key:
                await self._refuse_what_was_forgotten(event)
            # What the customer has published is as good as said in the request itself, and often too long for it.
            pieces[part] = Piece(self._text_of(event, part), is_fetched=event.pubkey != pubkey)
        return pieces

    def _to_dial(self, lacking: Sequence[EventNamed]) -> list[str]:
        """Relays besides ours for what these have, as far as dials are left for it."""
        if not self._dials:
            return []
        return [url for url in inputs.hints(lacking) if is_fit(url) and self._dials_left.take()]

    async def _events(self, ids: Collection[str], urls: Sequence[str] | None) -> dict[str, Event]:
        wanted = Filter(ids=frozenset(ids), limit=len(ids))
        events = await self._relays.query([wanted], urls=urls, timeout_s=RELAYS_S, enough=len(ids))
        return {event.id: event for event in events if event.id in ids}

    async def _refuse_what_was_forgotten(self, event: Event) -> None:
        """Relays may keep an answer of ours that its customer had us forget."""
        named = event.tag_values("e")[:1]
        ours = await self._books.look(lambda view: _ours_among(view, named))
        if any(map(_is_forgotten, ours.values())):
            raise _gone()

    async def _from_web(self, named: Sequence[PageNamed]) -> _Found:
        if self._pages is None:
            return {}
        pages = list(dict.fromkeys(named))
        texts = await asyncio.gather(*(self._pages.text_of(page.url) for page in pages), return_exceptions=True)
        pieces: _Found = {}
        for page, text in zip(pages, texts, strict=True):
            if isinstance(text, NotFetched):
                raise Bad("input_not_fetched", str(text))
            if isinstance(text, BaseException):
                raise text
            pieces[page] = Piece(text, is_fetched=True)
        return pieces

    def _text_of(self, event: UnverifiedEvent, part: EventNamed) -> str:
        return inputs.text_of(event, is_result=part.is_result, now=int(self._clock.now()))


def _ours_among(view: View, event_ids: Iterable[str]) -> dict[str, _Ours]:
    """The jobs that these events made, or that events of ours were about, by the event that was named."""
    found = {}
    for event_id in event_ids:
        event = view.event(event_id)
        about = None if event is None else event.job_id
        job = view.job_of_event(event_id) if about is None else view.job(about)
        if job is not None:
            found[event_id] = _Ours(job, view.texts(job.id), event)
    return found


def _thread(wanted: Wanted, pubkey: str, ours: Mapping[str, _Ours]) -> tuple[str | None, Wanted]:
    """The job whose thread goes on, and the inputs without the one that names it."""
    if not wanted.kind.talks or not wanted.has_words:
        return None, wanted
    for at, part in enumerate(wanted.parts):
        named = ours.get(part.event_id) if isinstance(part, EventNamed) else None
        if named is not None and named.job.pubkey == pubkey:
            _answer_of(named)
            return named.job.id, replace(wanted, parts=wanted.parts[:at] + wanted.parts[at + 1 :])
    for event_id in wanted.replies_to:
        named = ours.get(event_id)
        if named is not None and named.job.pubkey == pubkey and named.texts.result:
            return named.job.id, wanted
    return None, wanted


def _answer_of(ours: _Ours) -> str:
    if ours.texts.result:
        return ours.texts.result
    if _is_forgotten(ours):
        raise _gone()
    if ours.job.state in ENDED:
        raise Bad("no_answer", "That request of yours ended without an answer: ask anew, without naming it.")
    raise Bad("no_answer", "That request of yours has no answer yet: wait for it, and ask again.")


def _is_forgotten(ours: _Ours) -> bool:
    if ours.event is not None and not ours.event.json:
        return True
    return ours.job.state is JobState.COMPLETE and not ours.texts.result


def _gone() -> Bad:
    return Bad("input_gone", "That answer was forgotten, as its customer wished: ask anew, without naming it.")
