"""The part of the ledger in a dictionary that holds a key's own credit: top-ups and pay-outs."""

from ledger import accounts
from ledger.money import Msats
from ledger.records import InvoiceState, RefundState
from timmy_dvm.core.case import Case
from timmy_dvm.core.credit_facts import PayoutAsked
from timmy_dvm.core.facts import (
    CancelAsked,
    Fact,
    InvoiceMade,
    InvoiceNotMade,
    InvoiceUnpaid,
    PaymentOut,
    PaymentSeen,
)

BACK = (RefundState.SENT, RefundState.CREDITED)


class MemoryCredit:
    """What the memory ledger is beside its jobs; it has ``balances``, ``invoices``, ``refunds`` and ``tried``."""

    def __init__(self) -> None:
        self.topups = {}

    def write_topup(self, topup) -> None:
        old = self.topups.get(topup.id, topup)
        for name in ("payment_hash", "ended_at"):
            assert getattr(old, name) in (None, getattr(topup, name)), "a top-up has one invoice and one end"
        assert topup.payment_hash is None or topup.payment_hash in self.invoices
        self.topups[topup.id] = topup

    def around_credit(self, fact: Fact) -> Case | None:
        """The books around a fact about credit; None where it is about a job."""
        match fact:
            case PayoutAsked():
                return Case(
                    credit=self.credit_of(fact.pubkey),
                    payouts=tuple(self.payouts_of(fact.pubkey)),
                    hash_is_ours=fact.payment_hash in self.invoices,
                    hash_is_used=fact.payment_hash in self.tried,
                )
            case PaymentOut() if (row := self.refunds[fact.refund_id]).job_id is None:
                return Case(refund=row, credit=self.credit_of(row.pubkey))
        for topup in self.topups.values():
            if self._is_about(fact, topup):
                invoice = self.invoices.get(topup.payment_hash)
                return Case(topup=topup, invoice=invoice, credit=Msats(self.balances[topup.account]))
        return None

    @staticmethod
    def _is_about(fact: Fact, topup) -> bool:
        match fact:
            case InvoiceMade() | InvoiceNotMade():
                return topup.id == fact.topup_id
            case PaymentSeen() | InvoiceUnpaid():
                return topup.payment_hash == fact.payment_hash
            case CancelAsked():
                return topup.event_id == fact.request_event_id
        return False

    def credit_of(self, pubkey: str) -> Msats:
        return Msats(self.balances[accounts.customer(pubkey)])

    def payouts_of(self, pubkey: str) -> list:
        mine = [row for row in self.refunds.values() if row.job_id is None and row.pubkey == pubkey]
        return [row for row in mine if row.state not in BACK]

    def refunds_of_jobs(self) -> list:
        """All but pay-outs."""
        return [row for row in self.refunds.values() if row.job_id is not None]

    def waiting_topups(self) -> list:
        return [topup for topup in self.topups.values() if topup.ended_at is None]

    def given_up(self, pubkey, since: int) -> int:
        """Top-ups of a key that are over while their invoice may be paid."""
        ended = [topup for topup in self.topups.values() if topup.ended_at is not None]
        mine = [topup for topup in ended if topup.pubkey == pubkey and topup.created_at >= since]
        states = [self.invoices[topup.payment_hash].state for topup in mine if topup.payment_hash]
        return states.count(InvoiceState.OPEN)
