"""What the routes of a session share: its rows, its invoices as soon as they are made, a request to its end."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ledger import accounts
from ledger.credit import TopUpRecord
from ledger.money import Msats, sats_down, sats_up
from ledger.records import Applied, Door, InvoiceRecord, InvoiceState, JobState, Mode, RefundRecord
from ledger.sessions import SessionRecord, SessionState
from ledger.store import Story, View
from timmy_dvm.claims import Claims
from timmy_dvm.core.actions import Message, Refused
from timmy_dvm.core.facts import RequestReceived
from timmy_dvm.core.giving_back import claimable, largest
from timmy_dvm.core.pricing import BtcPrice
from timmy_dvm.core.refunds import CLAIMABLE, shown_state
from timmy_dvm.core.session_facts import SessionTopUpAsked
from timmy_dvm.core.settling import cost_ledger
from timmy_dvm.core.transitions import ENDED
from timmy_dvm.http.faults import Fault, refused
from timmy_dvm.http.idempotency import Seed
from timmy_dvm.http.jobs import INVOICE_S
from timmy_dvm.http.services import Services
from timmy_dvm.http.session_keys import SessionKeys
from timmy_dvm.views import invoice_view

REFUSED_BEFORE: Final = 50
_SEEN_S: Final = 5.0
"""Who shows a preimage has paid: within this our wallet's record has to say so too."""
Look = Callable[[str], Awaitable[None]]
"""Reads our wallet's record of an invoice, by its hash, and books what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """What the routes of sessions work with beside what all routes do."""

    services: Services
    keys: SessionKeys
    look: Look
    claims: Claims


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """A session as it stands."""

    session: SessionRecord
    credit: Msats
    deposit: InvoiceRecord | None
    waiting: tuple[TopUpRecord, InvoiceRecord | None] | None
    refunds: tuple[RefundRecord, ...]


def read(view: View, session_id: str) -> Books | None:
    """A session and what is around it, or None."""
    session = view.session(session_id)
    if session is None:
        return None
    deposit, waiting = view.deposit_of(session_id), view.open_topup_of(session_id)

    def invoice(topup: TopUpRecord | None) -> InvoiceRecord | None:
        return None if topup is None or topup.payment_hash is None else view.invoice(topup.payment_hash)

    return Books(
        session=session,
        credit=view.balance(accounts.session(session_id)),
        deposit=invoice(deposit),
        waiting=None if waiting is None else (waiting, invoice(waiting)),
        refunds=tuple(view.refunds_of_session(session_id)),
    )


async def found(services: Services, session_id: str) -> Books:
    """A session by its id.

    Raises:
        Fault: 404, there is none.
    """
    books = await services.store.look(lambda view: read(view, session_id))
    if books is None:
        raise Fault(404, "unknown_session", "There is no such session: open one with POST /api/sessions.")
    return books


async def shown(sessions: Sessions, books: Books) -> dict[str, object]:
    """A session as it is shown to whoever knows its id; its macaroon is there once it was paid for."""
    services, session = sessions.services, books.session
    view: dict[str, object] = {
        "sessionId": session.id,
        "state": str(session.state),
        "balanceSats": sats_down(books.credit),
        "macaroon": None,
        "trust_tier": str(await services.tier_of(session.pubkey)),
    }
    if session.state is SessionState.AWAITING_PAYMENT and books.deposit is not None:
        view["invoice"] = invoice_view(books.deposit)
    if session.state in (SessionState.ACTIVE, SessionState.CLOSED) and books.deposit is not None:
        view["macaroon"] = sessions.keys.macaroon(session.id, books.deposit.payment_hash).to_text()
    if session.state is SessionState.ACTIVE:
        view["payoutSats"] = sats_down(largest(books.credit, services.policy))
        if books.waiting is not None and books.waiting[1] is not None:
            view["pendingTopup"] = invoice_view(books.waiting[1])
    if session.state is SessionState.CLOSED:
        view |= rest(services, books.refunds)
    return view


def rest(services: Services, refunds: tuple[RefundRecord, ...]) -> dict[str, object]:
    """What of a closed session is on its way back, and for how much a BOLT11 must be that claims what is held."""
    return {
        "refundState": shown_state(refunds),
        "refundAmountSats": sum(sats_down(row.invoiced) for row in refunds),
        "maxFeeSats": sum(sats_up(row.max_fee) for row in refunds),
        "claimableSats": [
            sats_down(claimable(row.amount, services.policy)) for row in refunds if row.state in CLAIMABLE
        ],
        "refunds": [
            {"amountSats": sats_down(row.amount), "state": str(row.state), "reason": row.reason} for row in refunds
        ],
    }


async def invoiced(services: Services, topup_id: str) -> InvoiceRecord | None:
    """The invoice of a top-up that was asked for, once our wallet has made it; None where there is no such top-up.

    Raises:
        Fault: our wallet makes none just now.
    """
    with services.watchers.watching(topup_id) as watch:
        try:
            async with asyncio.timeout(INVOICE_S):
                while True:
                    topup, invoice, is_closed = await services.store.look(lambda view: _invoice_of(view, topup_id))
                    if is_closed:
                        raise _closed_meanwhile()
                    if topup is None or invoice is not None:
                        return invoice
                    if topup.ended_at is not None:
                        raise no_invoice()
                    await watch.change()
        except TimeoutError:
            raise no_invoice() from None


def _invoice_of(view: View, topup_id: str) -> tuple[TopUpRecord | None, InvoiceRecord | None, bool]:
    """A top-up, its invoice, and whether what it was to fill is closed."""
    topup = view.topup(topup_id)
    if topup is None:
        return None, None, False
    session = view.session(accounts.owner(topup.account))
    is_closed = session is not None and session.state is SessionState.CLOSED
    return topup, None if topup.payment_hash is None else view.invoice(topup.payment_hash), is_closed


def _closed_meanwhile() -> Fault:
    """The owner closed the session while our wallet made the invoice, which nobody was given: nothing is lost."""
    sentence = (
        "This session was closed meanwhile: there is nothing to pay. Open a new one with POST /api/sessions."
    )
    return Fault(409, "session_closed", sentence)


def no_invoice() -> Fault:
    """Our wallet makes no invoice just now."""
    sentence = "Our Lightning wallet can't make an invoice just now: try again in a moment."
    return Fault(503, "wallet_away", sentence, {"retryAfterSeconds": 5}, {"Retry-After": "5"})


async def top_up(sessions: Sessions, session_id: str, amount: Msats, seed: Seed, life_s: int = 1) -> InvoiceRecord:
    """The invoice of a top-up, a fresh one.

    Raises:
        Fault: it is refused; 409 where one waits already, with that.
    """
    services = sessions.services
    for attempt in range(REFUSED_BEFORE):
        topup_id = seed.id(f"topup-{attempt}")
        fact = SessionTopUpAsked(
            session_id=session_id, topup_id=topup_id, amount=amount, at=services.now(), life_s=life_s
        )
        outcome, messages = await services.engine.ask(fact)
        if isinstance(outcome, Applied) and not outcome.change.topups:
            raise await _not_filled(services, session_id, messages)
        if (invoice := await invoiced(services, topup_id)) is not None:
            return invoice
    raise Fault(409, "refused_before", "This was refused many times: take a fresh Idempotency-Key.")


async def _not_filled(services: Services, session_id: str, messages: tuple[Message, ...]) -> Fault:
    refusal = why(messages)
    if refusal.code != "pending_topup":
        return refused(refusal)
    books = await found(services, session_id)
    if books.waiting is None:
        return refused(refusal)
    invoice = books.waiting[1] or await invoiced(services, books.waiting[0].id)
    return refused(refusal, pendingTopup=None if invoice is None else invoice_view(invoice))


def why(messages: tuple[Message, ...]) -> Refused:
    """The refusal among what was said.

    Raises:
        LookupError: there is none, which is a mistake of ours.
    """
    refusal = next((message for message in messages if isinstance(message, Refused)), None)
    if refusal is None:
        raise LookupError("what was asked of a session was refused without a word")
    return refusal


async def is_booked(sessions: Sessions, payment_hash: str) -> bool:
    """Whether an invoice whose preimage somebody shows is paid by our own wallet's record, within moments."""
    services = sessions.services

    async def it_is() -> bool:
        invoice = await services.store.invoice(payment_hash)
        return invoice is not None and invoice.state is InvoiceState.SETTLED

    with services.watchers.watching(payment_hash) as watch:
        if await it_is():
            return True
        await sessions.look(payment_hash)
        try:
            async with asyncio.timeout(_SEEN_S):
                while not await it_is():
                    await watch.change()
        except TimeoutError:
            return False
    return True


async def served(sessions: Sessions, session_id: str, text: str, btc: BtcPrice, seed: Seed) -> dict[str, object]:
    """A request inside a session, to its end, however long that takes. What it answers is in the ledger: whoever
    asks again from the same seed waits for the same job.

    Raises:
        Fault: it is refused, 402 for want of credit; 400 rejected; 503 the work failed.
    """
    services = sessions.services
    for attempt in range(REFUSED_BEFORE):
        job_id, at = seed.id(f"job-{attempt}"), services.now()
        fact = RequestReceived(
            job_id=job_id,
            door=Door.HTTP,
            mode=Mode.ONCE,
            event_id=None,
            pubkey=None,
            text=text,
            origin="",
            btc=btc,
            asked_at=at,
            at=at,
            session_id=session_id,
        )
        with services.watchers.watching(job_id) as watch:
            outcome, messages = await services.engine.ask(fact)
            if isinstance(outcome, Applied) and outcome.change.new_job is None:
                raise refused(why(messages), **await _balance(services, session_id))
            while (story := await services.store.story(job_id)) is not None:
                if story.job.state in ENDED:
                    return await _ended(services, session_id, story)
                await watch.change()
    raise Fault(409, "refused_before", "This was refused many times: take a fresh Idempotency-Key.")


async def _balance(services: Services, session_id: str) -> dict[str, object]:
    books = await services.store.look(lambda view: read(view, session_id))
    if books is None:
        return {}
    tier = await services.tier_of(books.session.pubkey)
    return {"sessionId": session_id, "balanceSats": sats_down(books.credit), "trust_tier": str(tier)}


async def _ended(services: Services, session_id: str, story: Story) -> dict[str, object]:
    job = story.job
    common = {
        "jobId": job.id,
        **await _balance(services, session_id),
        "debitedSats": sats_up(Msats(job.charge_eval + job.charge_work)),
    }
    if job.state is JobState.REJECTED:
        raise Fault(400, "rejected", job.reason or "The request was rejected.", common)
    if job.state is not JobState.COMPLETE:
        sentence = job.error_message or "The work failed."
        raise Fault(503, "work_failed", f"{sentence} Nothing was debited: ask again.", common)
    answer = {**common, "result": story.texts.result, "costLedger": cost_ledger(job, story.refunds)}
    if job.truncated:
        answer["truncated"] = True
    if job.free_tier:
        answer |= {"free_tier": True, "absorbed_sats": job.absorbed_sats}
    return answer
