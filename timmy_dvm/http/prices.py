"""``/api/estimate`` and ``/api/pool``: what something would cost, and what the pool has. Both change nothing."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from ledger.money import sats_down
from ledger.records import Door
from timmy_dvm import views
from timmy_dvm.core.actions import OperationDone, Refused
from timmy_dvm.core.facts import Op, QuestionAsked
from timmy_dvm.core.trust import DAY_S, Tier
from timmy_dvm.http.answers import Estimate, answers
from timmy_dvm.http.description import ASKER
from timmy_dvm.http.faults import refused
from timmy_dvm.http.pool_answers import PoolBooks
from timmy_dvm.http.services import Services
from timmy_dvm.http.wire import MAX_TEXT, said

POOL_ENTRIES = 50
_ESTIMATE: Final = answers(
    Estimate,
    "The price, and who would pay it; nothing changes.",
    problems={400: "No request, or too long a one.", 401: "A credential that is none, or has ended."},
)
_POOL: Final = answers(PoolBooks, "The books.", problems={401: "A credential that is none, or has ended."})


def routes(services: Services) -> APIRouter:
    """The routes of these resources."""
    router = APIRouter(tags=["prices"])

    @router.get("/api/estimate", responses=_ESTIMATE, openapi_extra=ASKER)
    async def estimate(
        request: Request, text: Annotated[str, Query(alias="request", max_length=MAX_TEXT)] = ""
    ) -> Response:
        """What a request would cost, and who would pay it."""
        pubkey = await services.asker(request)
        answer = await services.engine.peek(_question(services, text, pubkey))
        if isinstance(answer, Refused):
            raise refused(answer)
        if not isinstance(answer, OperationDone):
            raise TypeError("an estimate is answered by a price or a refusal")
        body = {name: value for name, value in answer.body.items() if name != "op"}
        return said({**body, "trust_tier": str(await services.tier_of(pubkey))})

    @router.get("/api/pool", responses=_POOL, openapi_extra=ASKER)
    async def pool(request: Request) -> Response:
        """The pool's public books."""
        tier, now = await services.tier_of(await services.asker(request)), services.now()
        books = await services.store.pool(since=now - now % DAY_S, limit=POOL_ENTRIES)
        budgets = {
            str(tier): sats_down(services.policy.daily_budgets.of(tier))
            for tier in Tier
            if tier is not Tier.ANONYMOUS
        }
        return said({**views.pool_view(books, budgets), "trust_tier": str(tier)})

    return router


def _question(services: Services, text: str, pubkey: str | None) -> QuestionAsked:
    return QuestionAsked(
        event_id="",
        op=Op.ESTIMATE,
        door=Door.HTTP,
        pubkey=pubkey,
        npub="",
        origin="",
        btc=services.prices.current(),
        at=services.now(),
        text=text,
    )
