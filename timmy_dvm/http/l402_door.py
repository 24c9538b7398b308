"""``/api/sessions/request``: a session that any L402 client can use, without knowing that there are sessions.

Who shows no credential gets 402 with a fresh session's macaroon and the invoice of its deposit, before what they
ask is judged. Paid, the same request is served out of the session; what is left stays there, for the next. When it
is too little, 402 comes with a macaroon of the same session and the invoice of a top-up: the client pays, and goes
on. Nothing runs before it is paid for. A tampered macaroon, or a wrong preimage, is 401.
"""

import hashlib
from collections import OrderedDict
from http import HTTPStatus
from typing import Final

import msgspec
from fastapi import APIRouter, Request, Response

from ledger.money import msats_from_sats, sats_down
from ledger.records import Door, InvoiceRecord
from ledger.sessions import SessionState
from lightning import l402
from timmy_dvm.core.actions import OperationDone
from timmy_dvm.core.facts import Op, QuestionAsked
from timmy_dvm.core.pricing import BtcPrice
from timmy_dvm.http.faults import Fault
from timmy_dvm.http.idempotency import Seed
from timmy_dvm.http.services import Services
from timmy_dvm.http.session_answers import ASKED, LOOKED
from timmy_dvm.http.session_keys import Shown
from timmy_dvm.http.session_work import Books, Sessions, found, is_booked, read, served, shown, top_up
from timmy_dvm.http.sessions import opened
from timmy_dvm.http.wire import MAX_TEXT, said
from timmy_dvm.views import invoice_view

PATH: Final = "/api/sessions/request"
BALANCE: Final = "X-Balance-Sats"
_LIFE_S: Final = 60
"""An invoice with less life left is not handed out a second time."""
_QUOTES: Final = 10_000


class _Body(msgspec.Struct):
    request: str = ""


class _Served(msgspec.Struct):
    balance: int = msgspec.field(name="balanceSats")


_decode: Final = msgspec.json.Decoder(_Body).decode
_served: Final = msgspec.json.Decoder(_Served).decode


class Quotes:
    """At which bitcoin price a request was asked to pay, so that what is paid covers it. Kept in memory."""

    def __init__(self) -> None:
        self._prices: OrderedDict[tuple[str, str], tuple[BtcPrice, int]] = OrderedDict()

    def note(self, session_id: str, digest: str, price: BtcPrice, until: int) -> None:
        """This request, paid for within this session until then, has this price."""
        self._prices[session_id, digest] = (price, until)
        if len(self._prices) > _QUOTES:
            self._prices.popitem(last=False)

    def of(self, session_id: str, digest: str, now: int) -> BtcPrice | None:
        """The price of this request in this session, while it holds."""
        price, until = self._prices.get((session_id, digest), (None, 0))
        return price if now <= until else None


def routes(sessions: Sessions) -> APIRouter:
    """The routes of this door; they come before those of one session, whose id could be anything."""
    router = APIRouter(tags=["sessions"])
    door = _Door(sessions)

    @router.get(PATH, responses=LOOKED)
    async def look(request: Request) -> Response:
        """402 without a credential; with one, the session as it stands."""
        return await door.look(request)

    @router.post(PATH, responses=ASKED)
    async def ask(request: Request) -> Response:
        """Have a request done. 402 says how to pay for it; then ask the same again, with the credential."""
        return await door.ask(request)

    return router


class _Door:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._quotes = Quotes()

    @property
    def _services(self) -> Services:
        return self._sessions.services

    async def look(self, request: Request) -> Response:
        books = await self._books(request)
        if books is None:
            return await self._challenge(request)
        return said(await shown(self._sessions, books), headers={BALANCE: str(sats_down(books.credit))})

    async def ask(self, request: Request) -> Response:
        books = await self._books(request)
        if books is None:
            return await self._challenge(request)
        session_id, text, digest = books.session.id, await self._text(request), await _digest(request)
        btc = self._quotes.of(session_id, digest, self._services.now()) or self._services.prices.current()

        async def work(seed: Seed) -> Response:
            try:
                body = await served(self._sessions, session_id, text, btc, seed)
            except Fault as fault:
                if fault.status != 402:  # noqa: PLR2004 - payment required
                    raise
                return await self._more(request, books, fault)
            return said(body)

        answer = await self._services.idempotency.answer(request, session_id, work)
        if answer.status_code == HTTPStatus.OK:
            answer.headers[BALANCE] = str(_served(answer.body).balance)
        return answer

    async def _books(self, request: Request) -> Books | None:
        """The session that a request shows the key of and that is open; None: it has to pay for a new one."""
        for each in self._sessions.keys.shown(request) or ():
            books = await self._of(each)
            if books is not None and books.session.state is SessionState.ACTIVE:
                return books
        return None

    async def _of(self, credential: Shown) -> Books | None:
        session_id = credential.session_id
        if credential.is_paid_for and not await is_booked(self._sessions, credential.payment_hash):
            books = await self._services.store.look(lambda view: read(view, session_id))
            if books is not None and books.session.state is not SessionState.ACTIVE:
                sentence = "Your payment has not arrived in our wallet's record yet: ask again in a moment."
                raise Fault(503, "payment_unseen", sentence, {"retryAfterSeconds": 2}, {"Retry-After": "2"})
        return await self._services.store.look(lambda view: read(view, session_id))

    async def _challenge(self, request: Request) -> Response:
        """402 with a fresh session. Whose key is known by a token or NIP-98 opens it for that key."""
        services = self._services
        pubkey = None if self._sessions.keys.shown(request) else await services.asker(request)
        price = services.prices.current()
        sats = await self._estimate(await self._text(request), pubkey)
        seed = services.idempotency.fresh()
        body = await opened(self._sessions, sats, pubkey, services.addresses.bucket(request), seed)
        books = await found(services, str(body["sessionId"]))
        if books.deposit is None:
            raise LookupError("a session that was opened has an invoice")
        sentence = f"Pay {sats} sats, then ask the same again with `Authorization: L402 <macaroon>:<preimage>`."
        return await self._payment_required(request, books, books.deposit, price, sentence)

    async def _more(self, request: Request, books: Books, fault: Fault) -> Response:
        """402 with a top-up of the same session: a fresh one, or the one that waits."""
        price = self._services.prices.current()
        session_id = books.session.id
        sats = await self._estimate(await self._text(request), books.session.pubkey)
        try:
            seed = self._services.idempotency.fresh()
            invoice = await top_up(self._sessions, session_id, msats_from_sats(sats), seed, _LIFE_S)
        except Fault as refusal:
            if refusal.code != "pending_topup":
                raise
            again = await found(self._services, session_id)
            if again.waiting is None or again.waiting[1] is None:
                raise
            invoice = again.waiting[1]
        return await self._payment_required(request, books, invoice, price, fault.sentence)

    async def _payment_required(
        self, request: Request, books: Books, invoice: InvoiceRecord, price: BtcPrice, sentence: str
    ) -> Response:
        session = books.session
        self._quotes.note(session.id, await _digest(request), price, invoice.expires_at)
        macaroon = self._sessions.keys.macaroon(session.id, invoice.payment_hash)
        body = {
            "error": sentence,
            "code": "payment_required",
            "sessionId": session.id,
            "balanceSats": sats_down(books.credit),
            "macaroon": macaroon.to_text(),
            "invoice": invoice_view(invoice),
            "trust_tier": str(await self._services.tier_of(session.pubkey)),
        }
        return said(body, 402, {"WWW-Authenticate": l402.challenge(macaroon, invoice.bolt11)})

    async def _text(self, request: Request) -> str:
        """What is asked, as far as it can be read: nothing is refused for it before it is paid for."""
        if request.method == "GET":
            return request.query_params.get("request", "")[:MAX_TEXT]
        try:
            return _decode(await request.body()).request
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return ""

    async def _estimate(self, text: str, pubkey: str | None) -> int:
        """What to ask for: the price of what is asked, in whole sats, within the bounds of a deposit."""
        services = self._services
        question = QuestionAsked(
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
        answer = await services.engine.peek(question)
        sats = answer.body.get("estimatedSats") if isinstance(answer, OperationDone) else None
        least, most = sats_down(services.policy.session_min), sats_down(services.policy.session_max)
        return max(least, min(most, sats if isinstance(sats, int) else 0))


async def _digest(request: Request) -> str:
    """What was asked: method, path and body."""
    told = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(told + await request.body()).hexdigest()
