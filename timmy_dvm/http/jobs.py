"""``/api/jobs``: asking for a job, and looking at it. What is asked becomes a fact; all rules are the core's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from ledger.records import Applied, Door, InvoiceState, Mode
from ledger.store import Story
from timmy_dvm.core.actions import Message, Refused
from timmy_dvm.core.facts import RequestReceived
from timmy_dvm.core.transitions import AWAITING
from timmy_dvm.http import job_events
from timmy_dvm.http.answers import Documented, Job, JobMade, Problem, answers
from timmy_dvm.http.description import ASKER
from timmy_dvm.http.faults import Fault, refused
from timmy_dvm.http.idempotency import Seed
from timmy_dvm.http.job_views import job_view, write_origin
from timmy_dvm.http.services import Services
from timmy_dvm.http.streams import EventStream
from timmy_dvm.http.watching import Watch
from timmy_dvm.http.wire import JobWanted, said
from timmy_dvm.payees import why_not_address

INVOICE_S: Final = 8.0
"""Within this our wallet makes an invoice, or whoever waits for it is told to look again."""
LOOK_S: Final = 2.0
"""Who looks at a job waits no longer than this for its next invoice."""
_REFUSED_BEFORE: Final = 50
JobId = Annotated[str, Path(max_length=64)]
_UNKNOWN: Final = {401: "A credential that is none, or has ended.", 404: "There is no such job."}
_MADE: Final = answers(
    JobMade,
    "The job, with its first invoice or under way.",
    201,
    problems={
        400: "No request, too long a one, or a body that is not as described.",
        401: "A credential that is none, or has ended.",
        409: "The Idempotency-Key was used for another request.",
        413: "The body is too large.",
        429: "Too many unpaid requests wait.",
        503: "No invoice can be made just now.",
    },
)
_FOLLOWED: Final[Documented] = {
    200: {
        "description": "`event: job` at each change, `event: partial` with `{text}` while it is written.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    204: {"description": "Nothing more will happen to this job."},
    401: {"model": Problem, "description": _UNKNOWN[401]},
    404: {"model": Problem, "description": _UNKNOWN[404]},
    503: {"model": Problem, "description": "Too many streams are open."},
}


def routes(services: Services) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["jobs"])

    @router.post("/api/jobs", status_code=201, responses=_MADE, openapi_extra=ASKER)
    async def ask(wanted: JobWanted, request: Request) -> Response:
        """Ask for a job: 201 with the first invoice, or, where the pool or credit covers it, a job that runs."""
        pubkey = await services.asker(request, wanted.nostr_token)
        if wanted.refund_address and (why_not := why_not_address(wanted.refund_address)) is not None:
            raise Fault(400, "bad_refund_address", why_not)

        async def work(seed: Seed) -> Response:
            return await _ask(services, wanted, pubkey, services.addresses.bucket(request), seed)

        return await services.idempotency.answer(request, pubkey, work)

    @router.get("/api/jobs/{job_id}", responses=answers(Job, "The job.", problems=_UNKNOWN))
    async def show(job_id: JobId, request: Request) -> Response:
        """A job as it stands."""
        await services.asker(request)  # whoever holds the id may look, but a credential that is none is told so
        story = await found(services, job_id)
        if _lacks_invoice(story):
            # Between asking for money and having an invoice are moments: who looks now wants to pay.
            story = await _after_a_moment(services, job_id)
        return said(await shown(services, story))

    @router.get("/api/jobs/{job_id}/events", responses=_FOLLOWED, response_class=EventStream)
    async def follow(job_id: JobId, request: Request) -> Response:
        """A job as server-sent events: `job` at each change, `partial` while its answer is written."""
        await services.asker(request)
        story = await found(services, job_id)
        if job_events.was_told_all(request, story):
            return Response(status_code=204)
        return EventStream(_followed(services, job_id), services.streams)

    return router


async def found(services: Services, job_id: str) -> Story:
    """A job by its id, whole.

    Raises:
        Fault: 404, there is none.
    """
    story = await services.store.story(job_id)
    if story is None:
        raise Fault(404, "unknown_job", "There is no such job: check the address, or ask with POST /api/jobs.")
    return story


async def shown(services: Services, story: Story) -> dict[str, object]:
    """A job as it stands, with its owner's tier."""
    return job_view(story, await services.tier_of(story.job.pubkey))


async def _ask(services: Services, wanted: JobWanted, pubkey: str | None, address: str, seed: Seed) -> Response:
    claim_secret = seed.secret("claim")
    for attempt in range(_REFUSED_BEFORE):
        job_id = seed.id(f"job-{attempt}")
        services.open_places.take(address, job_id)
        try:
            story = await _made(services, _fact(services, wanted, pubkey, job_id, claim_secret))
        except BaseException:
            services.open_places.leave(job_id)
            raise
        if story is None:
            services.open_places.leave(job_id)
            continue  # this id was used, and refused: the key is tried again
        if story.job.state not in AWAITING:
            services.open_places.leave(job_id)
        return said({**await shown(services, story), "claimSecret": claim_secret}, 201)
    raise Fault(409, "refused_before", "This was refused many times: take a fresh Idempotency-Key.")


def _fact(
    services: Services, wanted: JobWanted, pubkey: str | None, job_id: str, claim_secret: str
) -> RequestReceived:
    at = services.now()
    return RequestReceived(
        job_id=job_id,
        door=Door.HTTP,
        mode=Mode.ONCE if wanted.pay == "once" else Mode.STEPS,
        event_id=None,
        pubkey=pubkey,
        text=wanted.request,
        origin=write_origin(claim_secret),
        btc=services.prices.current(),
        asked_at=at,
        at=at,
        refund_to=wanted.refund_address or None,
    )


async def _made(services: Services, fact: RequestReceived) -> Story | None:
    """The job, with its invoice where it needs one; None where this very fact was refused before.

    Raises:
        Fault: it is refused, or our wallet makes no invoice just now.
    """
    with services.watchers.watching(fact.job_id) as watch:
        outcome, messages = await services.engine.ask(fact)
        if isinstance(outcome, Applied) and outcome.change.new_job is None:
            raise _why_refused(messages)
        return await _invoiced(services, fact.job_id, watch)


async def with_invoice(services: Services, job_id: str, within_s: float | None = None) -> Story:
    """A job that was made, as soon as it has the invoice it waits for.

    Raises:
        Fault: our wallet makes none within this, else within `INVOICE_S`.
    """
    with services.watchers.watching(job_id) as watch:
        story = await _invoiced(services, job_id, watch, within_s)
    return await found(services, job_id) if story is None else story


async def _invoiced(services: Services, job_id: str, watch: Watch, within_s: float | None = None) -> Story | None:
    try:
        async with asyncio.timeout(INVOICE_S if within_s is None else within_s):
            while (story := await services.store.story(job_id)) is not None and _lacks_invoice(story):
                await watch.change()
    except TimeoutError:
        sentence = "Our Lightning wallet is slow to make your invoice: look at the job again in a moment."
        raise Fault(503, "invoice_late", sentence, {"jobId": job_id, "retryAfterSeconds": 5}) from None
    return story


async def _after_a_moment(services: Services, job_id: str) -> Story:
    """The job with its invoice, or without where our wallet makes none just now."""
    with contextlib.suppress(Fault):
        return await with_invoice(services, job_id, within_s=LOOK_S)
    return await found(services, job_id)


def _lacks_invoice(story: Story) -> bool:
    """Whether money is awaited and nothing can be paid yet."""
    return story.job.state in AWAITING and all(
        invoice.state is not InvoiceState.OPEN for invoice in story.invoices
    )


def _why_refused(messages: tuple[Message, ...]) -> Fault:
    refusal = next((message for message in messages if isinstance(message, Refused)), None)
    if refusal is None:
        raise LookupError("a request that made no job was refused without a word")
    return refused(refusal)


async def _followed(services: Services, job_id: str) -> AsyncIterator[bytes]:
    async def show() -> tuple[Story, dict[str, object]]:
        story = await found(services, job_id)
        return story, await shown(services, story)

    async for event in job_events.stream(
        job_id, show=show, watchers=services.watchers, partials=services.partials, clock=services.clock
    ):
        yield event
