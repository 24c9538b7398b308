"""Giving to the pool, and being found by name: LNURL-pay (LUD-06, LUD-12, LUD-16), zaps (NIP-57), and NIP-05.

    /.well-known/lnurlp/{name}   what is taken, at the addresses `pool@…` and Timmy's own name
    /api/lnurl/pay/{name}        an invoice of that sum: all that comes for it goes to the pool
    /.well-known/nostr.json      whose key Timmy's name is

A refusal is `{"status":"ERROR","reason":…}` with HTTP's 200, as the LUDs spell it. Web pages of every origin may
ask, for wallets are web pages too, and nothing here is anybody's secret. Gifts that wait for payment have places
of their own (`core.donating`), and an address a few of them.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

import msgspec
from fastapi import APIRouter, Request, Response

from ledger.accounts import POOL
from ledger.money import MSATS_PER_SAT, Msats, sats_down
from ledger.records import Applied, InvoiceRecord, InvoiceState
from lightning import lnurl
from timmy_dvm.core.actions import Refused
from timmy_dvm.core.donation_facts import DonationAsked
from timmy_dvm.core.transitions import AWAITING
from timmy_dvm.http.answers import answers
from timmy_dvm.http.faults import Fault
from timmy_dvm.http.open_places import OpenPlaces
from timmy_dvm.http.pool_answers import NamedKeys, PayRequest, PaySent
from timmy_dvm.http.services import Services
from timmy_dvm.http.session_work import invoiced
from timmy_dvm.log import get_logger
from timmy_dvm.nostr.zaps import InvalidZap, Zap, read_comment, read_zap, write_note

POOL_NAME: Final = "pool"
ANYBODY: Final = "_"
"""The name of a domain itself (NIP-05)."""
MAX_COMMENT_CHARS: Final = 140
GIFTS_PER_ADDRESS: Final = 5
"""Unpaid ones."""
_OPEN: Final = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
_AMOUNT: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_NOBODY: Final = "There is no such Lightning address here."
_AWAY: Final = "Our Lightning wallet can't make an invoice just now: try again in a moment."
log = get_logger("giving")


@dataclass(frozen=True, slots=True, kw_only=True)
class Giving:
    """What these routes work with beside what all routes do.

    Attributes:
        name: Timmy's own, as the first part of an address; None: only the pool's is known.
        public_key: ours, hex.
        relays: where we listen.
        places: how many unpaid gifts an address has.
    """

    name: str | None
    public_key: str
    relays: tuple[str, ...]
    places: OpenPlaces

    @property
    def names(self) -> frozenset[str]:
        """The names at which something may be given."""
        return frozenset({POOL_NAME} if self.name is None else {POOL_NAME, self.name})


class NoGift(Exception):
    """There will be no invoice; the sentence says why."""


def routes(services: Services, giving: Giving) -> APIRouter:
    """The routes of this resource."""
    router = APIRouter(tags=["giving"])

    @router.get("/.well-known/lnurlp/{name}", responses=answers(PayRequest, "What is taken; or why nothing is."))
    async def terms(name: str) -> Response:
        """What a Lightning address takes (LUD-06, LUD-16), comments and zaps included."""
        return _said(_told(services, giving, name)) if name in giving.names else _refused(_NOBODY)

    @router.get("/api/lnurl/pay/{name}", responses=answers(PaySent, "The invoice; or why there is none."))
    async def callback(
        name: str, request: Request, amount: str = "", comment: str = "", nostr: str = ""
    ) -> Response:
        """An invoice of so many msat (LUD-06): a gift to the pool, with a comment (LUD-12), or a zap (NIP-57)."""
        try:
            fact = await _gift(services, giving, _Wanted(name, amount, comment, nostr))
            invoice = await _invoiced(services, giving, fact, services.addresses.bucket(request))
        except NoGift as refusal:
            return _refused(str(refusal))
        except Fault as fault:  # too many of this address wait, or our wallet is away
            return _refused(fault.sentence)
        return _said(lnurl.pay_invoice(invoice.bolt11))

    @router.get("/.well-known/nostr.json", responses=answers(NamedKeys, "The keys of the names asked for."))
    async def names(name: str = "") -> Response:
        """Whose key a name is (NIP-05)."""
        known = {known: giving.public_key for known in (ANYBODY, giving.name) if known is not None}
        asked = {each: key for each, key in known.items() if name in {"", each}}
        return _said({"names": asked, "relays": {giving.public_key: giving.relays} if asked else {}})

    return router


def _metadata(services: Services, name: str) -> str:
    """What an invoice is for in words, and the address it is for."""
    return lnurl.metadata_of("A gift to Timmy's generosity pool", lnurl.identifier(name, services.public_url))


def _told(services: Services, giving: Giving, name: str) -> dict[str, object]:
    terms = lnurl.PayTerms(
        callback=f"{services.public_url}/api/lnurl/pay/{name}",
        least=Msats(MSATS_PER_SAT),
        most=services.policy.topup_max,
        metadata=_metadata(services, name),
    )
    return lnurl.pay_terms(terms, comment_chars=MAX_COMMENT_CHARS, nostr_pubkey=giving.public_key)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a wallet asks for, as it wrote it."""

    name: str
    amount: str
    comment: str
    nostr: str


async def _gift(services: Services, giving: Giving, wanted: _Wanted) -> DonationAsked:
    """What a wallet asks for, read.

    Raises:
        NoGift: it asks for what is not given.
    """
    if wanted.name not in giving.names:
        raise NoGift(_NOBODY)
    if not _AMOUNT.fullmatch(wanted.amount):
        raise NoGift("Say in amount how many msat.")
    if len(wanted.comment) > MAX_COMMENT_CHARS:
        raise NoGift(f"The comment is longer than {MAX_COMMENT_CHARS} characters.")
    amount, zap = int(wanted.amount), None
    if wanted.nostr:
        try:
            zap = read_zap(wanted.nostr, amount=amount, public_key=giving.public_key)
        except InvalidZap as error:
            raise NoGift(str(error)) from None
        if await _has_an_invoice(services, zap):
            raise NoGift("What is zapped asks for money itself: pay the invoice that stands in it.")
    committed = _metadata(services, wanted.name) if zap is None else zap.text
    return DonationAsked(
        topup_id=services.randomness.new_id(),
        amount=Msats(amount),
        description_hash=hashlib.sha256(committed.encode()).hexdigest(),
        origin=write_note(zap=zap, comment=wanted.comment),
        donor=None if zap is None else zap.donor,
        at=services.now(),
    )


async def _has_an_invoice(services: Services, zap: Zap) -> bool:
    """Whether what is zapped is an event of ours about a job that waits for money: a gift would not pay for it."""
    event = None if zap.zapped_event is None else await services.store.event(zap.zapped_event)
    job = None if event is None or event.job_id is None else await services.store.job(event.job_id)
    return job is not None and job.state in AWAITING


async def _invoiced(services: Services, giving: Giving, fact: DonationAsked, address: str) -> InvoiceRecord:
    """The invoice of a gift.

    Raises:
        NoGift: it is refused.
        Fault: too many gifts of this address wait, or our wallet makes no invoice just now.
    """
    # Looked at before it is written: nobody fills our disk with what is refused anyway.
    if isinstance(refusal := await services.engine.peek(fact), Refused):
        raise NoGift(refusal.sentence)
    giving.places.take(address, fact.topup_id)
    try:
        await services.engine.handle(fact)
    except BaseException:
        giving.places.leave(fact.topup_id)
        raise
    # Who hangs up now has taken a place all the same: it is free again when the gift is over.
    invoice = await invoiced(services, fact.topup_id)
    if invoice is None:  # in between others took the last places
        giving.places.leave(fact.topup_id)
        raise NoGift(_AWAY)
    return invoice


def tell(applied: Applied) -> None:
    """A listener of the engine: the operator reads in the log what came, and the words that came with it."""
    came = {row.payment_hash: row.received for row in applied.change.invoices if row.state is InvoiceState.SETTLED}
    for gift in applied.change.topups:
        if gift.account == POOL and gift.payment_hash in came:
            log.info(
                "a gift came for the pool",
                action="gift",
                sats=sats_down(came[gift.payment_hash]),
                named=gift.pubkey is not None,
                words=read_comment(gift.origin)[:MAX_COMMENT_CHARS],
            )


def _said(body: dict[str, object]) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json", headers=_OPEN)


def _refused(reason: str) -> Response:
    return _said(lnurl.refused(reason))
