"""A key fills its own credit: an invoice without a job, and whatever comes for it is booked to the key. Pure.

Later requests use that credit by the funding rule (``asking.fund``), and what is left is paid out by ``payouts``.
Paid too little, too much or late: what came is credited, once for each payment hash.
"""

import dataclasses
import hashlib

from ledger import accounts
from ledger.credit import TopUpRecord
from ledger.money import MSATS_PER_SAT, Msats, sats_down, sats_up
from ledger.records import Door, InvoiceRecord
from timmy_dvm.core import asking, refusing
from timmy_dvm.core.actions import (
    CheckInvoice,
    CreateInvoice,
    CreditAdded,
    Donated,
    Message,
    OperationDone,
    PriceTold,
    Refused,
)
from timmy_dvm.core.case import IGNORED, Case, Decision, Do, Tell
from timmy_dvm.core.credit_facts import TopUpAsked
from timmy_dvm.core.facts import CancelAsked, InvoiceMade, InvoiceNotMade, InvoiceUnpaid, PaymentSeen
from timmy_dvm.core.policy import Policy


def asked(case: Case, fact: TopUpAsked, policy: Policy) -> Decision:
    """Somebody wants to fill their credit: refuse it, or have an invoice made."""
    refusal = _why_not(case, fact, policy)
    if refusal is not None:
        return Decision(tells=(Tell(refusal, fact.origin),)) if fact.answered else IGNORED
    row = TopUpRecord(
        id=fact.topup_id,
        event_id=fact.event_id,
        account=accounts.customer(fact.pubkey),
        pubkey=fact.pubkey,
        amount=fact.amount,
        origin=fact.origin,
        created_at=fact.at,
    )
    return Decision(topups=(row,), actions=(Do(invoice_of(row, fact.door, fact.at, policy)),))


def invoice_of(row: TopUpRecord, door: Door, at: int, policy: Policy) -> CreateInvoice:
    """The invoice that a top-up waits for."""
    return CreateInvoice(
        job_id="",
        topup_id=row.id,
        key=hashlib.sha256(f"invoice:{row.id}:topup".encode()).hexdigest()[:32],
        amount=row.amount,
        memo=f"Timmy {row.id[:8]}",
        expiry_s=policy.invoice_s(door),
        give_up_at=at + policy.invoice_patience_s,
    )


def _why_not(case: Case, fact: TopUpAsked, policy: Policy) -> Refused | None:
    """Why a top-up is refused, or None. It waits for money like a job, so the same limits hold."""
    if not MSATS_PER_SAT <= fact.amount <= policy.topup_max:
        most = sats_down(policy.topup_max)
        sentence = f"A top-up is of 1 to {most} sats: say how many in param amount_sats."
        return Refused(code="topup_amount", sentence=sentence)
    return refusing.too_often(case, policy) or refusing.to_wait(case, policy)


def invoice_made(case: Case, fact: InvoiceMade, policy: Policy) -> Decision:
    """The invoice is on disk; now it is told, as any request for money is, and as the operation's answer.

    It is looked at once more after its expiry, whatever becomes of the top-up meanwhile.
    """
    topup = _topup(case)
    row = InvoiceRecord(
        payment_hash=fact.payment_hash,
        account=topup.account,
        job_id=None,
        amount=fact.amount,
        bolt11=fact.bolt11,
        created_at=fact.created_at,
        expires_at=fact.expires_at,
    )
    look = CheckInvoice(job_id="", payment_hash=row.payment_hash)
    written = Decision(
        topups=(dataclasses.replace(topup, payment_hash=row.payment_hash),),
        invoices=(row,),
        actions=(Do(look, row.expires_at + policy.check_after_s),),
    )
    if topup.ended_at is not None or case.session is not None or topup.account == accounts.POOL:
        return written  # taken back meanwhile, nobody is shown it; and who fills another account waits at the door
    price = PriceTold(
        amount=row.amount,
        bolt11=row.bolt11,
        payment_hash=row.payment_hash,
        expires_at=row.expires_at,
        tops_up=True,
    )
    done = OperationDone(
        body={
            "op": "topup",
            "amountSats": sats_up(topup.amount),
            "creditSats": sats_down(case.credit),
            "invoice": invoice_shown(row),
        }
    )
    return dataclasses.replace(written, tells=(Tell(price, topup.origin), Tell(done, topup.origin)))


def invoice_shown(row: InvoiceRecord) -> dict[str, object]:
    """An invoice as an operation's answer shows it: HTTP's names, and ``expires_at`` (NIP-47) in unix seconds."""
    return {
        "paymentRequest": row.bolt11,
        "paymentHash": row.payment_hash,
        "amountSats": sats_up(row.amount),
        "expires_at": row.expires_at,
    }


def invoice_not_made(case: Case, fact: InvoiceNotMade) -> Decision:
    """Our wallet was away for longer than a customer waits."""
    topup = _topup(case)
    if topup.ended_at is not None:
        return IGNORED
    told = Refused(code="wallet_away", sentence=asking.WALLET_AWAY)
    return Decision(topups=(_ended(topup, fact.at),), tells=(Tell(told, topup.origin),))


def paid(case: Case, fact: PaymentSeen, policy: Policy) -> Decision:
    """Our own wallet's record says that the invoice is settled: what came is credited, whenever it comes."""
    booked = asking.paid(case, fact, policy)
    if not booked.invoices:
        return booked
    topup = _topup(case)
    (row,) = booked.invoices
    told: Message = CreditAdded(added=row.received, credit=Msats(case.credit + row.received))
    if topup.account == accounts.POOL:
        told = Donated(amount=row.amount, received=row.received, bolt11=row.bolt11)
    return dataclasses.replace(booked, topups=(_ended(topup, fact.at),), tells=(Tell(told, topup.origin),))


def unpaid(case: Case, fact: InvoiceUnpaid, policy: Policy) -> Decision:
    """Our wallet's record, a minute after the expiry, says unpaid. Nobody is told."""
    closed = asking.unpaid(case, fact, policy)
    return dataclasses.replace(closed, topups=(_ended(_topup(case), fact.at),)) if closed.invoices else closed


def cancelled(case: Case, fact: CancelAsked) -> Decision:
    """The customer takes a top-up back: it waits no more. Should they pay all the same, it is credited."""
    topup = _topup(case)
    if topup.pubkey != fact.pubkey or topup.ended_at is not None:
        return IGNORED
    return Decision(topups=(_ended(topup, fact.at),))


def _ended(topup: TopUpRecord, at: int) -> TopUpRecord:
    return topup if topup.ended_at is not None else dataclasses.replace(topup, ended_at=at)


def _topup(case: Case) -> TopUpRecord:
    if case.topup is None:
        raise LookupError("this fact is about a top-up that the ledger does not know")
    return case.topup
