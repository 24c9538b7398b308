"""Any order of facts, whatever they ask for: the books stay balanced, drained and above their floors.

The machine keeps its own simple idea of the balances and is compared with the ledger's after every step.
"""

import asyncio
import collections
import dataclasses

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ledger import accounts
from ledger.audit import audit
from ledger.entries import Code, Entry, Posting, transfer
from ledger.money import Msats
from ledger.records import Applied, Change, JobState, RefundState, Replayed, Short, Stale
from ledger.reservations import NewReservation, ReservationEnd
from ledger.sqlite import open_ledger
from ledger.store import RuleBroken
from tests.ledger.books import KEY, NOW, fact, identity, new_job, refund

JOBS = [f"{number:032x}" for number in range(3)]
NAMES = [
    accounts.NODE,
    accounts.OPERATOR,
    accounts.POOL,
    accounts.EARNED,
    accounts.SHORTFALL,
    "customer:k",
    "customer:s",
]
SHARE = 52_000
BUDGET = Msats(70_000)
amounts = st.integers(min_value=1, max_value=60_000)
jobs = st.sampled_from(JOBS)


class Books(RuleBasedStateMachine):
    """Random facts on one ledger in memory, and a model of what they must have done."""

    @initialize()
    def open(self):
        self.loop = asyncio.new_event_loop()
        self.store = open_ledger("sqlite:///:memory:")
        self.model = collections.Counter()
        self.taken = set()
        self.ends = {}
        self.reserved = {}
        self.granted = {}
        self.number = 0
        self.seed()

    def seed(self):
        assert self.run(self.store.open_books(Msats(200_000), Msats(100_000), NOW))
        self.model.update({"node": -200_000, "operator": 100_000, "pool": 100_000})

    def teardown(self):
        if hasattr(self, "store"):
            self.run(self.store.close())
            self.loop.close()

    def run(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    def fresh(self, word):
        self.number += 1
        return f"{word}-{self.number}"

    def commit(self, fact_id, decide):
        """Commit, and apply to the model what the ledger says it applied."""
        change = Change()

        def deciding(view):
            nonlocal change
            change = decide(view)
            return change

        outcome = self.run(self.store.commit(fact(fact_id), deciding))
        assert (outcome == Replayed()) == (fact_id in self.taken)
        if isinstance(outcome, Applied):
            self.taken.add(fact_id)
            for entry in change.entries:
                self.model.update({posting.account: posting.amount for posting in entry.postings})
        return outcome

    @rule(debit=st.sampled_from(NAMES), credit=st.sampled_from(NAMES), amount=amounts, number=st.integers(0, 20))
    def money_moves(self, debit, credit, amount, number):
        """Numbers repeat, so some of these facts come twice. The pool alone pays nobody: its part comes below."""
        if debit in (credit, accounts.POOL):
            return
        before = self.model[debit]
        entry = transfer(f"move:{number}", Code.REVERSAL, debit, credit, Msats(amount))
        known = f"move-{number}" in self.taken
        outcome = self.commit(f"move-{number}", lambda _: Change(entries=(entry,)))
        if not known:
            assert (outcome == Short(debit)) == (accounts.has_floor(debit) and before < amount)

    @rule(job_id=jobs)
    def a_job_is_asked_for(self, job_id):
        def decide(view):
            if view.job(job_id) is not None:
                return Change()
            paid = transfer(f"settled:{job_id}", Code.SETTLED, accounts.NODE, accounts.job(job_id), Msats(60_000))
            job = new_job(job_id, state=JobState.EVALUATING, pubkey=KEY, paid_at=NOW, due_at=NOW)
            return Change(identity=view.identity(KEY) or identity(), new_job=job, entries=(paid,))

        self.commit(self.fresh("request"), decide)

    @rule(job_id=jobs, sats=st.integers(1, 60))
    def a_job_reserves_from_the_pool(self, job_id, sats):
        """Whoever asks: once a job, while it goes on, and never above what the key may have today."""
        amount, account = Msats(sats * 1_000), accounts.reserved(job_id)
        was_there = False

        def decide(view):
            nonlocal was_there
            job = view.job(job_id)
            was_there = job is not None and job.ended_at is None and account not in self.reserved
            if not was_there:
                return Change()
            changed = dataclasses.replace(job, absorbed_sats=sats)
            row = NewReservation(job_id=job_id, tier="trusted", budget=BUDGET, amount=amount, at=NOW)
            took = transfer(self.fresh("reserved"), Code.RESERVED, accounts.POOL, account, amount)
            return Change(job=changed, reservation=row, entries=(took,))

        before = self.model[accounts.POOL]
        try:
            outcome = self.commit(self.fresh("reserve"), decide)
        except RuleBroken:
            assert self.drawn() + amount > BUDGET
            return
        assert (outcome == Short(accounts.POOL)) == (was_there and before < amount)
        if was_there and isinstance(outcome, Applied):
            self.reserved[account] = amount
            assert self.drawn() <= BUDGET

    def drawn(self):
        """What the one key has today: granted, and set aside for jobs that go on."""
        return sum(self.granted.get(account, amount) for account, amount in self.reserved.items())

    @rule(job_id=jobs, state=st.sampled_from(list(JobState)))
    def a_job_is_pushed_into_any_state(self, job_id, state):
        """The graph holds, whoever asks."""
        before = self.run(self.store.job(job_id))
        if before is None or before.ended_at is not None or state is JobState.COMPLETE:
            return
        ended = NOW if state in ("rejected", "failed", "expired", "cancelled") else None
        pushed = dataclasses.replace(before, state=state, ended_at=ended, due_at=None if ended else NOW)
        if ended is not None and any(self.model[f"{kind}:{job_id}"] for kind in ("job", "reserved")):
            return
        try:
            self.commit(self.fresh("push"), lambda _: Change(job=pushed))
        except RuleBroken:
            assert self.run(self.store.job(job_id)) == before

    @rule(job_id=jobs, cost=st.integers(0, 80_000), stale=st.booleans())
    def a_job_ends(self, job_id, cost, stale):
        """One settlement: charge, grant and shortfall make up the cost; the rest of the account goes back."""

        def decide(view):
            job = view.job(job_id)
            if job is None or job.state not in ("evaluating", "executing"):
                return Change()
            held, reserved = view.balance(accounts.job(job_id)), view.balance(accounts.reserved(job_id))
            grant = min(cost - cost % 1_000, reserved)
            charge = min(held, SHARE, cost - grant)
            ended = dataclasses.replace(
                job,
                version=job.version - stale,
                state=JobState.FAILED,
                ended_at=NOW,
                due_at=None,
                absorbed_sats=grant // 1_000,
                charge_work=Msats(charge),
                shortfall=Msats(cost - grant - charge),
            )
            end = ReservationEnd(job_id=job_id, granted=Msats(grant), at=NOW) if reserved else None
            back = refund(f"r:{job_id}", job_id=job_id, amount=Msats(max(1, held - charge)))
            entries = self.settlement(job_id, charge, grant, cost, reserved)
            if held - charge:
                owed = transfer(
                    f"owed:{job_id}",
                    Code.OWED,
                    accounts.job(job_id),
                    accounts.refund(back.id),
                    Msats(held - charge),
                )
                return Change(job=ended, entries=(*entries, owed), refunds=(back,), reservation_end=end)
            return Change(job=ended, entries=entries, reservation_end=end)

        outcome = self.commit(self.fresh("end"), decide)
        if isinstance(outcome, Applied) and outcome.change.reservation_end is not None:
            self.granted[accounts.reserved(job_id)] = outcome.change.reservation_end.granted
        assert not (stale and isinstance(outcome, Applied) and outcome.job is not None)
        assert stale or outcome != Stale()

    def settlement(self, job_id, charge, grant, cost, reserved):
        taken = {accounts.job(job_id): charge, accounts.reserved(job_id): grant}
        taken[accounts.SHORTFALL] = cost - charge - grant
        postings = tuple(Posting(name, -amount) for name, amount in taken.items() if amount)
        entries = []
        if postings:
            entries.append(Entry(f"settlement:{job_id}", Code.SETTLEMENT, (*postings, Posting("earned", cost))))
        if reserved - grant:
            name = accounts.reserved(job_id)
            entries.append(
                transfer(f"released:{job_id}", Code.RELEASED, name, accounts.POOL, Msats(reserved - grant))
            )
        return tuple(entries)

    @rule(job_id=jobs, state=st.sampled_from(list(RefundState)), number=st.integers(1, 3))
    def a_refund_is_pushed_into_any_state(self, job_id, state, number):
        """Money leaves for a refund once, in the commit that says so."""
        before = self.run(self.store.look(lambda view: view.refund(f"r:{job_id}")))
        if before is None:
            return
        pushed = dataclasses.replace(before, state=state)
        if state is RefundState.SENDING:
            pushed = dataclasses.replace(pushed, payment_hash=f"{job_id}{number}", bolt11="lnbc1")
        gone = (RefundState.SENT, RefundState.CREDITED, RefundState.PAID_ELSEWHERE)
        ends = state in gone and before.state is not state
        homes = {RefundState.SENT: accounts.NODE, RefundState.PAID_ELSEWHERE: accounts.OPERATOR}
        home = homes.get(state, "customer:k")
        codes = {RefundState.SENT: Code.SENT, RefundState.PAID_ELSEWHERE: Code.ELSEWHERE}
        code = codes.get(state, Code.CREDITED)
        entries = (transfer(f"gone:{before.id}", code, accounts.refund(before.id), home, before.amount),)
        try:
            self.commit(self.fresh("refund"), lambda _: Change(refunds=(pushed,), entries=entries if ends else ()))
        except RuleBroken:
            assert self.run(self.store.look(lambda view: view.refund(before.id))) == before

    @invariant()
    def the_ledger_and_the_model_agree(self):
        if not hasattr(self, "store"):
            return
        balances = self.run(self.store.balances())
        assert {name: amount for name, amount in balances.items() if amount} == {
            name: amount for name, amount in self.model.items() if amount
        }
        assert sum(balances.values()) == 0
        assert all(amount >= 0 for name, amount in balances.items() if accounts.has_floor(name))

    @invariant()
    def the_audit_finds_nothing(self):
        if hasattr(self, "store"):
            assert self.run(self.store._reader.run(audit)) == []


TestBooks = Books.TestCase
TestBooks.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
