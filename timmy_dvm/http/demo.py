"""``/api/demo``: one short answer for nothing, a few an hour for an address and few a day for all."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from ledger.records import Door
from timmy_dvm.agent.runner import AgentError
from timmy_dvm.agent.runner import Refused as Declined
from timmy_dvm.clock import Clock
from timmy_dvm.core import refusing
from timmy_dvm.free_answers import FreeAnswers, NoFreeAnswer
from timmy_dvm.http.answers import RATE_HEADERS, Tried, answers
from timmy_dvm.http.faults import Fault, refused
from timmy_dvm.http.services import Services
from timmy_dvm.http.wire import MAX_TEXT, said

HOUR_S: Final = 3_600
ADDRESSES: Final = 10_000
"""Remembered at one time; the one longest quiet is forgotten first."""

_ANSWERS: Final = answers(
    Tried,
    "The answer, in `result`.",
    headers=RATE_HEADERS,
    problems={
        400: "There is no request, or more than 500 characters of it.",
        429: "No more free answers, for this address or for today.",
    },
)
_ANSWERS[429]["headers"] = RATE_HEADERS


@dataclass(frozen=True, slots=True)
class Standing:
    """How an address stands: whether it may have one more, and what is told about that."""

    granted: bool
    limit: int
    left: int
    reset_at: int

    @property
    def headers(self) -> dict[str, str]:
        """As they go with the answer."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.left),
            "X-RateLimit-Reset": str(self.reset_at),
        }


class PerHour:
    """At most so many for each address, over any hour. Kept in memory: a new start gives it anew.

    Args:
        limit: how many.
        clock: its monotonic time counts, its wall clock is told.
    """

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._taken: OrderedDict[str, list[float]] = OrderedDict()

    def take(self, address: str) -> Standing:
        """Take one, if there is one left."""
        now = self._clock.monotonic()
        taken = [at for at in self._taken.get(address, ()) if now - at < HOUR_S]
        granted = len(taken) < self._limit
        if granted:
            taken.append(now)
            self._taken[address] = taken
            self._taken.move_to_end(address)
            if len(self._taken) > ADDRESSES:
                self._taken.popitem(last=False)
        wait_s = HOUR_S - (now - taken[0]) if taken else HOUR_S
        left = max(0, self._limit - len(taken))
        return Standing(granted, self._limit, left, math.ceil(self._clock.now() + wait_s))

    def give_back(self, address: str) -> None:
        """The one taken last brought no answer."""
        if self._taken.get(address):
            self._taken[address].pop()


def routes(services: Services, free: FreeAnswers, allowance: PerHour) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["demo"])

    @router.get("/api/demo", responses=_ANSWERS)
    async def demo(
        request: Request, text: Annotated[str, Query(alias="request", max_length=MAX_TEXT)] = ""
    ) -> Response:
        """A free try: one short answer."""
        if (refusal := refusing.no_request(text, Door.HTTP, services.policy)) is not None:
            raise refused(refusal)
        address = services.addresses.bucket(request)
        standing = allowance.take(address)
        if not standing.granted:
            raise _too_many(
                "That was all that is free this hour: ask for the whole answer, for a few sats.",
                standing,
                services,
            )
        try:
            answer = await free.demo(text.strip())
        except NoFreeAnswer as none:
            allowance.give_back(address)
            fields, headers = {"retryAfterSeconds": none.retry_after_s}, {"Retry-After": str(none.retry_after_s)}
            raise Fault(429, "free_answers_gone", str(none), fields, {**standing.headers, **headers}) from None
        except Declined as declined:
            raise Fault(400, "rejected", str(declined), headers=standing.headers) from None
        except AgentError as error:
            raise Fault(503, "work_failed", str(error), headers=standing.headers) from None
        return said({"result": answer.text, "trust_tier": "anonymous"}, headers=standing.headers)

    return router


def _too_many(sentence: str, standing: Standing, services: Services) -> Fault:
    wait_s = max(1, standing.reset_at - services.now())
    headers = {**standing.headers, "Retry-After": str(wait_s)}
    return Fault(429, "rate_limited", sentence, {"retryAfterSeconds": wait_s}, headers)
