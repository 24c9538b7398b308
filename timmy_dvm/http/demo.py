"""``/api/demo``: one short answer for nothing, a few an hour for an address and few a day for all.

Who asks for events (`Accept: text/event-stream`) sees it while it is written; everybody else gets one object.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response

from ledger.records import Door
from timmy_dvm.agent.runner import AgentError, Answer
from timmy_dvm.agent.runner import Refused as Declined
from timmy_dvm.clock import Clock
from timmy_dvm.core import refusing
from timmy_dvm.free_answers import FreeAnswers, NoFreeAnswer
from timmy_dvm.http.answers import RATE_HEADERS, Tried, answers
from timmy_dvm.http.description import ASKER
from timmy_dvm.http.faults import Fault, refused
from timmy_dvm.http.hourly import PerHour, Standing
from timmy_dvm.http.services import Services
from timmy_dvm.http.streams import EventStream
from timmy_dvm.http.wire import MAX_TEXT, said
from timmy_dvm.partials import Stream

EVENTS: Final = "text/event-stream"
PAUSE_S: Final = 0.25
"""Between two looks at what is written."""
_ANSWERS: Final = answers(
    Tried,
    "The answer, in `result`. As events, for who accepts them: `partial` with `{text}`, then `result` or `error`.",
    headers=RATE_HEADERS,
    problems={
        400: "There is no request, or more than 500 characters of it.",
        401: "A credential that is none, or has ended.",
        429: "No more free answers, for this address or for today.",
    },
)
_ANSWERS[429]["headers"] = RATE_HEADERS
_ANSWERS[200]["content"] = {EVENTS: {"schema": {"type": "string"}}}


def routes(services: Services, free: FreeAnswers, allowance: PerHour) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["demo"])
    writing: set[asyncio.Task[Answer]] = set()

    @router.get("/api/demo", responses=_ANSWERS, openapi_extra=ASKER)
    async def demo(
        request: Request, text: Annotated[str, Query(alias="request", max_length=MAX_TEXT)] = ""
    ) -> Response:
        """A free try: one short answer."""
        tier = str(await services.tier_of(await services.asker(request)))
        if (refusal := refusing.no_request(text, Door.HTTP, services.policy)) is not None:
            raise refused(refusal, trust_tier=tier)
        address = services.addresses.bucket(request)
        standing = allowance.take(address)
        if not standing.granted:
            raise _too_many(standing, services)
        # Where no more streams may be open, one object is better than none.
        wants_events = EVENTS in request.headers.get("accept", "") and not services.streams.is_full
        stream = Stream("")
        asked = asyncio.ensure_future(free.demo(text.strip(), stream.hear))
        # Whoever hangs up leaves it to its end: what it costs is booked then.
        writing.add(asked)
        asked.add_done_callback(lambda done: _over(done, writing, stream))
        try:
            if wants_events and await stream.newer(0) is not None:
                events = _events(asked, stream, services.clock, tier)
                return EventStream(events, services.streams, standing.headers)
            answer = await asyncio.shield(asked)
        except NoFreeAnswer as none:
            allowance.give_back(address)
            fields, headers = {"retryAfterSeconds": none.retry_after_s}, {"Retry-After": str(none.retry_after_s)}
            raise Fault(429, "free_answers_gone", str(none), fields, {**standing.headers, **headers}) from None
        except AgentError as error:
            raise _no_answer(error, standing) from None
        body = {"result": answer.text, "trust_tier": tier}
        if wants_events:
            return EventStream(_one("result", body), services.streams, standing.headers)
        return said(body, headers=standing.headers)

    return router


async def _events(
    asked: "asyncio.Future[Answer]", stream: Stream, clock: Clock, tier: str
) -> AsyncIterator[bytes]:
    """What is written so far, four times a second at most; then the answer, or why there is none."""
    seen = 0
    while (version := await stream.newer(seen)) is not None:
        seen = version
        yield _event("partial", {"text": stream.text})
        await clock.sleep(PAUSE_S)
    try:
        answer = await asyncio.shield(asked)
    except AgentError as error:
        fault = _no_answer(error)
        yield _event("error", {"error": fault.sentence, "code": fault.code, "trust_tier": tier})
    else:
        yield _event("result", {"result": answer.text, "trust_tier": tier})


async def _one(name: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    yield _event(name, body)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


def _over(asked: "asyncio.Task[Answer]", writing: "set[asyncio.Task[Answer]]", stream: Stream) -> None:
    writing.discard(asked)
    stream.end()
    if not asked.cancelled():
        asked.exception()  # who asked has heard it, or is gone


def _no_answer(error: AgentError, standing: Standing | None = None) -> Fault:
    headers = {} if standing is None else standing.headers
    if isinstance(error, Declined):
        return Fault(400, "rejected", str(error), headers=headers)
    return Fault(503, "work_failed", str(error), headers=headers)


def _too_many(standing: Standing, services: Services) -> Fault:
    wait_s = max(1, standing.reset_at - services.now())
    headers = {**standing.headers, "Retry-After": str(wait_s)}
    sentence = "That was all that is free this hour: ask for the whole answer, for a few sats."
    return Fault(429, "rate_limited", sentence, {"retryAfterSeconds": wait_s}, headers)
