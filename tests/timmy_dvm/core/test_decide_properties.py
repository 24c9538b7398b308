"""Customers, a wallet and crashes in any order: the promises about money hold after every single step.

The machine of ``world`` plays everything outside the core. At the end the faults stop, and every job and every
payment must come to an end.
"""

from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant

from ledger import accounts
from ledger.money import Msats
from ledger.records import InvoiceState, JobState, Mode, RefundState
from tests.timmy_dvm.core.memory_ledger import DAY, FLYING
from tests.timmy_dvm.core.test_transitions import JOB_PAGE, REFUND_PAGE, pairs_of
from tests.timmy_dvm.core.world import ENDS, World
from timmy_dvm.core.facts import PaymentSeen

ARROWS = {("job", *pair) for pair in pairs_of(JOB_PAGE)} | {("refund", *pair) for pair in pairs_of(REFUND_PAGE)}


class Timmy(World):
    """The world, watched after every step."""

    @invariant()
    def the_books_balance(self):
        """I1, I2: every entry sums to nothing, so does the whole; the node's account is what the wallet did."""
        assert all(sum(p.amount for p in entry.postings) == 0 for entry in self.ledger.entries.values())
        assert sum(self.ledger.balances.values()) == 0
        came = sum(i.received for i in self.ledger.invoices.values() if i.state is InvoiceState.SETTLED)
        sent = [r for r in self.ledger.refunds.values() if r.state is RefundState.SENT]
        # Of a pay-out the fee cap is in its amount.
        left = sum(r.invoiced + r.fee for r in sent)
        assert self.ledger.node() == came - left

    @invariant()
    def nothing_owed_is_below_zero_and_all_of_it_could_be_paid(self):
        """I3, I12: floors hold, and the fees that are ours never come out of what is theirs."""
        assert all(b >= 0 for name, b in self.ledger.balances.items() if accounts.has_floor(name))
        assert self.ledger.node() - self.ledger.payable() >= self.ledger.caps_in_flight()

    @invariant()
    def each_settled_invoice_is_booked_once(self):
        for payment_hash, row in self.ledger.invoices.items():
            booked = self.ledger.entries.get(f"settled:{payment_hash}")
            assert (booked is not None) == (row.state is InvoiceState.SETTLED and row.received > 0)
            if booked is not None:
                assert row.received == self.wallet.received[payment_hash]

    @invariant()
    def an_ended_job_is_drained(self):
        for job in self.ledger.jobs.values():
            if job.state in ENDS:
                assert self.ledger.balances[accounts.job(job.id)] == 0
                assert self.ledger.balances[accounts.reserved(job.id)] == 0
                assert job.due_at is None
            else:
                assert job.charge_eval == job.charge_work == job.shortfall == 0

    @invariant()
    def nobody_pays_above_the_share_and_the_cost_is_accounted_for(self):
        for job in self.ledger.jobs.values():
            charge = job.charge_eval + job.charge_work
            assert charge <= job.share_eval + job.share_work
            if job.state in ENDS:
                eval_cost = job.quote.eval_fee if job.eval_passed is not None else 0
                grant = 1_000 * job.absorbed_sats
                assert charge + grant + job.shortfall == eval_cost + self.work_cost.get(job.id, 0)
                assert job.state is JobState.COMPLETE or grant == 0
                assert job.charge_work <= job.share_work
                assert job.state is JobState.COMPLETE or job.charge_work == 0

    @invariant()
    def what_came_is_what_was_kept_and_what_went_back(self):
        for job in self.ledger.jobs.values():
            came = sum(i.received for i in self.ledger.invoices.values() if i.job_id == job.id) + job.credit_used
            held = self.ledger.balances[accounts.job(job.id)]
            back = sum(r.amount for r in self.ledger.refunds_of(job.id))
            dust = sum(
                entry.postings[1].amount for entry in self.ledger.entries.values()
                if entry.code == "dust" and entry.postings[0].account == accounts.job(job.id)
            )  # fmt: skip
            back += self.back_in_session(job)
            assert came == held + job.charge_eval + job.charge_work + back + dust
            assert back <= came

    def back_in_session(self, job):
        entry = self.ledger.entries.get(f"credit_back:{job.id}")
        return entry.postings[1].amount if entry else 0

    @invariant()
    def a_refund_is_whole_until_it_is_gone(self):
        for refund in self.ledger.refunds.values():
            gone = refund.state in (RefundState.SENT, RefundState.CREDITED)
            assert self.ledger.balances[accounts.refund(refund.id)] == (0 if gone else refund.amount)

    @invariant()
    def a_refund_is_paid_once_and_one_payment_at_a_time(self):
        """I5: by what the wallet really did, not by what it told us."""
        for refund in self.ledger.refunds.values():
            mine = [self.wallet.sent.get(h) for h, owner in self.ledger.tried.items() if owner == refund.id]
            assert mine.count("succeeded") + mine.count("in_flight") <= 1
            if refund.state in (RefundState.HELD, RefundState.OWED, RefundState.CREDITED):
                assert mine.count("failed") == len(mine)

    @invariant()
    def sending_back_costs_no_more_than_the_page_allows(self):
        policy = self.ledger.policy
        by_day: dict[int, int] = {}
        for at, fee in self.ledger.fees:
            by_day[at // DAY] = by_day.get(at // DAY, 0) + fee
        assert all(fees <= policy.fee_per_day for fees in by_day.values())
        if not policy.wallet_limits_fees:
            return
        for job in self.ledger.jobs.values():
            refunds = [row for row in self.ledger.refunds_of(job.id) if not row.pays_its_way]
            spent = sum(r.max_fee if r.state in FLYING else r.fee for r in refunds)
            assert spent <= job.charge_eval + job.charge_work - job.pool_credit
            assert all(r.fee <= policy.fee_per_refund for r in refunds)
            assert all(r.fee == 0 for r in refunds if r.reason == "cancelled")

    @invariant()
    def states_follow_their_graph_and_runs_their_limit(self):
        """I6, I8."""
        moved = {(kind, old, new) for kind, old, new in self.ledger.steps if old != new}
        assert moved <= ARROWS
        assert all(0 <= job.eval_runs <= 3 and 0 <= job.work_runs <= 3 for job in self.ledger.jobs.values())

    @invariant()
    def no_work_starts_unpaid(self):
        """I10: while a run goes on, the whole share of its step is in the job's account."""
        for job in self.ledger.jobs.values():
            if job.session_id is not None:
                continue  # of its share the pool may have offered a part: `test_session_properties`
            held = self.ledger.balances[accounts.job(job.id)]
            if job.state is JobState.EVALUATING:
                assert held >= (job.share_eval if job.mode is Mode.STEPS else job.share_eval + job.share_work)
            if job.state is JobState.EXECUTING:
                assert held >= job.share_eval + job.share_work

    @invariant()
    def a_job_and_its_reservation_go_and_end_together(self):
        """I9: what a job says was absorbed is what was set aside for it, and granted when it has ended."""
        for job in self.ledger.jobs.values():
            row, end = self.ledger.reservations.get(job.id), self.ledger.ends.get(job.id)
            assert (row is None or job.state in ENDS) == (row is None or end is not None)
            told = end.granted if end else row.amount if row else 0
            assert 1_000 * job.absorbed_sats == told
            if row is not None and job.session_id is None:
                assert row.amount <= job.quote.eval_fee + job.quote.work_fee - job.share_eval - job.share_work
            if job.state in (JobState.EVALUATING, JobState.EXECUTING):
                assert self.ledger.balances[accounts.reserved(job.id)] == told

    @invariant()
    def the_pool_is_what_it_was_given_less_what_it_granted_and_holds(self):
        """FRE-37: and whatever a key draws in a day, held back or granted, is within its budget."""
        ledger, given = self.ledger, -self.ledger.balances[accounts.OPERATOR]
        moved = {"pool_credit": 0, "dust": 0}
        for entry in ledger.entries.values():
            into = [p.amount for p in entry.postings if p.account == accounts.POOL and p.amount > 0]
            if entry.code in moved:
                moved[entry.code] += sum(into)
        held = sum(row.amount for row in ledger.reservations.values() if row.job_id not in ledger.ends)
        granted = sum(end.granted for end in ledger.ends.values())
        assert ledger.balances[accounts.POOL] + held + granted == given + sum(moved.values())
        assert moved["pool_credit"] == sum(job.pool_credit for job in ledger.jobs.values())
        for pubkey in ledger.identities:
            assert ledger.drawn(pubkey, self.now) <= ledger.policy.daily_budgets.established

    # The end of all faults ---------------------------------------------------------------------------------------

    def teardown(self):
        if not hasattr(self, "ledger"):
            return
        for _ in range(400):
            if not self.one_good_step():
                break
        else:
            raise AssertionError("there is always something left to do")
        for job in self.ledger.jobs.values():
            assert job.state in ENDS, job
        at_rest = (RefundState.SENT, RefundState.CREDITED, RefundState.HELD)
        assert all(refund.state in at_rest for refund in self.ledger.refunds.values())
        assert self.ledger.outbox == {}
        assert self.ledger.open_invoices() == []
        for payment_hash, received in self.wallet.received.items():
            assert self.ledger.invoices[payment_hash].received == received
        assert self.ledger.reservations.keys() == self.ledger.ends.keys()
        self.the_books_balance()
        self.an_ended_job_is_drained()
        self.a_refund_is_paid_once_and_one_payment_at_a_time()

    def one_good_step(self) -> bool:
        """Do one thing that waits, and do it well. False where nothing waits any more."""
        for payment_hash, received in self.wallet.received.items():
            if f"paid:{payment_hash}" not in self.ledger.facts:
                self.ledger.commit(PaymentSeen(payment_hash=payment_hash, received=Msats(received), at=self.now))
                return True
        if self.ledger.outbox:
            number, do = next(iter(self.ledger.outbox.items()))
            self.now = max(self.now, do.due_at or 0)
            self.do_well(number, do.action)
            return True
        later = [job.due_at for job in self.ledger.jobs.values() if job.due_at is not None]
        self.now = max(self.now, min(later, default=self.now))
        if self.overdue():
            self.deadline(0)
        return bool(later)


Timmy.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestTimmy = Timmy.TestCase
