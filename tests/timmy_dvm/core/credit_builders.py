"""Small builders for a key's own credit, as `builders` has them for jobs. Amounts in the signatures are sats."""

import dataclasses

from ledger import accounts
from ledger.credit import TopUpRecord
from ledger.money import Msats
from ledger.records import Door, InvoiceRecord, InvoiceState, RefundRecord, RefundState
from tests.timmy_dvm.core import builders as b
from timmy_dvm.core.actions import CreateInvoice
from timmy_dvm.core.credit_facts import ForgetAsked, PayoutAsked, TopUpAsked

TOPUP = "7d" * 16
PAYOUT = "5c" * 16
ASKED = "e7" * 32
CREDIT = accounts.customer(b.KEY)


def asking(amount: int = 500, **changes) -> TopUpAsked:
    fact = TopUpAsked(
        topup_id=TOPUP,
        event_id=ASKED,
        door=Door.NOSTR,
        pubkey=b.KEY,
        amount=b.sats(amount),
        origin=b.CLAIM,
        at=b.NOW,
    )
    return dataclasses.replace(fact, **changes)


def topup(amount: int = 500, **changes) -> TopUpRecord:
    """A top-up that waits for its invoice."""
    row = TopUpRecord(
        id=TOPUP,
        event_id=ASKED,
        account=CREDIT,
        pubkey=b.KEY,
        amount=b.sats(amount),
        origin=b.CLAIM,
        created_at=b.NOW - 20,
    )
    return dataclasses.replace(row, **changes)


def invoice(amount: int = 500, state: InvoiceState = InvoiceState.OPEN, **changes) -> InvoiceRecord:
    return b.invoice(amount, state, account=CREDIT, job_id=None, **changes)


def payout_asked(amount: int | None = 100, **changes) -> PayoutAsked:
    fact = PayoutAsked(
        refund_id=PAYOUT,
        event_id="c2" * 32,
        pubkey=b.KEY,
        bolt11=b.BOLT11,
        payment_hash=b.OUT,
        amount=None if amount is None else b.sats(amount),
        rail_ok=True,
        expires_at=b.NOW + 3_600,
        origin=b.CLAIM,
        at=b.NOW,
    )
    return dataclasses.replace(fact, **changes)


def payout(amount: int = 100, cap: int = 2, state: RefundState = RefundState.SENDING, **changes) -> RefundRecord:
    """A pay-out whose invoice is for ``amount``, with its fee cap beside it."""
    row = b.refund(
        state,
        id=b.REFUND,
        version=2,
        job_id=None,
        amount=amount + cap,
        max_fee=b.sats(cap),
        reason="payout",
        kept_fee_room=Msats(0),
        origin=b.CLAIM,
    )
    return dataclasses.replace(row, **changes)


def forget(**changes) -> ForgetAsked:
    fact = ForgetAsked(event_id="c3" * 32, pubkey=b.KEY, origin=b.CLAIM, at=b.NOW)
    return dataclasses.replace(fact, **changes)


def for_whom(wanted: CreateInvoice) -> dict:
    """Whom an invoice was made for, as the facts of it say it."""
    return {"job_id": wanted.job_id, "topup_id": wanted.topup_id or None}
