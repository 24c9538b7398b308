"""Claiming what a job owes: with a BOLT11, or by LNURL-withdraw with any phone wallet (LUD-03).

Who may claim shows the job's claim secret, or is the job's key; of a job that came as an event only its key is.
The word of a withdrawal (``k1``) is given to nobody else, and is good for one payment.
"""

import asyncio
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from ledger.money import sats_down
from ledger.records import RefundRecord
from ledger.store import Story
from lightning import lnurl
from timmy_dvm.claims import Claim, Claims, is_word
from timmy_dvm.core.actions import Refused
from timmy_dvm.core.refunds import IN_FLIGHT, shown_state
from timmy_dvm.http.answers import Lnurl, RefundMoved, Withdrawal, answers
from timmy_dvm.http.description import ASKER
from timmy_dvm.http.faults import Fault, refused
from timmy_dvm.http.idempotency import Seed
from timmy_dvm.http.job_views import is_claim_secret
from timmy_dvm.http.jobs import JobId, found
from timmy_dvm.http.page_headers import SECURITY_HEADERS
from timmy_dvm.http.pages import qr
from timmy_dvm.http.services import Services
from timmy_dvm.http.wire import Asked, Token, said

WITHDRAW: Final = "/api/lnurl/withdraw"
QR: Final = "/api/lnurl/withdraw.svg"
PAID_S: Final = 3.0
"""Who claims waits no longer than this to hear that the money has arrived."""
_MAX_INVOICE: Final = 4_096
_WHO: Final = {
    400: "The invoice is none, or for another sum.",
    401: "A credential that is none.",
    403: "Neither the claim secret nor the job's key.",
    404: "There is no such job.",
    409: "It was claimed before, or there is nothing to claim.",
}
_REFUND: Final = answers(RefundMoved, "Paid, or on its way.", problems=_WHO)
_WITHDRAWAL: Final = answers(Withdrawal, "An LNURL for it.", problems=_WHO)
_LNURL: Final = answers(Lnurl, "What a wallet expects.")
K1 = Annotated[str, Query(max_length=128)]


class Owner(Asked):
    """What shows whose a job is; a header may do so instead."""

    claim_secret: Annotated[str, Field(max_length=128)] | None = None
    nostr_token: Token | None = Field(None, alias="nostr_token")


class RefundWanted(Owner):
    """``POST /api/jobs/{id}/refund``."""

    invoice: Annotated[str, Field(max_length=_MAX_INVOICE)] = Field(
        "", description="A BOLT11 for exactly the refund's sum."
    )


def routes(services: Services, claims: Claims) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["refunds"])

    @router.post("/api/jobs/{job_id}/refund", responses=_REFUND, openapi_extra=ASKER)
    async def claim(job_id: JobId, wanted: RefundWanted, request: Request) -> Response:
        """Have a refund paid to a BOLT11 for exactly its sum."""
        story, pubkey, by_secret = await _owned(services, job_id, wanted, request)

        async def work(_: Seed) -> Response:
            asked = Claim(job_id=job_id, invoice=wanted.invoice, pubkey=pubkey, by_secret=by_secret)
            return await _claimed(services, claims, story, asked)

        credential = pubkey if wanted.claim_secret is None else wanted.claim_secret
        return await services.idempotency.answer(request, credential, work)

    @router.post("/api/jobs/{job_id}/withdrawal", responses=_WITHDRAWAL, openapi_extra=ASKER)
    async def as_lnurl(job_id: JobId, wanted: Owner, request: Request) -> Response:
        """A refund as an LNURL that any wallet can withdraw, once."""
        story, _, _ = await _owned(services, job_id, wanted, request)
        for row in story.refunds:
            if (offer := offered(services, claims, row)) is not None:
                return said({**offer, "trust_tier": str(await services.tier_of(story.job.pubkey))})
        raise Fault(409, "nothing_owed", "Nothing waits to be claimed for this job: look at it with GET.")

    _add_lnurl(router, services, claims)
    return router


def _add_lnurl(router: APIRouter, services: Services, claims: Claims) -> None:
    @router.get(WITHDRAW, responses=_LNURL)
    async def withdrawal(k1: K1 = "") -> Response:
        """The terms of a withdrawal (LUD-03)."""
        row = await claims.offered(k1)
        if isinstance(row, Refused):
            return said(lnurl.refused(row.sentence))
        callback = f"{services.public_url}{WITHDRAW}/pay"
        return said(
            lnurl.withdraw_terms(callback=callback, k1=k1, amount=claims.sum_of(row), description="Timmy refund")
        )

    @router.get(f"{WITHDRAW}/pay", responses=_LNURL)
    async def withdraw(k1: K1 = "", pr: Annotated[str, Query(max_length=_MAX_INVOICE)] = "") -> Response:
        """Have a withdrawal paid (LUD-03)."""
        row = await claims.withdraw(k1, pr)
        return said(lnurl.refused(row.sentence) if isinstance(row, Refused) else lnurl.done())

    @router.get(QR, include_in_schema=False)
    async def code(k1: K1 = "") -> Response:
        """A withdrawal as a picture: what is drawn is ours. Whether it is good the wallet hears."""
        headers = {**SECURITY_HEADERS, "Cache-Control": "no-store"}
        if not is_word(k1):
            return Response("There is nothing to draw.", 404, headers, "text/plain; charset=utf-8")
        picture = qr.svg(lnurl.encode(_withdrawal_url(services, k1.lower())))
        return Response(picture, 200, headers, "image/svg+xml")


def offered(services: Services, claims: Claims, row: RefundRecord) -> dict[str, object] | None:
    """A refund as an LNURL for whoever may claim it; None where nobody may just now."""
    word = claims.word_for(row)
    if word is None:
        return None
    return {
        "lnurl": lnurl.encode(_withdrawal_url(services, word)),
        "amountSats": sats_down(claims.sum_of(row)),
        "qr": f"{QR}?{urlencode({'k1': word})}",
    }


def _withdrawal_url(services: Services, word: str) -> str:
    return f"{services.public_url}{WITHDRAW}?{urlencode({'k1': word})}"


async def _owned(
    services: Services, job_id: str, wanted: Owner, request: Request
) -> tuple[Story, str | None, bool]:
    """The job, the key that asks, and whether it was the claim secret that was shown.

    Raises:
        Fault: 401 for a bad credential, 403 for none that opens this job, 404 where there is no job.
    """
    pubkey = await services.asker(request, wanted.nostr_token)
    story = await found(services, job_id)
    by_secret = wanted.claim_secret is not None and is_claim_secret(story.texts.origin, wanted.claim_secret)
    if not by_secret and (pubkey is None or pubkey != story.job.pubkey):
        sentence = "A refund is claimed with the job's claimSecret, or by the key that asked for the job."
        raise Fault(403, "not_yours", sentence)
    return story, pubkey, by_secret


async def _claimed(services: Services, claims: Claims, story: Story, asked: Claim) -> Response:
    with services.watchers.watching(asked.job_id) as watch:
        row = await claims.claim(asked)
        if isinstance(row, Refused):
            raise refused(row)
        try:
            async with asyncio.timeout(PAID_S):
                while (row := await _now(services, row)).state in IN_FLIGHT:
                    await watch.change()
        except TimeoutError:
            pass  # it is on its way, and the job tells when it has arrived
    tier = str(await services.tier_of(story.job.pubkey))
    body = {"refundState": shown_state((row,)), "refundAmountSats": sats_down(row.sendable), "trust_tier": tier}
    return said(body)


async def _now(services: Services, row: RefundRecord) -> RefundRecord:
    newest = await services.store.look(lambda view: view.refund(row.id))
    return row if newest is None else newest
