"""What was read, as facts for the core. Pure."""

import dataclasses
from typing import Protocol, TypedDict

from ledger.money import Msats
from ledger.records import Door, Mode
from lightning import bolt11
from lightning.errors import InvalidInvoice
from relay_client.event import EventFields
from relay_client.keys import npub
from timmy_dvm.core.credit_facts import ForgetAsked, PayoutAsked, TopUpAsked
from timmy_dvm.core.facts import QuestionAsked, RefundClaimed, RequestReceived, RequestUnreadable
from timmy_dvm.core.giving_back import NO_TARGET
from timmy_dvm.core.operator_facts import StatusTold
from timmy_dvm.core.pricing import BtcPrice
from timmy_dvm.core.refund_facts import CreditWished
from timmy_dvm.nostr import work
from timmy_dvm.nostr.nip90 import JobAsked, Unreadable
from timmy_dvm.nostr.operations import CreditWanted, ForgetWanted, Question, RefundAsked, StatusWanted, TopUpWanted
from timmy_dvm.nostr.origin import Reply, write_origin
from timmy_dvm.nostr.privacy import Scheme


class Came(Protocol):
    """What somebody said, proved to be theirs, and how it came: `pool.Received`, or a letter that was opened."""

    @property
    def url(self) -> str:
        """The relay that brought it first."""

    @property
    def event(self) -> EventFields:
        """An event, or a rumor out of a gift wrap."""


def request(
    received: Came, asked: JobAsked, *, job_id: str, btc: BtcPrice, at: int, refusal_at: int | None = None
) -> RequestReceived:
    """A job was asked for. One invoice is for both its steps, for two would lose the customer."""
    event = received.event
    return RequestReceived(
        job_id=job_id,
        door=Door.NOSTR,
        mode=Mode.ONCE,
        event_id=event.id,
        pubkey=event.pubkey,
        text=asked.text,
        origin=_origin(received, asked.reply, btc, asked.temperature, asked.ignored, goes_on=_goes_on(asked)),
        btc=btc,
        asked_at=event.created_at,
        at=at,
        bid=asked.bid,
        max_tokens=asked.max_tokens,
        model=asked.model,
        refund_to=_refund_to(asked),
        addressed=asked.addressed,
        expires_at=asked.expires_at,
        preface_chars=asked.preface_chars,
        follows=asked.follows,
        refusal_at=refusal_at,
        work_bits=work.bits(event),
    )


def _refund_to(asked: JobAsked) -> str | None:
    """Where change should go. Who asks in private has named no address by their profile.

    Asking relays for a profile would tell them whom a private message came from.
    """
    if asked.refund_to is None and asked.reply.scheme is Scheme.NIP59:
        return NO_TARGET
    return asked.refund_to


def question(received: Came, asked: Question, *, btc: BtcPrice, at: int) -> QuestionAsked:
    """An operation that changes nothing was asked for."""
    event = received.event
    return QuestionAsked(
        event_id=event.id,
        op=asked.op,
        door=Door.NOSTR,
        pubkey=event.pubkey,
        npub=npub(event.pubkey),
        origin=_origin(received, asked.reply, btc, goes_on=_goes_on(asked)),
        btc=btc,
        at=at,
        text=asked.text,
        max_tokens=asked.max_tokens,
        model=asked.model,
        preface_chars=asked.preface_chars,
        follows=asked.follows,
    )


def claim(
    received: Came, asked: RefundAsked, *, refund_id: str, network: str, at: int, answered: bool = True
) -> RefundClaimed | PayoutAsked | RequestUnreadable:
    """A BOLT11 came for a job's refund, or for the key's credit; one that does not decode is answered with why.

    `refund_id` is for the pay-out that may come of it; the refund of a job has its id already.
    """
    event = received.event
    try:
        invoice = bolt11.decode(asked.invoice)
    except InvalidInvoice as error:
        bad = Unreadable(code="bad_invoice", sentence=str(error), reply=asked.reply)
        return unreadable(received, bad, at=at)
    terms = _Terms(
        event_id=event.id,
        pubkey=event.pubkey,
        bolt11=asked.invoice.strip().lower().removeprefix("lightning:"),
        payment_hash=invoice.payment_hash,
        amount=invoice.amount_msat,
        rail_ok=invoice.network == network,
        expires_at=invoice.expires_at,
        origin=_origin(received, asked.reply),
        at=at,
        answered=answered,
    )
    # In private a bare BOLT11 means the refund of its sum: it is how people claim there.
    if asked.request_id is None and asked.reply.scheme is not Scheme.NIP59:
        return PayoutAsked(refund_id=refund_id, **terms)
    return RefundClaimed(request_event_id=asked.request_id, **terms)


def wish(received: Came, asked: CreditWanted, *, at: int, answered: bool = True) -> CreditWished:
    """What is held for a job is wanted as credit."""
    event = received.event
    return CreditWished(
        event_id=event.id,
        request_event_id=asked.request_id,
        pubkey=event.pubkey,
        origin=_origin(received, asked.reply),
        at=at,
        answered=answered,
    )


class _Terms(TypedDict):
    """What both kinds of claim are made of."""

    event_id: str
    pubkey: str
    bolt11: str
    payment_hash: str
    amount: Msats | None
    rail_ok: bool
    expires_at: int
    origin: str
    at: int
    answered: bool


def topup(
    received: Came, asked: TopUpWanted, *, topup_id: str, btc: BtcPrice, at: int, answered: bool = True
) -> TopUpAsked:
    """An invoice is wanted that fills the key's credit."""
    event = received.event
    return TopUpAsked(
        topup_id=topup_id,
        event_id=event.id,
        door=Door.NOSTR,
        pubkey=event.pubkey,
        amount=asked.amount,
        origin=_origin(received, asked.reply, btc),
        at=at,
        answered=answered,
    )


def forget(received: Came, asked: ForgetWanted, *, at: int) -> ForgetAsked:
    """The key's texts are to be erased."""
    event = received.event
    return ForgetAsked(event_id=event.id, pubkey=event.pubkey, origin=_origin(received, asked.reply), at=at)


def status(received: Came, asked: StatusWanted, body: dict[str, object], *, at: int) -> StatusTold:
    """How things stand, for the operator; encrypted also where they asked in clear."""
    reply = asked.reply
    if reply.scheme is Scheme.NONE:
        reply = dataclasses.replace(reply, scheme=Scheme.NIP44)
    return StatusTold(event_id=received.event.id, body=body, origin=_origin(received, reply), at=at)


def unreadable(received: Came, asked: Unreadable, *, at: int) -> RequestUnreadable:
    """Somebody addressed us in a way we can't follow."""
    return RequestUnreadable(
        event_id=received.event.id,
        origin=_origin(received, asked.reply),
        code=asked.code,
        sentence=asked.sentence,
        at=at,
    )


def _origin(
    received: Came,
    reply: Reply,
    btc: BtcPrice | None = None,
    temperature: str | None = None,
    ignored: tuple[str, ...] = (),
    *,
    goes_on: bool = False,
) -> str:
    return write_origin(
        received.event,
        relay=received.url,
        relays=reply.relays,
        scheme=reply.scheme,
        btc=btc,
        temperature=temperature,
        ignored=ignored,
        goes_on=goes_on,
    )


def _goes_on(asked: JobAsked | Question) -> bool:
    """Whether that was our guess or the writer's reply, and not said in so many words."""
    return asked.heard is not None and asked.follows is not None
