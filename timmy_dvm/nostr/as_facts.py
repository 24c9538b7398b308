"""What was read, as facts for the core. Pure."""

from typing import Protocol

from ledger.records import Door, Mode
from lightning import bolt11
from lightning.errors import InvalidInvoice
from relay_client.event import EventFields
from relay_client.keys import npub
from timmy_dvm.core.facts import QuestionAsked, RefundClaimed, RequestReceived, RequestUnreadable
from timmy_dvm.core.pricing import BtcPrice
from timmy_dvm.nostr.nip90 import JobAsked, Unreadable
from timmy_dvm.nostr.operations import Question, RefundAsked
from timmy_dvm.nostr.origin import Reply, write_origin


class Came(Protocol):
    """What somebody said, proved to be theirs, and how it came: `pool.Received`, or a letter that was opened."""

    @property
    def url(self) -> str:
        """The relay that brought it first."""

    @property
    def event(self) -> EventFields:
        """An event, or a rumor out of a gift wrap."""


def request(received: Came, asked: JobAsked, *, job_id: str, btc: BtcPrice, at: int) -> RequestReceived:
    """A job was asked for. One invoice is for both its steps, for two would lose the customer."""
    event = received.event
    return RequestReceived(
        job_id=job_id,
        door=Door.NOSTR,
        mode=Mode.ONCE,
        event_id=event.id,
        pubkey=event.pubkey,
        text=asked.text,
        origin=_origin(received, asked.reply, btc, asked.temperature, asked.ignored),
        btc=btc,
        asked_at=event.created_at,
        at=at,
        bid=asked.bid,
        max_tokens=asked.max_tokens,
        model=asked.model,
        refund_to=asked.refund_to,
        addressed=asked.addressed,
        expires_at=asked.expires_at,
        preface_chars=asked.preface_chars,
    )


def question(received: Came, asked: Question, *, btc: BtcPrice, at: int) -> QuestionAsked:
    """An operation that changes nothing was asked for."""
    event = received.event
    return QuestionAsked(
        event_id=event.id,
        op=asked.op,
        door=Door.NOSTR,
        pubkey=event.pubkey,
        npub=npub(event.pubkey),
        origin=_origin(received, asked.reply, btc),
        btc=btc,
        at=at,
        text=asked.text,
        max_tokens=asked.max_tokens,
        model=asked.model,
        preface_chars=asked.preface_chars,
    )


def claim(
    received: Came, asked: RefundAsked, *, network: str, at: int, answered: bool = True
) -> RefundClaimed | RequestUnreadable:
    """A refund was claimed with a BOLT11; one that does not decode is answered with why."""
    event = received.event
    try:
        invoice = bolt11.decode(asked.invoice)
    except InvalidInvoice as error:
        bad = Unreadable(code="bad_invoice", sentence=str(error), reply=asked.reply)
        return unreadable(received, bad, at=at)
    return RefundClaimed(
        event_id=event.id,
        request_event_id=asked.request_id,
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
) -> str:
    return write_origin(
        received.event,
        relay=received.url,
        relays=reply.relays,
        scheme=reply.scheme,
        btc=btc,
        temperature=temperature,
        ignored=ignored,
    )
