"""``/api/events``: a signed NIP-90 request, handed in over HTTP instead of by a relay. It is the same job.

The event itself says who asks and what; the answers are published on relays as ever, and are read here as the
signed events they are. Refunds of such a job are claimed by its key only.
"""

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Request, Response

from ledger.store import Story
from timmy_dvm.http.answers import EventAnswers, EventNoted, EventTaken, answers
from timmy_dvm.http.faults import Fault, refused
from timmy_dvm.http.jobs import shown, with_invoice
from timmy_dvm.http.services import Services
from timmy_dvm.http.wire import said
from timmy_dvm.nostr.hand_in import HandIn, NotTaken

EventId = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


_EVENT: Final[dict[str, Any]] = {
    "requestBody": {
        "description": "A signed NIP-90 request event (NIP-01).",
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
_TAKEN: Final = answers(
    EventTaken | EventNoted,
    "It was taken; what is answered is published on relays, and read here.",
    202,
    problems={400: "It is no request for us, or not signed as it should be.", 413: "The event is too large."},
)
_ANSWERS: Final = answers(EventAnswers, "The answers so far.", problems={404: "No such request came here."})


def routes(services: Services, hand_in: HandIn) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["jobs"])

    @router.post("/api/events", status_code=202, responses=_TAKEN, openapi_extra=_EVENT)
    async def take(request: Request) -> Response:
        """Hand in a signed request event; the same id over a relay is the same job."""
        try:
            event_id = await hand_in.take(await request.body())
        except NotTaken as error:
            raise refused(error.refusal) from None
        job = await services.store.look(lambda view: view.job_of_event(event_id))
        if job is None:
            # An operation, a cancellation, or what had to be looked up first: answered on relays.
            return said({"eventId": event_id, "jobId": None, "events": [], "trust_tier": "new"}, 202)
        story = await with_invoice(services, job.id)
        return said({"eventId": event_id, **await shown(services, story), "events": _signed(story)}, 202)

    @router.get("/api/events/{event_id}", responses=_ANSWERS)
    async def answers(event_id: EventId) -> Response:
        """What was answered to a request event so far, as signed events."""
        job = await services.store.look(lambda view: view.job_of_event(event_id))
        story = None if job is None else await services.store.story(job.id)
        if story is None:
            raise Fault(404, "unknown_event", "No request with that event id came here: POST the event itself.")
        tier = await services.tier_of(story.job.pubkey)
        state = str(story.job.state)
        return said({"eventId": event_id, "state": state, "events": _signed(story), "trust_tier": str(tier)})

    return router


def _signed(story: Story) -> list[msgspec.Raw]:
    """As they were signed, oldest first; what was forgotten is left out."""
    return [msgspec.Raw(event.json.encode()) for event, _ in story.events if event.json]
