"""A ledger in a dictionary: it applies decisions as the store's contract says, and checks what it is told.

Floors, unique ids and versions are held here without SQL, so that the core is tested against the contract and not
against one store. ``load`` fills a :class:`Case` by the words of its docstring.
"""

import dataclasses
from collections import defaultdict

from ledger import accounts
from ledger.money import Msats
from ledger.records import InvoiceState, JobState, RefundState
from ledger.reservations import NewReservation, ReservationEnd
from tests.timmy_dvm.core.builders import made_job
from tests.timmy_dvm.core.memory_credit import BACK, MemoryCredit
from tests.timmy_dvm.core.memory_sessions import MemorySessions
from timmy_dvm.core import claiming
from timmy_dvm.core.actions import RunAgent
from timmy_dvm.core.case import Case, Decision, Do
from timmy_dvm.core.credit_facts import TopUpAsked
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
    WorkDone,
)
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.refund_facts import CreditWished, RefundInvoiced, RefundNotInvoiced, RefundWithdrawn
from timmy_dvm.core.trust import Tier

DAY = 86_400
WAITING = (JobState.AWAITING_EVAL_PAYMENT, JobState.AWAITING_WORK_PAYMENT)
RUNNING = (JobState.EVALUATING, JobState.EXECUTING)
FLYING = (RefundState.SENDING, RefundState.IN_DOUBT)


class Broken(AssertionError):
    """A decision asked for what no store may write."""


class MemoryLedger(MemoryCredit, MemorySessions):
    """Facts in, books out. Amounts are msat, balances credit-positive."""

    def __init__(self, policy: Policy, pool: int = 0) -> None:
        MemoryCredit.__init__(self)
        MemorySessions.__init__(self)
        self.policy = policy
        self.balances: dict[str, int] = defaultdict(int)
        self.balances.update({accounts.POOL: pool, accounts.OPERATOR: -pool} if pool else {})
        self.reservations: dict[str, NewReservation] = {}
        self.ends: dict[str, ReservationEnd] = {}
        self.entries: dict[str, tuple] = {}
        self.facts: dict[str, Fact] = {}
        self.jobs = {}
        self.steps: list[tuple[str, str, str]] = []
        self.invoices = {}
        self.refunds = {}
        self.identities = {}
        self.tried: dict[str, str] = {}
        self.fees: list[tuple[int, int]] = []
        self.lifts: dict[str, Tier] = {}
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
        self.write_session(decision.session)
        if decision.new_job is not None:
            if decision.new_job.id in self.jobs:
                raise Broken("two jobs of one id")
            self.jobs[decision.new_job.id] = made_job(decision.new_job)
        if decision.job is not None:
            old = self.jobs[decision.job.id]
            self.jobs[old.id] = self._next_version(old, decision.job)
            self.steps.append(("job", old.state, decision.job.state))
        self._reserve(decision.reservation)
        for entry in decision.entries:
            self._book(entry, fact.at)
        self._end_reservation(decision.reservation_end)
        for invoice in decision.invoices:
            self.invoices[invoice.payment_hash] = invoice
        for topup in decision.topups:
            self.write_topup(topup)
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

    def _reserve(self, new: NewReservation | None) -> None:
        if new is None:
            return
        if new.job_id in self.reservations or new.amount <= 0 or new.amount % 1_000:
            raise Broken("a job draws on the pool once, whole sats")
        self.reservations[new.job_id] = new
        pubkey = self.jobs[new.job_id].pubkey
        if self.drawn(pubkey, new.at) > new.budget:
            raise Broken("a key drew more than its budget of the day")

    def _end_reservation(self, end: ReservationEnd | None) -> None:
        if end is None:
            return
        if end.job_id not in self.reservations or end.job_id in self.ends:
            raise Broken("a reservation ends once")
        if self.balances[accounts.reserved(end.job_id)]:
            raise Broken("a reservation ends drained")
        self.ends[end.job_id] = end
        row = self.identities[self.jobs[end.job_id].pubkey]
        today, sats = end.at - end.at % DAY, end.granted // 1_000
        if row.absorbed_reset_at >= today:
            sats += row.sats_absorbed_today
        self.identities[row.pubkey] = dataclasses.replace(
            row, sats_absorbed_today=sats, absorbed_reset_at=max(today, row.absorbed_reset_at)
        )

    def drawn(self, pubkey: str, at: int) -> int:
        """What was granted to a key in the UTC day of ``at``, and all that is set aside for it."""
        granted = sum(
            end.granted for end in self.ends.values()
            if end.at >= at - at % DAY and self.jobs[end.job_id].pubkey == pubkey
        )  # fmt: skip
        return granted + self.set_aside(pubkey)

    def set_aside(self, pubkey: str) -> int:
        return sum(
            row.amount for row in self.reservations.values()
            if row.job_id not in self.ends and self.jobs[row.job_id].pubkey == pubkey
        )  # fmt: skip

    def offered(self, pubkey: str) -> int:
        return sum(
            job.quote.eval_fee + job.quote.work_fee - job.share_eval - job.share_work
            for job in self.jobs.values() if job.pubkey == pubkey and job.state in WAITING
        ) + sum(
            job.share_eval + job.share_work - job.credit_used for job in self.jobs.values()
            if job.pubkey == pubkey and job.session_id is not None and job.state in RUNNING
        )  # fmt: skip

    def load(self, fact: Fact) -> Case:
        case = dataclasses.replace(self._load(fact), model_cost_today=self.model_cost(fact))
        whose = case.job or case.session or fact
        pubkey = getattr(whose, "pubkey", None)
        if pubkey is None:
            return case
        return dataclasses.replace(
            case,
            pool=Msats(self.balances[accounts.POOL]),
            lifted=self.lifts.get(pubkey),
            reserved_of_key=Msats(self.set_aside(pubkey)),
            offered_to_key=Msats(self.offered(pubkey)),
            drew_before=any(
                self.jobs[row.job_id].pubkey == pubkey and self.counts(row) for row in self.reservations.values()
            ),
            granted_to_key=Msats(self.granted(pubkey)),
            kept_of_key=Msats(self.kept(pubkey)),
            newcomers_today=Msats(self.drawn_by_newcomers(fact.at)),
        )

    def granted(self, pubkey: str) -> int:
        return sum(end.granted for end in self.ends.values() if self.jobs[end.job_id].pubkey == pubkey)

    def model_cost(self, fact: Fact) -> int:
        """What the model cost today, by the facts that begin what nobody paid for."""
        if not self.policy.model_micro_usd_per_day or isinstance(fact, PaymentSeen | WorkDone):
            return 0
        ended = [job for job in self.jobs.values() if (job.ended_at or 0) >= fact.at - fact.at % DAY]
        answered = sum(job.actual_cost for job in ended if job.state is JobState.COMPLETE)
        running = [job for job in self.jobs.values() if job.state in (JobState.EVALUATING, JobState.EXECUTING)]
        failed = [job for job in ended if job.work_runs and job.state is not JobState.COMPLETE]
        return answered + sum(job.quote.estimated_cost for job in running + failed)

    def kept(self, pubkey: str) -> int:
        """What a key's jobs left us."""
        return sum(
            job.charge_eval + job.charge_work - job.pool_credit
            for job in self.jobs.values() if job.pubkey == pubkey
        )  # fmt: skip

    def counts(self, row: NewReservation) -> int:
        """What of a reservation was granted, or is still set aside."""
        return self.ends[row.job_id].granted if row.job_id in self.ends else row.amount

    def drawn_by_newcomers(self, at: int) -> int:
        return sum(
            self.counts(row) for row in self.reservations.values()
            if row.tier == "new" and (row.job_id not in self.ends or self.ends[row.job_id].at >= at - at % DAY)
        )  # fmt: skip

    def _load(self, fact: Fact) -> Case:
        if (case := self.around_session(fact)) is not None:
            return case
        if (case := self.around_credit(fact)) is not None:
            return self.with_session_of(case)
        match fact:
            case RequestReceived() | TopUpAsked():
                return self._around_request(fact)
            case QuestionAsked():
                return self._around_question(fact)
            case PaymentSeen() | InvoiceUnpaid():
                invoice = self.invoices.get(fact.payment_hash)
                job = self.jobs.get(invoice.job_id) if invoice else None
                return dataclasses.replace(self._around(job), invoice=invoice)
            case CancelAsked():
                job = self.job_of(fact.request_event_id)
                return dataclasses.replace(self._around(job), run_waits=job is not None and self.run_waits(job.id))
            case RefundClaimed():
                claims = self.claims_of(fact.pubkey) if fact.request_event_id is None else ()
                row = claiming.meant(claims, fact)
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
            case CreditWished():
                return self._around(self.job_of(fact.request_event_id))
            case RefundDue() | PaymentOut() | RefundInvoiced() | RefundNotInvoiced() | RefundWithdrawn():
                refund = self.refunds[fact.refund_id]
                case = self._around(self.jobs[refund.job_id])
                payment_hash = getattr(fact, "payment_hash", "")
                return dataclasses.replace(
                    case,
                    refund=refund,
                    ours=self.ours(),
                    fees_today=self.fees_today(fact.at),
                    hash_is_ours=payment_hash in self.invoices,
                    hash_is_used=payment_hash in self.tried,
                )
        return self._around(self.jobs.get(fact.job_id))

    def _around_request(self, fact: RequestReceived | TopUpAsked) -> Case:
        waiting = [job for job in self.jobs.values() if job.state in WAITING] + self.waiting_topups()
        all_there_are = (*self.jobs.values(), *self.topups.values())
        of_key = [each for each in all_there_are if fact.pubkey and each.pubkey == fact.pubkey]
        return Case(
            credit=Msats(self.balances[accounts.customer(fact.pubkey)]) if fact.pubkey else Msats(0),
            identity=self.identities.get(fact.pubkey),
            open_jobs=len([each for each in waiting if each in of_key]),
            jobs_last_minute=len([job for job in of_key if job.created_at >= fact.at - 60]),
            cancelled_last_hour=self.given_up(fact.pubkey, fact.at - 3_600)
            + len(
                [
                    job
                    for job in self.jobs.values()
                    if fact.pubkey == job.pubkey is not None
                    and job.state is JobState.CANCELLED
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
        open_ones = [refund for refund in self.refunds_of_jobs() if refund.state not in BACK]
        return tuple((self.jobs[row.job_id].event_id, row) for row in open_ones if row.pubkey == pubkey)

    def _around(self, job) -> Case:
        if job is None:
            return Case()
        credit = accounts.credit(job.session_id, job.pubkey)
        still_open = [i for i in self.open_invoices() if i.job_id == job.id]
        return Case(
            job=job,
            held=Msats(self.balances[accounts.job(job.id)]),
            reserved=Msats(self.balances[accounts.reserved(job.id)]),
            session=self.sessions.get(job.session_id),
            credit=Msats(self.balances[credit] if credit else 0),
            identity=self.identities.get(job.pubkey),
            open_invoice=still_open[-1] if still_open else None,
            refunds=tuple(self.refunds_of(job.id)),
        )

    def run_waits(self, job_id: str) -> bool:
        """Here a run is begun when its outcome is told."""
        runs = [do.action for do in self.outbox.values() if isinstance(do.action, RunAgent)]
        return any(run.job_id == job_id for run in runs)

    def open_invoices(self) -> list:
        return [invoice for invoice in self.invoices.values() if invoice.state is InvoiceState.OPEN]

    def job_of(self, event_id: str):
        return next((job for job in self.jobs.values() if job.event_id == event_id), None)

    def refunds_of(self, job_id: str) -> list:
        return [refund for refund in self.refunds.values() if refund.job_id == job_id]

    def caps_in_flight(self) -> int:
        return sum(
            refund.max_fee
            for refund in self.refunds_of_jobs()
            if refund.state in FLYING and not refund.pays_its_way
        )

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
