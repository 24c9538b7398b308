"""Small builders: a job, an invoice, a refund or a fact with everything that a test does not speak of filled in.

Amounts in the signatures are whole sats, as on an invoice; what is built holds msat.
"""

import dataclasses
from decimal import Decimal

from ledger import accounts
from ledger.entries import Entry
from ledger.money import MicroUsd, Msats, msats_from_sats
from ledger.records import (
    Door,
    IdentityRecord,
    InvoiceRecord,
    InvoiceState,
    JobRecord,
    JobState,
    Mode,
    NewJob,
    Quote,
    RefundRecord,
    RefundState,
)
from timmy_dvm.core.case import Case, Decision
from timmy_dvm.core.facts import (
    CancelAsked,
    DeadlinePassed,
    EvalDone,
    InvoiceMade,
    InvoiceNotMade,
    InvoiceUnpaid,
    Op,
    PaymentOut,
    PaymentSeen,
    PayResult,
    QuestionAsked,
    RefundClaimed,
    RefundDue,
    RequestReceived,
    RunFailed,
    RunInterrupted,
    Step,
    WorkDone,
)
from timmy_dvm.core.free_tier import DailyBudgets
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.pricing import BtcPrice, Freshness
from timmy_dvm.core.trust import TrustRules

NOW = 1_800_000_000
DUE = NOW + 900
JOB = "1f" * 16
REFUND = "2e" * 16
EVENT = "e0" * 32
KEY = "ab" * 32
STRANGER = "cd" * 32
HASH = "0a" * 32
OUT = "0f" * 32
FRESH = "0d" * 32
"""Of a claim's BOLT11, which nothing was paid to before."""
BOLT11 = "lnbc1invoice"
ORIGIN = '{"id":"request"}'
CLAIM = '{"id":"claim"}'
BTC = BtcPrice(100_000_000_000, "test", Freshness.FIXED, NOW)
POLICY = Policy()

sats = msats_from_sats
FEES = {"fee_per_refund": sats(40), "fee_per_day": sats(60), "jobs_per_key_minute": 10}
"""The fees are large beside the price of a job, so that each of their limits is met; and so is what is free."""
GENEROUS = DailyBudgets(new=sats(150), established=sats(250))
POLICIES = (Policy(**FEES), Policy(**FEES, daily_budgets=GENEROUS, trust=TrustRules(established=2)))


def quote(eval_fee: int = 2, work_fee: int = 100) -> Quote:
    return Quote(
        eval_fee=sats(eval_fee),
        work_fee=sats(work_fee),
        estimated_cost=MicroUsd(1_000),
        margin_percent=40,
        btc_price_micro_usd=BTC.micro_usd,
        btc_price_source="test (fixed)",
        work_model="offline",
        max_output_tokens=400,
    )


def job(state: JobState = JobState.AWAITING_EVAL_PAYMENT, **changes) -> JobRecord:
    """A relay job of 2 + 100 sats as it stands in ``state``, with one invoice for both steps."""
    paid = state not in (JobState.AWAITING_EVAL_PAYMENT, JobState.EXPIRED, JobState.CANCELLED)
    judged = state in (JobState.AWAITING_WORK_PAYMENT, JobState.EXECUTING, JobState.COMPLETE)
    ended = state in (
        JobState.COMPLETE,
        JobState.REJECTED,
        JobState.FAILED,
        JobState.EXPIRED,
        JobState.CANCELLED,
    )
    row = JobRecord(
        id=JOB,
        version=3,
        state=state,
        door=Door.NOSTR,
        mode=Mode.ONCE,
        event_id=EVENT,
        pubkey=KEY,
        quote=quote(),
        share_eval=sats(2),
        share_work=sats(100),
        credit_used=Msats(0),
        refund_to=None,
        eval_runs=1 if paid else 0,
        work_runs=1 if state in (JobState.EXECUTING, JobState.COMPLETE) else 0,
        eval_passed=True if judged else None,
        asked_at=NOW - 20,
        created_at=NOW - 20,
        paid_at=NOW - 10 if paid else None,
        ended_at=NOW - 5 if ended else None,
        due_at=None if ended else DUE,
    )
    return dataclasses.replace(row, **changes)


def made_job(new: NewJob) -> JobRecord:
    """The row the ledger makes of a new job."""
    fields = {f.name: getattr(new, f.name) for f in dataclasses.fields(new)}
    for text in ("request", "origin", "follows"):
        del fields[text]
    return JobRecord(version=1, **fields)


def invoice(amount: int = 102, state: InvoiceState = InvoiceState.OPEN, **changes) -> InvoiceRecord:
    row = InvoiceRecord(
        payment_hash=HASH,
        account=accounts.job(JOB),
        job_id=JOB,
        amount=sats(amount),
        bolt11=BOLT11,
        created_at=NOW - 20,
        expires_at=DUE - 60,
        state=state,
    )
    return dataclasses.replace(row, **changes)


def refund(state: RefundState = RefundState.HELD, amount: int = 21, **changes) -> RefundRecord:
    """A refund in ``state``; while a BOLT11 is named it is at its first try."""
    named = state not in (RefundState.HELD, RefundState.CREDITED)
    row = RefundRecord(
        id=REFUND,
        version=1,
        job_id=JOB,
        pubkey=KEY,
        amount=sats(amount),
        reason="change",
        state=state,
        kept_fee_room=sats(5),
        payment_hash=OUT if named else None,
        bolt11=BOLT11 if named else None,
        max_fee=sats(3) if named else Msats(0),
        attempts=1 if named else 0,
        created_at=NOW - 5,
        updated_at=NOW - 5,
    )
    return dataclasses.replace(row, **changes)


def identity(score: int = 0, **changes) -> IdentityRecord:
    row = IdentityRecord(pubkey=KEY, version=2, trust_score=score, first_seen=NOW - 1_000, last_seen=NOW - 100)
    return dataclasses.replace(row, **changes)


def asking(text: str = "What is a relay?", **changes) -> RequestReceived:
    fact = RequestReceived(
        job_id=JOB,
        door=Door.NOSTR,
        mode=Mode.ONCE,
        event_id=EVENT,
        pubkey=KEY,
        text=text,
        origin=ORIGIN,
        btc=BTC,
        asked_at=NOW - 1,
        at=NOW,
    )
    return dataclasses.replace(fact, **changes)


def question(op: Op, text: str = "", **changes) -> QuestionAsked:
    fact = QuestionAsked(
        event_id="e5" * 32,
        op=op,
        door=Door.NOSTR,
        pubkey=KEY,
        npub="npub1key",
        origin=CLAIM,
        btc=BTC,
        at=NOW,
        text=text,
    )
    return dataclasses.replace(fact, **changes)


def made(amount: int = 102, key: str = f"{JOB}:asked") -> InvoiceMade:
    return InvoiceMade(
        job_id=JOB,
        key=key,
        payment_hash=HASH,
        bolt11=BOLT11,
        amount=sats(amount),
        created_at=NOW,
        expires_at=NOW + 3_600,
        at=NOW,
    )


def not_made(key: str = f"{JOB}:asked") -> InvoiceNotMade:
    return InvoiceNotMade(job_id=JOB, key=key, at=NOW)


def seen(received: Msats | None, payment_hash: str = HASH) -> PaymentSeen:
    return PaymentSeen(payment_hash=payment_hash, received=received, at=NOW)


def unpaid() -> InvoiceUnpaid:
    return InvoiceUnpaid(payment_hash=HASH, at=NOW)


def verdict(*, accepted: bool, run: int = 1) -> EvalDone:
    reason = "" if accepted else "I don't do that."
    return EvalDone(
        job_id=JOB, run=run, accepted=accepted, reason=reason, input_tokens=50, output_tokens=5, at=NOW
    )


def answer(charge: int, run: int = 1, **changes) -> WorkDone:
    fact = WorkDone(
        job_id=JOB,
        run=run,
        text="A relay keeps events.",
        truncated=False,
        input_tokens=123,
        output_tokens=456,
        cost_micro_usd=7_900,
        charge_sats=charge,
        at=NOW,
    )
    return dataclasses.replace(fact, **changes)


def run_failed(step: Step, run: int = 1) -> RunFailed:
    return RunFailed(job_id=JOB, step=step, run=run, sentence="The model is away.", at=NOW)


def interrupted(step: Step, run: int = 1) -> RunInterrupted:
    return RunInterrupted(job_id=JOB, step=step, run=run, at=NOW)


def deadline(due_at: int = DUE) -> DeadlinePassed:
    return DeadlinePassed(job_id=JOB, due_at=due_at, at=due_at)


def cancel(pubkey: str = KEY) -> CancelAsked:
    return CancelAsked(event_id="c0" * 32, request_event_id=EVENT, pubkey=pubkey, at=NOW)


def claim(amount: int | None = 21, **changes) -> RefundClaimed:
    fact = RefundClaimed(
        event_id="c1" * 32,
        request_event_id=EVENT,
        pubkey=KEY,
        bolt11=BOLT11,
        payment_hash=FRESH,
        amount=None if amount is None else sats(amount),
        rail_ok=True,
        expires_at=NOW + 3_600,
        origin=CLAIM,
        at=NOW,
    )
    return dataclasses.replace(fact, **changes)


def again(attempts: int = 1) -> RefundDue:
    return RefundDue(refund_id=REFUND, attempts=attempts, at=NOW)


def out(result: PayResult, fee: int = 0, attempts: int = 1, payment_hash: str = OUT) -> PaymentOut:
    return PaymentOut(
        refund_id=REFUND,
        payment_hash=payment_hash,
        attempts=attempts,
        result=result,
        fee=sats(fee),
        detail="no route",
        at=NOW,
    )


def around(row: JobRecord, sats_held: int = 0, **changes) -> Case:
    """The books around a job whose account holds ``sats_held``."""
    books = {"held": sats(sats_held), "identity": identity() if row.pubkey else None, **changes}
    return Case(job=row, **books)


def moves(decision: Decision) -> list[str]:
    """The entries of a decision as they are read: ``node>job 102``, in sats and in families of accounts."""
    return [_read(entry) for entry in decision.entries]


def _read(entry: Entry) -> str:
    debits = [p for p in entry.postings if p.amount < 0]
    (credit,) = (p for p in entry.postings if p.amount > 0)
    into = accounts.family(credit.account)
    if len(debits) == 1:
        return f"{accounts.family(debits[0].account)}>{into} {in_sats(credit.amount)}"
    parts = "+".join(f"{accounts.family(p.account)} {in_sats(-p.amount)}" for p in debits)
    return f"{parts}>{into}"


def in_sats(msats: int) -> str:
    """``21`` or ``0.5``."""
    whole, rest = divmod(msats, 1_000)
    return str(whole) if not rest else f"{whole}.{rest:03d}".rstrip("0")


def returned(decision: Decision) -> list[str]:
    """The refunds of a decision: ``held 21 change``."""
    return [f"{r.state} {in_sats(r.amount)} {r.reason}" for r in decision.refunds]


def msats(text: str) -> Msats:
    """``0.5`` sats, say."""
    return Msats(int(Decimal(text) * 1_000))


def told(decision: Decision) -> list[str]:
    """The messages of a decision: their names, with the code where they have one."""
    said = []
    for tell in decision.tells:
        code = getattr(tell.message, "code", None)
        name = type(tell.message).__name__
        said.append(f"{name} {code}" if code else name)
    return said


def done(decision: Decision) -> list[str]:
    """The actions of a decision: ``CreateInvoice 102``, ``RunAgent eval 1``, ``PayRefund try 1 fee 3``."""
    said = []
    for do in decision.actions:
        action = do.action
        words = [type(action).__name__]
        if hasattr(action, "amount"):
            words.append(in_sats(action.amount))
        if hasattr(action, "step"):
            words += [str(action.step), str(action.run)]
        if hasattr(action, "attempts"):
            words += ["try", str(action.attempts)]
        if hasattr(action, "max_fee"):
            words += ["fee", in_sats(action.max_fee)]
        if do.due_at is not None:
            words.append(f"+{do.due_at - NOW}s")
        said.append(" ".join(words))
    return said


def what_follows(decision: Decision, state: JobState | None = None) -> list[str]:
    """All of a decision in the words of the tables."""
    parts = []
    if decision.job is not None:
        parts.append("same" if decision.job.state is state else str(decision.job.state))
    parts += [f"invoice {row.state}" for row in decision.invoices]
    if decision.entries:
        parts.append(", ".join(moves(decision)))
    return parts + returned(decision) + done(decision) + told(decision)
