"""The world around the core: customers, our wallet, the model, time and trouble, as rules of a state machine.

People pay too little, too much, late or never, cancel, and claim wrongly; the wallet fails, dallies and does not
know; processes die before an outcome is written, and facts are told again. What must hold meanwhile is in
``test_decide_properties``.
"""

import dataclasses
import hashlib

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ledger import accounts
from ledger.money import Msats
from ledger.records import Door, JobState, Mode, RefundState
from tests.timmy_dvm.core.builders import BTC, CLAIM, KEY, NOW, ORIGIN, POLICIES, STRANGER, sats
from tests.timmy_dvm.core.credit_builders import for_whom
from tests.timmy_dvm.core.memory_ledger import DAY, MemoryLedger
from timmy_dvm.core.actions import CheckInvoice, CreateInvoice, FindPayment, PayRefund, RetryRefund, RunAgent
from timmy_dvm.core.facts import (
    CancelAsked,
    DeadlinePassed,
    EvalDone,
    InvoiceMade,
    InvoiceNotMade,
    InvoiceUnpaid,
    PaymentOut,
    PaymentSeen,
    PayResult,
    RefundClaimed,
    RefundDue,
    RequestReceived,
    RunFailed,
    RunInterrupted,
    Step,
    WorkDone,
)

PRICE = dataclasses.replace(BTC, micro_usd=10_000_000_000)
ENDS = (JobState.COMPLETE, JobState.REJECTED, JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED)
PICK = st.integers(0, 1_000_000)
PAYS = {"percent": st.sampled_from([100, 100, 150, 200, 99, 50, 0]), "msat": st.sampled_from([0, 0, 1, 500])}
SENDS = {
    "says": st.sampled_from(["succeeded", "failed", "failed", "in_flight", "unknown", "crash"]),
    "really": st.sampled_from(["succeeded", "failed", "in_flight"]),
    "fee": st.sampled_from([0, 1_500, 10**9]),
}
WRONG = st.sampled_from([*[None] * 8, "more", "less", "any", "key", "used", "short", "net"])
OPEN = (RefundState.HELD, RefundState.OWED)
TEXTS = {"short": "hi", "long": "x" * 200, "blank": " ", "too long": "y" * 20_000}


class OurWallet:
    """What our wallet really did, whatever it says. Hashes are hex; amounts msat."""

    def __init__(self) -> None:
        self.invoices: dict[str, CreateInvoice] = {}
        self.by_key: dict[str, str] = {}
        self.expiry: dict[str, int] = {}
        self.received: dict[str, int] = {}
        self.sent: dict[str, str] = {}
        self.fees: dict[str, int] = {}

    def make(self, wanted: CreateInvoice, at: int) -> str:
        if wanted.key not in self.by_key:
            payment_hash = hashlib.sha256(wanted.key.encode()).hexdigest()
            self.by_key[wanted.key] = payment_hash
            self.invoices[payment_hash] = wanted
            self.expiry[payment_hash] = at + wanted.expiry_s
        return self.by_key[wanted.key]

    def pay(self, payment_hash: str, becomes: str, fee: int) -> None:
        """A hash is paid at most once: another try of one that did not fail changes nothing."""
        if self.sent.get(payment_hash, "failed") == "failed":
            self.sent[payment_hash] = becomes
            self.fees[payment_hash] = fee


class World(RuleBasedStateMachine):
    """Everything that can happen to Timmy. ``self.ledger`` is what Timmy made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.wallet = OurWallet()
        self.started: set[int] = set()
        self.number = 0
        self.work_cost: dict[str, int] = {}

    @initialize(policy=st.sampled_from(POLICIES), capped=st.booleans(), pool=st.sampled_from([0, 90, 400]))
    def begin(self, policy, capped, pool):
        self.ledger = MemoryLedger(dataclasses.replace(policy, wallet_limits_fees=capped), sats(pool))

    def fresh(self) -> int:
        self.number += 1
        return self.number

    def picked(self, things, pick):
        things = list(things)
        return things[pick % len(things)]

    # What customers do -----------------------------------------------------------------------------------------

    @rule(
        pubkey=st.sampled_from([KEY, STRANGER, None]), mode=st.sampled_from(Mode),
        text=st.sampled_from(list(TEXTS)), bid=st.sampled_from([None, None, sats(1), sats(1_000)]),
        life=st.sampled_from([None, None, 59, 60, 600]), addressed=st.booleans(),
    )  # fmt: skip
    def ask(self, pubkey, mode, text, bid, life=None, addressed=True):
        n = self.fresh()
        fact = RequestReceived(
            job_id=f"{n:032x}", door=Door.NOSTR, mode=mode, event_id=f"e{n:063x}", pubkey=pubkey, text=TEXTS[text],
            origin=ORIGIN, btc=PRICE, asked_at=self.now, at=self.now, bid=bid, addressed=addressed,
            expires_at=life and self.now + life,
        )  # fmt: skip
        decision = self.ledger.commit(fact)
        refused = any(type(tell.message).__name__ == "Refused" for tell in decision.tells)
        assert refused == (decision.new_job is None and addressed)

    @rule(pubkey=st.sampled_from([KEY, STRANGER, None]), mode=st.sampled_from(Mode), **PAYS)
    def ask_and_pay(self, pubkey, mode, percent, msat):
        """What most customers do, so that the machine gets somewhere."""
        self.ask(pubkey, mode, "short", None)
        self.what_waits_goes_well(3)
        if self.unpaid_hashes():
            self.pay(-1, percent, msat, True)

    def unpaid_hashes(self):
        """What a customer was shown and did not pay yet; a wallet takes money for an old invoice as well."""
        return [h for h in self.ledger.invoices if h not in self.wallet.received]

    @precondition(lambda self: self.unpaid_hashes())
    @rule(pick=PICK, at_once=st.booleans(), **PAYS)
    def pay(self, pick, percent, msat, at_once):
        payment_hash = self.picked(self.unpaid_hashes(), pick)
        asked = self.wallet.invoices[payment_hash].amount
        self.wallet.received[payment_hash] = asked * percent // 100 + msat
        if at_once:
            self.see_payment(len(self.wallet.received) - 1, False)

    @precondition(lambda self: self.ledger.jobs)
    @rule(pick=PICK, pubkey=st.sampled_from([KEY, STRANGER]))
    def cancel(self, pick, pubkey):
        job = self.picked(self.ledger.jobs.values(), pick)
        fact = CancelAsked(
            event_id=f"c{self.fresh():063x}", request_event_id=job.event_id, pubkey=pubkey, at=self.now
        )
        decision = self.ledger.commit(fact)
        if job.pubkey != pubkey:
            assert decision.job is None
            assert decision.tells == ()

    @precondition(lambda self: self.ledger.refunds_of_jobs())
    @rule(pick=PICK, wrong=WRONG, by_sum=st.booleans())
    def claim(self, pick, wrong, by_sum):
        there = self.ledger.refunds_of_jobs()
        refund = self.picked([r for r in there if r.state in OPEN and r.pubkey] or there, pick)
        job = self.ledger.jobs[refund.job_id]
        seen_before, n = list(self.ledger.tried) or list(self.ledger.invoices), self.fresh()
        amount = {"more": refund.sendable + 1, "less": refund.sendable - 1, "any": None}.get(
            wrong, refund.sendable
        )
        fact = RefundClaimed(
            event_id=f"d{n:063x}", request_event_id=None if by_sum else job.event_id,
            bolt11=f"lnbc{n}", amount=amount, pubkey=job.pubkey if job.pubkey and wrong != "key" else "99" * 32,
            payment_hash=self.picked(seen_before, pick) if wrong == "used" else f"f{n:063x}",
            rail_ok=wrong != "net", expires_at=self.now + (119 if wrong == "short" else 120),
            origin=CLAIM, at=self.now,
        )  # fmt: skip
        decision = self.ledger.commit(fact)
        assert len(decision.tells) == 1
        for sending in decision.refunds:
            assert wrong is None or sending.sendable == amount != refund.sendable
            assert (sending.pubkey, sending.sendable) == (fact.pubkey, amount)
        if not decision.refunds and wrong is None and refund.state in OPEN and refund.pubkey:
            assert decision.tells[0].message.code == "fee_reserve"

    # What our own machine does -----------------------------------------------------------------------------------

    def due_actions(self, kind):
        due = [(n, do.action) for n, do in self.ledger.outbox.items() if (do.due_at or 0) <= self.now]
        return [(number, action) for number, action in due if isinstance(action, kind)]

    @precondition(lambda self: self.due_actions(CreateInvoice))
    @rule(pick=PICK, outcome=st.sampled_from(["made", "made", "made", "crash", "away"]))
    def make_invoice(self, pick, outcome):
        number, wanted = self.picked(self.due_actions(CreateInvoice), pick)
        if outcome == "away":
            self.ledger.commit(InvoiceNotMade(**for_whom(wanted), key=wanted.key, at=self.now), number)
            return
        payment_hash = self.wallet.make(wanted, self.now)
        if outcome == "made":
            self.tell_made(number, wanted, payment_hash)

    def tell_made(self, number, wanted, payment_hash):
        fact = InvoiceMade(
            **for_whom(wanted), key=wanted.key, payment_hash=payment_hash, bolt11="lnbc",
            amount=Msats(wanted.amount), created_at=self.now, at=self.now,
            expires_at=self.wallet.expiry[payment_hash],
        )  # fmt: skip
        decision = self.ledger.commit(fact, number)
        if decision.tells and wanted.job_id:
            (told,) = decision.tells
            assert told.message.amount % 1_000 == 0
            job = self.ledger.jobs[wanted.job_id]
            held = self.ledger.balances[accounts.job(job.id)]
            assert held + told.message.amount < job.share_eval + job.share_work + 1_000

    @precondition(lambda self: self.wallet.received)
    @rule(pick=PICK, says=st.booleans())
    def see_payment(self, pick, says):
        payment_hash = self.picked(self.wallet.received, pick)
        received = Msats(self.wallet.received[payment_hash])
        as_asked = received == self.wallet.invoices[payment_hash].amount
        told = None if says and as_asked else received
        self.ledger.commit(PaymentSeen(payment_hash=payment_hash, received=told, at=self.now))

    @precondition(lambda self: self.due_actions(CheckInvoice))
    @rule(pick=PICK)
    def check_invoice(self, pick):
        self.tell_checked(*self.picked(self.due_actions(CheckInvoice), pick))

    def tell_checked(self, number, look):
        if look.payment_hash in self.wallet.received:
            received = Msats(self.wallet.received[look.payment_hash])
            self.ledger.commit(PaymentSeen(payment_hash=look.payment_hash, received=received, at=self.now), number)
        else:
            self.ledger.commit(InvoiceUnpaid(payment_hash=look.payment_hash, at=self.now), number)

    @precondition(lambda self: self.due_actions(RunAgent))
    @rule(pick=PICK, outcome=st.sampled_from(["done", "done", "done", "no", "crash"]), charge=st.integers(0, 150))
    def run_agent(self, pick, outcome, charge):
        self.tell_run(*self.picked(self.due_actions(RunAgent), pick), outcome, charge)

    def tell_run(self, number, run, outcome, charge):
        decision = self.ledger.commit(self.outcome_of(run, outcome, charge), number)
        if decision and decision.result is not None:
            self.work_cost[run.job_id] = charge * 1_000

    def outcome_of(self, run, outcome, charge):
        common = {"job_id": run.job_id, "run": run.run, "at": self.now}
        if outcome == "crash":
            return RunInterrupted(step=run.step, **common)
        tokens = {"input_tokens": 10, "output_tokens": 20}
        if run.step is Step.EVAL and (outcome == "done" or charge % 2):
            return EvalDone(accepted=outcome == "done", reason="No.", **tokens, **common)
        if outcome == "no":
            return RunFailed(step=run.step, sentence="The model is away.", **common)
        return WorkDone(
            text="Done.", truncated=False, cost_micro_usd=charge, charge_sats=charge, **tokens, **common
        )

    @precondition(lambda self: self.due_actions(PayRefund))
    @rule(pick=PICK, **SENDS)
    def pay_refund(self, pick, says, really, fee):
        self.send(*self.picked(self.due_actions(PayRefund), pick), says, really, fee)

    @precondition(lambda self: any(r.state in OPEN for r in self.ledger.refunds_of_jobs()))
    @rule(pick=PICK, by_sum=st.booleans(), **SENDS)
    def claim_and_pay(self, pick, by_sum, says, really, fee):
        before = set(self.ledger.outbox)
        self.claim(pick, None, by_sum)
        for number in set(self.ledger.outbox) - before:
            self.send(number, self.ledger.outbox[number].action, says, really, fee)

    def send(self, number, refund, says, really, fee):
        """One call of our wallet: what it says, what it really does, and a process that may die in between."""
        if number in self.started:
            self.tell_out(refund, self.looked_up(refund.payment_hash), number)
            return
        self.wallet.pay(
            refund.payment_hash, really if says in ("unknown", "crash") else says, min(fee, refund.max_fee)
        )
        if says == "crash":
            self.started.add(number)
            return
        truth = self.wallet.sent[refund.payment_hash]
        self.tell_out(refund, "unknown" if says == "unknown" else truth, number)

    def looked_up(self, payment_hash):
        return self.wallet.sent.get(payment_hash, "unknown")

    def tell_out(self, action, result, number=None):
        fee = self.wallet.fees[action.payment_hash] if result == "succeeded" else 0
        fact = PaymentOut(
            refund_id=action.refund_id, payment_hash=action.payment_hash, attempts=action.attempts,
            result=PayResult(result), fee=Msats(fee), detail="", at=self.now,
        )  # fmt: skip
        self.ledger.commit(fact, number)

    @precondition(lambda self: self.due_actions(FindPayment))
    @rule(pick=PICK, becomes=st.sampled_from(["succeeded", "failed", "in_flight"]))
    def find_payment(self, pick, becomes):
        self.find(*self.picked(self.due_actions(FindPayment), pick), becomes)

    def find(self, number, sought, becomes):
        """The wallet is asked by the hash; only an end is told, and while there is none the action stays."""
        if self.wallet.sent.get(sought.payment_hash) == "in_flight":
            self.wallet.sent[sought.payment_hash] = becomes
        truth = self.looked_up(sought.payment_hash)
        if truth in ("succeeded", "failed"):
            self.tell_out(sought, truth, number)

    @precondition(lambda self: self.due_actions(RetryRefund))
    @rule(pick=PICK)
    def retry(self, pick):
        self.tell_due(*self.picked(self.due_actions(RetryRefund), pick))

    def tell_due(self, number, later):
        self.ledger.commit(RefundDue(refund_id=later.refund_id, attempts=later.attempts, at=self.now), number)

    @precondition(lambda self: any(r.state is RefundState.OWED for r in self.ledger.refunds.values()))
    @rule(fails=st.integers(1, 6))
    def a_route_is_missing_for_long(self, fails):
        """The same BOLT11 fails again and again, each time after its pause."""
        for _ in range(fails):
            waiting = [
                (n, do) for n, do in self.ledger.outbox.items() if isinstance(do.action, RetryRefund | PayRefund)
            ]
            for number, do in waiting:
                self.now = max(self.now, do.due_at or 0)
                if isinstance(do.action, RetryRefund):
                    self.tell_due(number, do.action)
                elif number not in self.started:
                    self.wallet.pay(do.action.payment_hash, "failed", 0)
                    self.tell_out(do.action, self.wallet.sent[do.action.payment_hash], number)

    # What time and trouble do --------------------------------------------------------------------------------

    @rule(steps=st.integers(1, 6))
    def what_waits_goes_well(self, steps):
        for _ in range(steps):
            waiting = [
                (number, action) for number, action in self.due_actions(object) if number not in self.started
            ]
            if waiting:
                self.do_well(*waiting[-1])

    @rule(seconds=st.sampled_from([1, 60, 600, 900, 3_700, 21_600, DAY]))
    def wait(self, seconds):
        self.now += seconds

    def overdue(self):
        return [job for job in self.ledger.jobs.values() if job.due_at is not None and job.due_at <= self.now]

    @precondition(lambda self: self.overdue())
    @rule(pick=PICK)
    def deadline(self, pick):
        job = self.picked(self.overdue(), pick)
        self.ledger.commit(DeadlinePassed(job_id=job.id, due_at=job.due_at, at=self.now))

    @precondition(lambda self: self.ledger.facts)
    @rule(pick=PICK)
    def hear_it_again(self, pick):
        fact = self.picked(self.ledger.facts.values(), pick)
        before = (dict(self.ledger.balances), dict(self.ledger.jobs), dict(self.ledger.refunds))
        assert self.ledger.commit(dataclasses.replace(fact, at=self.now)) is None
        assert before == (self.ledger.balances, self.ledger.jobs, self.ledger.refunds)

    @precondition(lambda self: any(r.attempts > 1 for r in self.ledger.refunds.values()))
    @rule(pick=PICK, result=st.sampled_from([PayResult.FAILED, PayResult.UNKNOWN, PayResult.IN_FLIGHT]))
    def an_older_try_speaks_up(self, pick, result):
        """Whatever is said of a try before this one frees nothing and doubts nothing."""
        refund = self.picked([r for r in self.ledger.refunds.values() if r.attempts > 1], pick)
        fact = PaymentOut(
            refund_id=refund.id, payment_hash=refund.payment_hash or "00" * 32,
            attempts=1 + pick % (refund.attempts - 1), result=result, fee=Msats(0), detail="", at=self.now,
        )  # fmt: skip
        decision = self.ledger.commit(fact)
        assert decision is None or decision.refunds == ()

    @precondition(lambda self: self.ledger.jobs)
    @rule(pick=PICK, step=st.sampled_from(Step), run=st.integers(1, 3), charge=st.integers(0, 300))
    def a_run_nobody_waits_for_ends(self, pick, step, run, charge):
        job = self.picked(self.ledger.jobs.values(), pick)
        waits = {JobState.EVALUATING: (Step.EVAL, job.eval_runs), JobState.EXECUTING: (Step.WORK, job.work_runs)}
        if waits.get(job.state) == (step, run):
            return
        if job.state not in ENDS and run > (job.work_runs if step is Step.WORK else job.eval_runs):
            return  # the id of a run that is still to come
        decision = self.ledger.commit(self.outcome_of(RunAgent(job_id=job.id, step=step, run=run), "done", charge))
        assert decision is None or (decision.job is None and decision.entries == ())

    def do_well(self, number, action):
        match action:
            case CreateInvoice():
                self.tell_made(number, action, self.wallet.make(action, self.now))
            case CheckInvoice():
                self.tell_checked(number, action)
            case RunAgent():
                self.tell_run(number, action, "done", 50)
            case PayRefund():
                self.wallet.pay(action.payment_hash, "succeeded", 0)
                self.tell_out(action, self.wallet.sent[action.payment_hash], number)
            case FindPayment():
                self.find(number, action, "succeeded")
            case RetryRefund():
                self.tell_due(number, action)
