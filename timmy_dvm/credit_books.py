"""The books around a fact about a key's own credit: top-ups, pay-outs, and what is remembered of a key.

Read inside the ledger's writing transaction, like all that the engine loads; only what the fact's decision needs.
"""

import dataclasses

from ledger import accounts
from ledger.credit import TopUpRecord
from ledger.store import View
from timmy_dvm import session_books
from timmy_dvm.core.case import MAX_TOPUPS, Case
from timmy_dvm.core.credit_facts import ForgetAsked, PayoutAsked
from timmy_dvm.core.donation_facts import DonationAsked
from timmy_dvm.core.facts import (
    CancelAsked,
    Fact,
    InvoiceMade,
    InvoiceNotMade,
    InvoiceUnpaid,
    PaymentOut,
    PaymentSeen,
)


def load(view: View, fact: Fact) -> Case | None:
    """The books around a fact about credit; None where it is about something else."""
    match fact:
        case PayoutAsked():
            return _around_payout_asked(view, fact)
        case DonationAsked():
            return Case(open_donations=view.open_donations())
        case ForgetAsked():
            return dataclasses.replace(
                around_key(view, fact.pubkey),
                unfinished=view.unfinished_of(fact.pubkey),
                remembered=view.remembered_jobs_of(fact.pubkey),
            )
        case InvoiceMade() | InvoiceNotMade():
            return None if fact.topup_id is None else _around(view, view.topup(fact.topup_id)) or Case()
        case PaymentSeen() | InvoiceUnpaid():
            case = _around(view, view.topup_of_invoice(fact.payment_hash))
            return None if case is None else dataclasses.replace(case, invoice=view.invoice(fact.payment_hash))
        case CancelAsked():
            return _around(view, view.topup_of_event(fact.request_event_id))
        case PaymentOut():
            return _around_payout(view, fact)
        case _:
            return None


def around_key(view: View, pubkey: str) -> Case:
    """What a key has, and what is known of it."""
    return Case(credit=view.balance(accounts.customer(pubkey)), identity=view.identity(pubkey))


def around_balance(view: View, pubkey: str) -> Case:
    """What a key has, and what of it is on its way in or out."""
    return dataclasses.replace(
        around_key(view, pubkey),
        payouts=tuple(view.payouts_of(pubkey)),
        topups=tuple(view.waiting_topups_of(pubkey, MAX_TOPUPS)),
    )


def _around(view: View, topup: TopUpRecord | None) -> Case | None:
    if topup is None:
        return None
    if accounts.family(topup.account) == "session":
        return dataclasses.replace(session_books.around(view, accounts.owner(topup.account)), topup=topup)
    identity = None if topup.pubkey is None else view.identity(topup.pubkey)
    return Case(topup=topup, credit=view.balance(topup.account), identity=identity)


def _around_payout_asked(view: View, fact: PayoutAsked) -> Case:
    return dataclasses.replace(
        around_key(view, fact.pubkey),
        payouts=tuple(view.payouts_of(fact.pubkey)),
        hash_is_ours=view.invoice(fact.payment_hash) is not None,
        hash_is_used=view.payment_is_known(fact.payment_hash),
    )


def _around_payout(view: View, fact: PaymentOut) -> Case | None:
    row = view.refund(fact.refund_id)
    if row is not None and row.session_id is not None:
        return dataclasses.replace(session_books.around(view, row.session_id), refund=row)
    if row is None or row.job_id is not None or row.pubkey is None:
        return None
    return dataclasses.replace(around_key(view, row.pubkey), refund=row)
