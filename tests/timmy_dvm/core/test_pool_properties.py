"""Keys that draw on one small pool, in any order and over midnight: what is free is never more than there is.

Every job of every door ends in each way it can, with every crash and delay between. The ledger in memory refuses
what no store may write: a floor, a second reservation, a second end, a day's budget.
"""

import dataclasses

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger import accounts
from ledger.money import Msats
from ledger.records import InvoiceRecord, JobState
from tests.timmy_dvm.core.builders import BOLT11, KEY, NOW, STRANGER, asking, identity, question, sats
from tests.timmy_dvm.core.memory_ledger import DAY, WAITING, MemoryLedger
from tests.timmy_dvm.generosity import EVAL_FEE, PAGE, PRICES, RELAY, STEPS, hexed, priced
from timmy_dvm.core.actions import CreateInvoice, RunAgent, Working
from timmy_dvm.core.facts import (
    CancelAsked,
    EvalDone,
    InvoiceMade,
    InvoiceUnpaid,
    Op,
    PaymentSeen,
    RunFailed,
    RunInterrupted,
    Step,
    WorkDone,
)
from timmy_dvm.core.free_tier import DailyBudgets, Newcomers
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.trust import Tier

BUDGETS = DailyBudgets(new=sats(15), established=sats(60), trusted=sats(120))
POLICY = Policy(prices=PRICES, daily_budgets=BUDGETS, jobs_per_key_minute=1_000, open_jobs_per_key=1_000)
WELCOMING = dataclasses.replace(
    POLICY,
    daily_budgets=dataclasses.replace(BUDGETS, new=sats(0)),
    newcomers=Newcomers(dearest=sats(40), per_day=sats(70)),
)
LIFELONG = dataclasses.replace(POLICY, lifetime_factor=2)
NEW_KEYS = ["77" * 32, "78" * 32, "79" * 32]
THRIFTY = dataclasses.replace(POLICY, model_micro_usd_per_day=3_000)
"""A job that runs counts as a thousand, and one that was answered as one."""
LIFTS = (Tier.ESTABLISHED, Tier.TRUSTED)
ENDS = (JobState.COMPLETE, JobState.REJECTED, JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED)
RUNNING = (JobState.EVALUATING, JobState.EXECUTING)
PICK = st.integers(0, 1_000)


class Pool(RuleBasedStateMachine):
    """Two keys with history and whoever comes, one pool, and time."""

    @initialize(
        pool=st.sampled_from([0, 10, 70, 130, 1_000]), odd=st.sampled_from([0, 1, 999]),
        policy=st.sampled_from([POLICY, WELCOMING, LIFELONG, THRIFTY]), lifted=st.sampled_from([None, *LIFTS]),
    )  # fmt: skip
    def begin(self, pool, odd, policy, lifted):
        self.ledger = MemoryLedger(policy, sats(pool) + odd)
        if lifted is not None:
            self.ledger.lifts = dict.fromkeys((NEW_KEYS[0], STRANGER), lifted)
        self.given = sats(pool) + odd
        for pubkey, score in ((KEY, 60), (STRANGER, 20)):
            row = identity(score, pubkey=pubkey, version=0, last_seen=NOW)
            self.ledger.identities[pubkey] = MemoryLedger._next_version(None, row)
        self.now = NOW - NOW % DAY + DAY - 100
        self.number = 0
        self.cost: dict[str, int] = {}

    def fresh(self) -> int:
        self.number += 1
        return self.number

    def jobs(self, *states):
        return [job for job in self.ledger.jobs.values() if job.state in states]

    def books(self):
        held = {name: balance for name, balance in self.ledger.balances.items() if balance}
        return held, dict(self.ledger.identities)

    def actions(self, kind, job):
        return [
            (number, do.action)
            for number, do in self.ledger.outbox.items()
            if isinstance(do.action, kind) and do.action.job_id == job.id
        ]

    @rule(
        pubkey=st.sampled_from([KEY, KEY, STRANGER, *NEW_KEYS, None]), estimate=st.integers(3, 150),
        how=st.sampled_from([RELAY, RELAY, STEPS, PAGE]), credit=st.sampled_from([0, 0, 0, 5, 40, 200]),
    )  # fmt: skip
    def ask(self, pubkey, estimate, how, credit):
        """What was told before it was asked is what is asked: the estimate is the decision, and moves nothing."""
        if credit and pubkey:
            self.ledger.balances[accounts.customer(pubkey)] += sats(credit)
            self.ledger.balances[accounts.NODE] -= sats(credit)
        n, btc = self.fresh(), priced(estimate)
        told = None
        if pubkey:
            before = self.books()
            asked = question(
                Op.ESTIMATE, "Why?", event_id=hexed(f"q{n}"), door=how["door"], pubkey=pubkey, btc=btc, at=self.now
            )
            told = self.ledger.commit(asked).tells[0].message.body
            assert before == self.books()
        fact = asking(
            "Why?", job_id=f"{n:032x}", event_id=hexed(f"e{n}"), pubkey=pubkey, btc=btc, asked_at=self.now,
            at=self.now, **how,
        )  # fmt: skip
        is_spent = 0 < self.ledger.policy.model_micro_usd_per_day <= self.ledger.model_cost(fact)
        job = self.ledger.commit(fact).new_job
        if is_spent:
            self.nothing_begins_that_nobody_paid_for(job)
            return
        if told and how is not STEPS and not (how is PAGE and self.ledger.policy.newcomers):
            due = 0 if how is RELAY else EVAL_FEE
            free = told["identity"]["free_tier"]
            assert job.share_eval + job.share_work == sats(free["chargeSats"] + due)
            assert free["absorbSats"] + free["chargeSats"] + due == estimate + EVAL_FEE
            assert (how is RELAY and free["serve"] == "free") == (job.absorbed_sats > 0 and not job.share_eval)

    def nothing_begins_that_nobody_paid_for(self, job):
        price = 0 if job is None else job.quote.eval_fee + job.quote.work_fee
        if job is not None:
            assert (job.absorbed_sats, job.free_tier, job.share_eval + job.share_work) == (0, False, price)
            assert job.credit_used >= job.share_eval
            assert self.ledger.jobs[job.id].state is JobState.EVALUATING

    @invariant()
    def newcomers_have_one_answer_each_and_so_much_a_day_together(self):
        if not hasattr(self, "ledger") or self.ledger.policy.newcomers is None:
            return
        assert self.ledger.drawn_by_newcomers(self.now) <= self.ledger.policy.newcomers.per_day
        for pubkey in NEW_KEYS:
            rows = [row for row in self.ledger.reservations.values() if row.tier == "new"]
            mine = [row for row in rows if self.ledger.jobs[row.job_id].pubkey == pubkey]
            assert len([row for row in mine if self.ledger.counts(row)]) <= 1

    @precondition(lambda self: self.jobs(*WAITING))
    @rule(pick=PICK, percent=st.sampled_from([100, 100, 100, 150, 60]))
    def pay(self, pick, percent):
        jobs = self.jobs(*WAITING)
        job = jobs[pick % len(jobs)]
        for number, wanted in self.actions(CreateInvoice, job):
            hash_ = hexed(wanted.key)
            made = InvoiceMade(
                job_id=job.id, key=wanted.key, payment_hash=hash_, bolt11=BOLT11, amount=Msats(wanted.amount),
                created_at=self.now, expires_at=self.now + 600, at=self.now,
            )  # fmt: skip
            self.ledger.commit(made, number)
            received = Msats(wanted.amount * percent // 100)
            self.ledger.commit(PaymentSeen(payment_hash=hash_, received=received, at=self.now))

    @precondition(lambda self: self.jobs(*WAITING))
    @rule(pick=PICK, how=st.sampled_from(["cancel", "expire"]))
    def drop(self, pick, how):
        """An offer that nobody takes up costs the pool nothing."""
        before = self.ledger.balances[accounts.POOL]
        jobs = self.jobs(*WAITING)
        job = jobs[pick % len(jobs)]
        n = self.fresh()
        if how == "cancel":
            self.ledger.commit(
                CancelAsked(
                    event_id=hexed(f"c{n}"), request_event_id=job.event_id, pubkey=job.pubkey or "", at=self.now
                )
            )
        else:
            for number, wanted in self.actions(CreateInvoice, job):
                hash_ = hexed(wanted.key)
                self.ledger.commit(
                    InvoiceMade(
                        job_id=job.id, key=wanted.key, payment_hash=hash_, bolt11=BOLT11,
                        amount=Msats(wanted.amount), created_at=self.now, expires_at=self.now + 600, at=self.now,
                    ),
                    number,
                )  # fmt: skip
                self.ledger.commit(InvoiceUnpaid(payment_hash=hash_, at=self.now))
        # Parts of a sat of a customer without a key are the pool's.
        assert 0 <= self.ledger.balances[accounts.POOL] - before < 1_000

    @precondition(lambda self: self.jobs(*RUNNING))
    @rule(
        pick=PICK, actual=st.integers(0, 170),
        outcome=st.sampled_from(["done", "done", "done", "done", "reject", "fail", "crash"]),
    )  # fmt: skip
    def run_ends(self, pick, actual, outcome):
        jobs = self.jobs(*RUNNING)
        job = jobs[pick % len(jobs)]
        ((number, run),) = self.actions(RunAgent, job)
        common = {"job_id": job.id, "run": run.run, "at": self.now}
        tokens = {"input_tokens": 1, "output_tokens": 2}
        if outcome == "crash":
            fact = RunInterrupted(step=run.step, **common)
        elif outcome == "fail":
            fact = RunFailed(step=run.step, sentence="Away.", **common)
        elif run.step is Step.EVAL:
            fact = EvalDone(accepted=outcome == "done", reason="No.", **tokens, **common)
        else:
            fact = WorkDone(text="So.", truncated=False, cost_micro_usd=1, charge_sats=actual, **tokens, **common)
        decision = self.ledger.commit(fact, number)
        if decision.result is not None:
            self.cost[job.id] = sats(actual)

    @rule(amount=st.integers(1, 200_000))
    def donate(self, amount):
        """A donation goes in whole."""
        hash_ = hexed(f"gift {self.fresh()}")
        self.ledger.invoices[hash_] = InvoiceRecord(
            payment_hash=hash_, account=accounts.POOL, job_id=None, amount=Msats(amount), bolt11=BOLT11,
            created_at=self.now, expires_at=self.now + 600,
        )  # fmt: skip
        before = self.ledger.balances[accounts.POOL]
        self.ledger.commit(PaymentSeen(payment_hash=hash_, received=Msats(amount), at=self.now))
        assert self.ledger.balances[accounts.POOL] == before + amount
        self.given += amount

    @rule(seconds=st.sampled_from([1, 50, 100, 3_600, -60, DAY]))
    def wait(self, seconds):
        """Time goes on, over midnight and once in a while back."""
        self.now += seconds

    @invariant()
    def customer_and_pool_and_shortfall_are_the_cost(self):
        """FRE-37, ACC-04: and nobody pays above the share they were asked."""
        for job in self.ledger.jobs.values() if hasattr(self, "ledger") else ():
            charge, grant = job.charge_eval + job.charge_work, sats(job.absorbed_sats)
            assert charge <= job.share_eval + job.share_work <= job.quote.eval_fee + job.quote.work_fee
            if job.state in ENDS:
                cost = (job.quote.eval_fee if job.eval_passed is not None else 0) + self.cost.get(job.id, 0)
                assert charge + grant + job.shortfall == cost
                assert grant == 0 or job.state is JobState.COMPLETE

    @invariant()
    def each_reservation_is_one_jobs_and_ends_with_it_once(self):
        for job in self.ledger.jobs.values() if hasattr(self, "ledger") else ():
            row, end = self.ledger.reservations.get(job.id), self.ledger.ends.get(job.id)
            assert row is None or (end is not None) == (job.state in ENDS)
            held = 0 if row is None or end is not None else row.amount
            assert self.ledger.balances[accounts.reserved(job.id)] == held
            assert sats(job.absorbed_sats) == (end.granted if end else held)
            assert row is None or job.state not in WAITING

    @invariant()
    def the_pool_has_what_it_was_given_and_did_not_grant(self):
        if not hasattr(self, "ledger"):
            return
        held = sum(row.amount for row in self.ledger.reservations.values() if row.job_id not in self.ledger.ends)
        granted = sum(end.granted for end in self.ledger.ends.values())
        credited = sum(job.pool_credit for job in self.ledger.jobs.values())
        dust = sum(
            p.amount for e in self.ledger.entries.values() if e.code == "dust"
            for p in e.postings if p.account == accounts.POOL
        )  # fmt: skip
        assert self.ledger.balances[accounts.POOL] + held + granted == self.given + credited + dust
        assert self.ledger.balances[accounts.POOL] >= 0

    @invariant()
    def nobody_draws_more_in_a_day_than_the_widest_budget_they_could_have(self):
        """And the counter of a key is what was granted to it, told without looking at anything else."""
        for pubkey, row in self.ledger.identities.items() if hasattr(self, "ledger") else ():
            for day in {end.at // DAY for end in self.ledger.ends.values()}:
                granted = [
                    end.granted for end in self.ledger.ends.values()
                    if end.at // DAY == day and self.ledger.jobs[end.job_id].pubkey == pubkey
                ]  # fmt: skip
                assert sum(granted) <= BUDGETS.trusted
            assert row.sats_absorbed_today <= BUDGETS.trusted // 1_000
            assert self.ledger.set_aside(pubkey) <= BUDGETS.trusted

    @invariant()
    def nobody_draws_more_in_their_life_than_so_many_times_what_they_left(self):
        if not hasattr(self, "ledger") or not (factor := self.ledger.policy.lifetime_factor):
            return
        for pubkey in self.ledger.identities:
            drawn = self.ledger.granted(pubkey) + self.ledger.set_aside(pubkey)
            assert drawn <= factor * self.ledger.kept(pubkey)

    @invariant()
    def whoever_is_served_free_is_told_so(self):
        for job in self.jobs(*RUNNING) if hasattr(self, "ledger") else ():
            assert job.free_tier == (job.absorbed_sats > 0) or job.state is JobState.EVALUATING


def test_working_says_what_is_free():
    """A free job's word is of the pool, a part's of the invoice, and both say how much of the day is used."""
    ledger = MemoryLedger(POLICY, sats(100))
    ledger.identities[KEY] = identity(20, version=1)
    free = ledger.commit(asking("Why?", btc=priced(38)))
    assert [tell.message for tell in free.tells] == [
        Working(covered_by="pool", credit=Msats(0), free=free.tells[0].message.free)
    ]
    use = free.tells[0].message.free
    assert (use.absorbed, use.used, use.budget) == (sats(40), sats(40), sats(60))


Pool.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestPool = Pool.TestCase
