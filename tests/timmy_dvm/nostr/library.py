"""A gatherer, the jobs in its books, and what relays and the web have: for the tests of what it finds."""

import types

from ledger.records import JobState, JobTexts
from tests.timmy_dvm.nostr.door import Shelf
from tests.timmy_dvm.nostr.kit import ALICE, NOW, TIMMY, signed
from timmy_dvm.clock import ManualClock
from timmy_dvm.core.transitions import ENDED
from timmy_dvm.nostr.gathering import Gatherer
from timmy_dvm.nostr.inputs import EventNamed, Wanted
from timmy_dvm.nostr.kinds import kind_of
from timmy_dvm.nostr.nip90 import JobAsked, Unreadable
from timmy_dvm.nostr.origin import Reply
from timmy_dvm.nostr.privacy import Scheme
from timmy_dvm.web import NotFetched

REPLY = Reply(Scheme.NIP44)


class Books:
    """Our jobs. Each is known by its request's id and by our answer's."""

    def __init__(self):
        self.jobs, self.events, self.said, self.error, self.looks = {}, {}, {}, None, 0

    def answered(
        self, text="So it is.", *, customer=ALICE, state=JobState.COMPLETE, kind=6050, tags=(), is_kept=True
    ):
        """A job and our answer to it; returns the answer, the request's id and the job's."""
        number = len(self.jobs) + 1
        job_id, request_id = f"{number:032x}", f"{number:064x}"
        event = signed(("e", request_id), ("p", customer.public_key), *tags, kind=kind, content=text, keys=TIMMY)
        self.jobs[job_id] = types.SimpleNamespace(
            id=job_id, event_id=request_id, pubkey=customer.public_key, state=state
        )
        self.said[job_id] = JobTexts("asked" if is_kept else "", "", text if is_kept else None)
        is_forgotten = not is_kept and state in ENDED
        self.events[event.id] = types.SimpleNamespace(job_id=job_id, json="" if is_forgotten else event.to_json())
        return event, request_id, job_id

    async def look(self, at):
        if self.error is not None:
            raise self.error
        self.looks += 1
        return at(self)

    def event(self, event_id):
        return self.events.get(event_id)

    def job(self, job_id):
        return self.jobs.get(job_id)

    def job_of_event(self, event_id):
        return next((job for job in self.jobs.values() if job.event_id == event_id), None)

    def texts(self, job_id):
        return self.said[job_id]


class Pages:
    def __init__(self, **pages):
        self.pages = {f"https://{name}.example": text for name, text in pages.items()}
        self.asked = []

    async def text_of(self, url):
        self.asked.append(url)
        if url not in self.pages:
            raise NotFetched("A page can't be reached.")
        return self.pages[url]


class World:
    def __init__(self, *events, pages=None, others=None, dials=True):
        self.books, self.shelf, self.pages = Books(), Shelf(*events, others=others), pages
        self.clock = ManualClock(NOW)
        self.gatherer = Gatherer(
            books=self.books,
            relays=self.shelf,
            pages=pages,
            public_key=TIMMY.public_key,
            clock=self.clock,
            dials=dials,
        )

    async def asks(self, *parts, kind=5050, customer=ALICE, addressed=True, replies_to=()):
        wanted = Wanted(kind=kind_of(kind), params={}, parts=parts, replies_to=replies_to)
        asked = JobAsked(text="", wanted=wanted, reply=REPLY, addressed=addressed)
        return await self.gatherer.complete(asked, customer.public_key)

    async def refuses(self, *parts, **how):
        found = await self.asks(*parts, **how)
        assert isinstance(found, Unreadable)
        assert found.reply == REPLY
        assert found.sentence.endswith(".")
        return found.code


def named(event, *relays, is_result=False):
    return EventNamed(event.id, relays, is_result=is_result)
