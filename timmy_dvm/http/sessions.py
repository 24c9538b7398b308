"""``/api/sessions``: prepaid credit with a macaroon as its key. Opened, looked at, used, filled, closed."""

import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Request, Response

from ledger.money import msats_from_sats
from ledger.records import Applied, InvoiceRecord
from ledger.sessions import SessionState
from lightning import bolt11
from lightning.errors import InvalidInvoice
from timmy_dvm.core.actions import OperationDone, Refused
from timmy_dvm.core.session_facts import SessionAsked, SessionCloseAsked
from timmy_dvm.http.description import ASKER, HOLDER
from timmy_dvm.http.faults import Fault, refused
from timmy_dvm.http.idempotency import Seed
from timmy_dvm.http.refunds import offered
from timmy_dvm.http.session_answers import CLOSED, FILLED, MADE, SERVED, SHOWN, WITHDRAWN
from timmy_dvm.http.session_keys import unauthorized
from timmy_dvm.http.session_work import (
    REFUSED_BEFORE,
    Books,
    Sessions,
    found,
    invoiced,
    is_booked,
    served,
    shown,
    top_up,
    why,
)
from timmy_dvm.http.wire import CloseWanted, CreditWanted, SessionRequest, SessionWanted, said
from timmy_dvm.payees import why_not_address
from timmy_dvm.views import invoice_view

SessionId = Annotated[str, Path(max_length=64)]


def routes(sessions: Sessions) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["sessions"])
    holding = _holding(sessions)

    @router.post("/api/sessions", status_code=201, responses=MADE, openapi_extra=ASKER)
    async def start(wanted: SessionWanted, request: Request) -> Response:
        """Open a session: 201 with the invoice of its deposit. Once that is paid it has its macaroon."""
        pubkey = await sessions.services.asker(request, wanted.nostr_token)

        async def work(seed: Seed) -> Response:
            body = await opened(
                sessions, wanted.amount_sats, pubkey, sessions.services.addresses.bucket(request), seed
            )
            return said(body, 201)

        return await sessions.services.idempotency.answer(request, pubkey, work)

    @router.get("/api/sessions/{session_id}", responses=SHOWN)
    async def show(session_id: SessionId, request: Request) -> Response:
        """A session as it stands. Its id can't be guessed."""
        sessions.keys.shown(request)  # whoever knows the id may look, but a credential that is none is told so
        return said(await shown(sessions, await found(sessions.services, session_id)))

    @router.post(
        "/api/sessions/{session_id}/request", responses=SERVED, openapi_extra=HOLDER, dependencies=holding
    )
    async def ask(session_id: SessionId, wanted: SessionRequest, request: Request) -> Response:
        """Have a request done, paid out of the session; answered when it is done."""

        async def work(seed: Seed) -> Response:
            body = await served(sessions, session_id, wanted.request, sessions.services.prices.current(), seed)
            return said(body)

        return await sessions.services.idempotency.answer(request, session_id, work)

    @router.post(
        "/api/sessions/{session_id}/topup",
        status_code=201,
        responses=FILLED,
        openapi_extra=HOLDER,
        dependencies=holding,
    )
    async def fill(session_id: SessionId, wanted: CreditWanted, request: Request) -> Response:
        """An invoice that fills the session; one at a time."""

        async def work(seed: Seed) -> Response:
            invoice = await top_up(sessions, session_id, msats_from_sats(wanted.amount_sats), seed)
            tier = await sessions.services.tier_of((await found(sessions.services, session_id)).session.pubkey)
            body = {"sessionId": session_id, "invoice": invoice_view(invoice), "trust_tier": str(tier)}
            return said(body, 201)

        return await sessions.services.idempotency.answer(request, session_id, work)

    _add_ways_out(router, sessions)
    return router


def _holding(sessions: Sessions) -> list[Any]:
    """Who asks holds the session: seen before the body is, so nobody else hears what is wrong with it."""

    async def holds(session_id: SessionId, request: Request) -> None:
        await held(sessions, request, session_id)

    return [Depends(holds)]


def _add_ways_out(router: APIRouter, sessions: Sessions) -> None:
    holding = _holding(sessions)

    @router.delete("/api/sessions/{session_id}", responses=CLOSED, openapi_extra=HOLDER, dependencies=holding)
    async def close(
        session_id: SessionId, request: Request, wanted: Annotated[CloseWanted | None, Body()] = None
    ) -> Response:
        """Close the session; its rest is sent to an invoice, or held until one is sent here."""

        async def work(seed: Seed) -> Response:
            return said(await _closed(sessions, session_id, wanted or CloseWanted(), seed))

        return await sessions.services.idempotency.answer(request, session_id, work)

    @router.post(
        "/api/sessions/{session_id}/withdrawal",
        responses=WITHDRAWN,
        openapi_extra=HOLDER,
        dependencies=holding,
    )
    async def withdraw(session_id: SessionId) -> Response:
        """What is held of a closed session as an LNURL that any wallet can withdraw, once."""
        books = await found(sessions.services, session_id)
        offer = next(iter(_ways_back(sessions, books)), None)
        if offer is None:
            raise Fault(
                409, "nothing_owed", "Nothing is held of this session: close it first, or look at it with GET."
            )
        return said({**offer, "trust_tier": str(await sessions.services.tier_of(books.session.pubkey))})


def _ways_back(sessions: Sessions, books: Books) -> list[dict[str, object]]:
    """Each sum that is held of a closed session, as an LNURL; the largest first."""
    if books.session.state is not SessionState.CLOSED:
        return []
    rows = sorted(books.refunds, key=lambda row: row.amount, reverse=True)
    offers = (offered(sessions.services, sessions.claims, row) for row in rows)
    return [offer for offer in offers if offer is not None]


async def opened(sessions: Sessions, sats: int, pubkey: str | None, address: str, seed: Seed) -> dict[str, object]:
    """A session that was opened, with the invoice of its deposit.

    Raises:
        Fault: it is refused, or our wallet makes no invoice just now.
    """
    services = sessions.services
    for attempt in range(REFUSED_BEFORE):
        session_id, topup_id = seed.id(f"session-{attempt}"), seed.id(f"deposit-{attempt}")
        fact = SessionAsked(
            session_id=session_id,
            topup_id=topup_id,
            pubkey=pubkey,
            amount=msats_from_sats(sats),
            at=services.now(),
        )
        services.open_places.take(address, topup_id)
        try:
            invoice = await _deposit(sessions, fact)
        except BaseException:
            services.open_places.leave(topup_id)
            raise
        if invoice is None:
            services.open_places.leave(topup_id)
            continue  # this id was used, and refused: the key is tried again
        session = (await found(services, session_id)).session
        return {
            "sessionId": session_id,
            "state": str(session.state),
            "invoice": invoice_view(invoice),
            "trust_tier": str(await services.tier_of(pubkey)),
        }
    raise Fault(409, "refused_before", "This was refused many times: take a fresh Idempotency-Key.")


async def _deposit(sessions: Sessions, fact: SessionAsked) -> InvoiceRecord | None:
    """The invoice of a session that is asked for; None where this very fact was refused before."""
    outcome, messages = await sessions.services.engine.ask(fact)
    if isinstance(outcome, Applied) and outcome.change.session is None:
        raise refused(why(messages))
    return await invoiced(sessions.services, fact.topup_id)


async def held(sessions: Sessions, request: Request, session_id: str) -> None:
    """See that whoever asks holds this session.

    Raises:
        Fault: 401, no credential, a broken one, or another session's; 404, there is no such session.
    """
    shown_ones = sessions.keys.shown(request)
    if shown_ones is None:
        sentence = (
            "Send the session's macaroon: `Authorization: Bearer <macaroon>`, or `L402 <macaroon>:<preimage>`."
        )
        raise unauthorized(sentence)
    mine = [each for each in shown_ones if each.session_id == session_id]
    if not mine:
        raise unauthorized("That macaroon is of another session: send the one of this session.")
    await found(sessions.services, session_id)
    for each in mine:
        if each.is_paid_for:
            await is_booked(sessions, each.payment_hash)


async def _closed(sessions: Sessions, session_id: str, wanted: CloseWanted, seed: Seed) -> dict[str, object]:
    services = sessions.services
    for attempt in range(REFUSED_BEFORE):
        fact = _close_fact(sessions, session_id, wanted, seed.id(f"close-{attempt}"))
        outcome, messages = await services.engine.ask(fact)
        if any(isinstance(message, Refused) for message in messages):
            raise refused(why(messages))
        books = await found(services, session_id)
        if isinstance(outcome, Applied) or books.session.ended_at is not None:
            said_then = next((m.body for m in messages if isinstance(m, OperationDone)), {})
            ways = {"withdrawals": back} if (back := _ways_back(sessions, books)) else {}
            return {**await shown(sessions, books), **said_then, **ways}
        # Under this very seed it was refused before: once more, as if it were new.
    raise Fault(409, "refused_before", "This was refused many times: take a fresh Idempotency-Key.")


def _close_fact(sessions: Sessions, session_id: str, wanted: CloseWanted, refund_id: str) -> SessionCloseAsked:
    if wanted.refund_address is not None and (bad := why_not_address(wanted.refund_address)) is not None:
        raise Fault(400, "bad_refund_address", bad)
    fact = SessionCloseAsked(
        session_id=session_id, refund_id=refund_id, at=sessions.services.now(), refund_to=wanted.refund_address
    )
    if wanted.invoice is None:
        return fact
    try:
        invoice = bolt11.decode(wanted.invoice)
    except InvalidInvoice as error:
        raise Fault(400, "bad_invoice", str(error)) from None
    return dataclasses.replace(
        fact,
        bolt11=wanted.invoice.strip().lower().removeprefix("lightning:"),
        payment_hash=invoice.payment_hash,
        amount=invoice.amount_msat,
        rail_ok=invoice.network == sessions.services.network,
        expires_at=invoice.expires_at,
    )
