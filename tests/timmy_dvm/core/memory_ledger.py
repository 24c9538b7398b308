"""A ledger in a dictionary: it applies decisions as the store's contract says, and checks what it is told.

Floors, unique ids and versions are held here without SQL, so that the core is tested against the contract and not
against one store. ``load`` fills a :class:`Case` by the words of its docstring.
"""

import dataclasses
from collections import defaultdict

from ledger import accounts
from ledger.money import Msats
from ledger.records import InvoiceState, JobState, RefundState
from tests.timmy_dvm.core.builders import made_job
from timmy_dvm.core import refunds
from timmy_dvm.core.case import Case, Decision, Do
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import (
    CancelAsked,
    Fact,
    InvoiceUnpaid,
    PaymentOut,
    PaymentSeen,
    QuestionAsked,
    RefundClaimed,
    RefundDue,
    RequestReceived,
)
from timmy_dvm.core.policy import Policy

DAY = 86_400
WAITING = (JobState.AWAITING_EVAL_PAYMENT, JobState.AWAITING_WORK_PAYMENT)
BACK = (RefundState.SENT, RefundState.CREDITED)
FLYING = (RefundState.SENDING, RefundState.IN_DOUBT)


class Broken(AssertionError):
    """A decision asked for what no store may write."""


class MemoryLedger:
    """Facts in, books out. Amounts are msat, balances credit-positive."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.balances: dict[str, int] = defaultdict(int)
        self.entries: dict[str, tuple] = {}
        self.facts: dict[str, Fact] = {}
        self.jobs = {}
        self.steps: list[tuple[str, str, str]] = []
        self.invoices = {}
        self.refunds = {}
        self.identities = {}
        self.tried: dict[str, str] = {}
        self.fees: list[tuple[int, int]] = []
        self.outbox: dict[int, Do] = {}
        self._next = 0

    def commit(self, fact: Fact, done: int | None = None) -> Decision | None:
        """Apply one fact; None where it was here before."""
        self.outbox.pop(done, None)
        if fact.id in self.facts:
            return None
        decision = decide(self.load(fact), fact, self.policy)
        self.facts[fact.id] = fact
        self._write(decision, fact)
        return decision

    def _write(self, decision: Decision, fact: Fact) -> None:
        if decision.identity is not None:
            self.identities[decision.identity.pubkey] = self._next_version(
                self.identities.get(decision.identity.pubkey), decision.identity
            )
        if decision.new_job is not None:
            if decision.new_job.id in self.jobs:
                raise Broken("two jobs of one id")
            self.jobs[decision.new_job.id] = made_job(decision.new_job)
        if decision.job is not None:
            old = self.jobs[decision.job.id]
            self.jobs[old.id] = self._next_version(old, decision.job)
            self.steps.append(("job", old.state, decision.job.state))
        for entry in decision.entries:
            self._book(entry, fact.at)
        for invoice in decision.invoices:
            self.invoices[invoice.payment_hash] = invoice
        for refund in decision.refunds:
            self._write_refund(refund)
        for do in decision.actions:
            self._next += 1
            self.outbox[self._next] = do

    def _write_refund(self, refund) -> None:
        old = self.refunds.get(refund.id)
        self.refunds[refund.id] = self._next_version(old, refund)
        if old is None:
            return
        self.steps.append(("refund", old.state, refund.state))
        if refund.amount != old.amount:
            raise Broken("a refund's amount changed")
        if refund.state is RefundState.SENDING:
            if self.tried.setdefault(refund.payment_hash, refund.id) != refund.id:
                raise Broken("one BOLT11 for two refunds")
            if old.state in FLYING:
                raise Broken("two payments of one refund in flight")

    @staticmethod
    def _next_version(old, new):
        if new.version != (0 if old is None else old.version):
            raise Broken("decided on a row that has changed")
        return dataclasses.replace(new, version=new.version + 1)

    def _book(self, entry, at: int) -> None:
        if entry.id in self.entries:
            raise Broken(f"{entry.id} was booked before")
        self.entries[entry.id] = entry
        for posting in entry.postings:
            self.balances[posting.account] += posting.amount
            if accounts.has_floor(posting.account) and self.balances[posting.account] < 0:
                raise Broken(f"{posting.account} is below its floor after {entry.id}")
            if posting.account == accounts.ROUTING_FEES:
                self.fees.append((at, -posting.amount))

    def load(self, fact: Fact) -> Case:
        match fact:
            case RequestReceived():
                return self._around_request(fact)
            case QuestionAsked():
                return self._around_question(fact)
            case PaymentSeen() | InvoiceUnpaid():
                invoice = self.invoices.get(fact.payment_hash)
                job = self.jobs.get(invoice.job_id) if invoice else None
                return dataclasses.replace(self._around(job), invoice=invoice)
            case CancelAsked():
                return self._around(self.job_of(fact.request_event_id))
            case RefundClaimed():
                claims = self.claims_of(fact.pubkey) if fact.request_event_id is None else ()
                row = refunds.meant(claims, fact)
                named = fact.request_event_id and self.job_of(fact.request_event_id)
                job = self.jobs[row.job_id] if row else named
                return dataclasses.replace(
                    self._around(job),
                    claims=claims,
                    ours=self.ours(),
                    fees_today=self.fees_today(fact.at),
                    hash_is_ours=fact.payment_hash in self.invoices,
                    hash_is_used=fact.payment_hash in self.tried,
                )
            case RefundDue() | PaymentOut():
                refund = self.refunds[fact.refund_id]
                case = self._around(self.jobs[refund.job_id])
                return dataclasses.replace(
                    case, refund=refund, ours=self.ours(), fees_today=self.fees_today(fact.at)
                )
        return self._around(self.jobs.get(fact.job_id))

    def _around_request(self, fact: RequestReceived) -> Case:
        waiting = [job for job in self.jobs.values() if job.state in WAITING]
        of_key = [job for job in self.jobs.values() if fact.pubkey and job.pubkey == fact.pubkey]
        return Case(
            credit=Msats(self.balances[accounts.customer(fact.pubkey)]) if fact.pubkey else Msats(0),
            identity=self.identities.get(fact.pubkey),
            open_jobs=len([job for job in of_key if job.state in WAITING]),
            jobs_last_minute=len([job for job in of_key if job.created_at >= fact.at - 60]),
            cancelled_last_hour=len(
                [
                    job
                    for job in of_key
                    if job.state is JobState.CANCELLED
                    and job.error_message is None
                    and job.created_at >= fact.at - 3_600
                ]
            ),
            open_invoices=max(len(waiting), len(self.open_invoices())),
        )

    def _around_question(self, fact: QuestionAsked) -> Case:
        return Case(
            credit=Msats(self.balances[accounts.customer(fact.pubkey)]),
            identity=self.identities.get(fact.pubkey),
            claims=self.claims_of(fact.pubkey),
        )

    def claims_of(self, pubkey: str) -> tuple:
        open_ones = [refund for refund in self.refunds.values() if refund.state not in BACK]
        return tuple((self.jobs[row.job_id].event_id, row) for row in open_ones if row.pubkey == pubkey)

    def _around(self, job) -> Case:
        if job is None:
            return Case()
        still_open = [i for i in self.open_invoices() if i.job_id == job.id]
        return Case(
            job=job,
            held=Msats(self.balances[accounts.job(job.id)]),
            credit=Msats(self.balances[accounts.customer(job.pubkey)]) if job.pubkey else Msats(0),
            identity=self.identities.get(job.pubkey),
            open_invoice=still_open[-1] if still_open else None,
            refunds=tuple(self.refunds_of(job.id)),
        )

    def open_invoices(self) -> list:
        return [invoice for invoice in self.invoices.values() if invoice.state is InvoiceState.OPEN]

    def job_of(self, event_id: str):
        return next((job for job in self.jobs.values() if job.event_id == event_id), None)

    def refunds_of(self, job_id: str) -> list:
        return [refund for refund in self.refunds.values() if refund.job_id == job_id]

    def caps_in_flight(self) -> int:
        return sum(refund.max_fee for refund in self.refunds.values() if refund.state in FLYING)

    def payable(self) -> int:
        families = accounts.PAYABLE_FAMILIES
        return sum(b for name, b in self.balances.items() if accounts.family(name) in families)

    def node(self) -> int:
        return -self.balances[accounts.NODE]

    def ours(self) -> Msats:
        return Msats(self.node() - self.payable() - self.caps_in_flight())

    def fees_today(self, at: int) -> Msats:
        booked = sum(fee for when, fee in self.fees if when >= at - at % DAY)
        return Msats(booked + self.caps_in_flight())
