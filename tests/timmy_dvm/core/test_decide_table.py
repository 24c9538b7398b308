"""Every state and every fact, a row each: what follows is in the row, and so is what is refused or ignored.

A row of a job: who asked | sats in the job's account | the fact | what follows. The job was quoted 2 + 100 sats.
``once`` is a relay job with one invoice for both steps, ``steps`` one with an invoice for each, ``anon`` has no
key. ``same``: changed within its state; ``unserved``: expired, cancelled; ``served``: the other three ends. What
follows: new state; invoice; entries; refunds made; done; told. A refund: its try | fact | what follows.
"""

import dataclasses
from typing import get_args

import pytest

from ledger.records import JobState, Mode, RefundState
from tests.timmy_dvm.core import builders as b
from timmy_dvm.core.bootstrap_facts import BootstrapFact
from timmy_dvm.core.case import IGNORED, Case
from timmy_dvm.core.credit_facts import CreditFact
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import Fact, PayResult, Step
from timmy_dvm.core.refund_facts import RefundFact
from timmy_dvm.core.session_facts import SessionFact
from timmy_dvm.core.transitions import JOB, REFUND, UNSERVED

JOBS = """
awaiting_eval_payment:
    once  | 0     | made             | same; invoice open; PriceTold
    once  | 0     | not made         | cancelled; Refused wallet_away
    once  | 50    | not made         | cancelled; job>refund 50; held 50 failed; Refused wallet_away
    once  | 0     | paid 102         | evaluating; invoice settled; node>job 102; RunAgent eval 1; Working
    once  | 0     | paid as asked    | evaluating; invoice settled; node>job 102; RunAgent eval 1; Working
    once  | 0     | paid 150         | evaluating; invoice settled; node>job 150; RunAgent eval 1; Working
    once  | 0     | paid 50          | same; invoice settled; node>job 50; CreateInvoice 52
    once  | 50    | paid 52          | evaluating; invoice settled; node>job 52; RunAgent eval 1; Working
    once  | 0     | paid 101.999     | same; invoice settled; node>job 101.999; CreateInvoice 1
    once  | 0     | paid 0           | same; invoice settled; CreateInvoice 102
    once  | 0     | unpaid           | expired; invoice expired
    once  | 50    | unpaid           | expired; invoice expired; job>refund 50; held 50 expired; RefundMoved
    once  | 9     | unpaid           | expired; invoice expired; job>refund 9, refund>customer 9;
                                     | credited 9 expired; RefundMoved
    anon  | 9     | unpaid           | expired; invoice expired; job>refund 9; held 9 expired; RefundMoved
    once  | 0     | accept           | nothing
    once  | 0     | reject           | nothing
    once  | 0     | answer 79        | nothing
    once  | 0     | eval fails       | nothing
    once  | 0     | eval crashed     | nothing
    once  | 0     | due              | same; CheckInvoice
    once  | 0     | due before       | nothing
    once  | 0     | cancel           | cancelled; CheckInvoice +900s
    once  | 50    | cancel           | cancelled; job>refund 50; held 50 cancelled; CheckInvoice +900s;
                                     | Refused cancelled
    once  | 0     | stranger cancels | nothing
    anon  | 0     | stranger cancels | nothing
    steps | 0     | paid 2           | evaluating; invoice settled; node>job 2; RunAgent eval 1; Working
    steps | 0     | paid 102         | evaluating; invoice settled; node>job 102; RunAgent eval 1; Working
    steps | 0     | paid 1           | same; invoice settled; node>job 1; CreateInvoice 1

evaluating:
    once  | 102   | accept           | executing; RunAgent work 1
    steps | 2     | accept           | awaiting_work_payment; CreateInvoice 100
    steps | 2.5   | accept           | awaiting_work_payment; CreateInvoice 100
    steps | 60    | accept           | awaiting_work_payment; CreateInvoice 42
    steps | 102   | accept           | executing; RunAgent work 1
    once  | 102   | accept run 2     | nothing
    once  | 102   | reject           | rejected; job>earned 2, job>refund 100; held 100 rejected; Ended rejected
    steps | 2     | reject           | rejected; job>earned 2; Ended rejected
    once  | 102   | reject run 2     | nothing
    once  | 102   | eval fails       | failed; job>refund 102; held 102 failed; Ended failed
    steps | 2     | eval fails       | failed; job>refund 2, refund>customer 2; credited 2 failed; Ended failed
    anon  | 2.5   | eval fails       | failed; job>pool 0.5, job>refund 2; held 2 failed; Ended failed
    once  | 102   | work fails       | nothing
    once  | 102   | answer 79        | nothing
    once  | 102   | eval crashed     | same; RunAgent eval 2
    once  | 102   | eval crashed 2   | same; RunAgent eval 3
    once  | 102   | eval crashed 3   | failed; job>refund 102; held 102 failed; Ended failed
    once  | 102   | work crashed     | nothing
    once  | 102   | due              | failed; job>refund 102; held 102 failed; Ended failed
    once  | 102   | due before       | nothing
    once  | 102   | paid 102         | invoice settled; node>job 102
    once  | 102   | paid 0           | invoice settled
    once  | 102   | unpaid           | invoice expired
    once  | 102   | made             | invoice open; CheckInvoice +3660s
    once  | 102   | not made         | nothing
    once  | 102   | cancel           | Working
    once  | 102   | cancel queued    | cancelled; job>refund 102; held 102 cancelled; CheckInvoice +900s;
                                     | Refused cancelled
    once  | 102   | stranger cancels | nothing

awaiting_work_payment:
    steps | 2     | made             | same; invoice open; PriceTold
    steps | 2     | not made         | cancelled; job>earned 2; Refused wallet_away
    steps | 2     | paid 100         | executing; invoice settled; node>job 100; RunAgent work 1; Working
    steps | 2     | paid 200         | executing; invoice settled; node>job 200; RunAgent work 1; Working
    steps | 2     | paid 40          | same; invoice settled; node>job 40; CreateInvoice 60
    steps | 2     | paid 0           | same; invoice settled; CreateInvoice 100
    steps | 2     | unpaid           | expired; invoice expired; job>earned 2
    steps | 42    | unpaid           | expired; invoice expired; job>earned 2, job>refund 40; held 40 expired;
                                     | RefundMoved
    steps | 2     | accept           | nothing
    steps | 2     | answer 79        | nothing
    steps | 2     | eval fails       | nothing
    steps | 2     | work crashed     | nothing
    steps | 2     | due              | same; CheckInvoice
    steps | 2     | cancel           | cancelled; job>earned 2; CheckInvoice +900s
    steps | 42    | cancel           | cancelled; job>earned 2, job>refund 40; held 40 cancelled;
                                     | CheckInvoice +900s; Refused cancelled
    steps | 2     | stranger cancels | nothing

executing:
    once  | 102   | answer 79        | complete; job>earned 81, earned>pool 7, job>refund 21; held 21 change;
                                     | Delivered
    once  | 102   | answer 91        | complete; job>earned 93, earned>pool 9, job>refund 9, refund>customer 9;
                                     | credited 9 change; Delivered
    anon  | 102   | answer 99        | complete; job>earned 101, earned>pool 9, job>refund 1; held 1 change;
                                     | Delivered
    once  | 102   | answer 100       | complete; job>earned 102, earned>pool 10; Delivered
    once  | 102   | answer 130       | complete; job 102+shortfall 30>earned, earned>pool 10; Delivered
    once  | 200   | answer 130       | complete; job 102+shortfall 30>earned, earned>pool 10, job>refund 98;
                                     | held 98 change; Delivered
    once  | 204   | answer 79        | complete; job>earned 81, earned>pool 7, job>refund 123; held 123 change;
                                     | Delivered
    once  | 102.5 | answer 100       | complete; job>earned 102, earned>pool 10, job>customer 0.5; Delivered
    anon  | 102.5 | answer 100       | complete; job>earned 102, earned>pool 10, job>pool 0.5; Delivered
    once  | 102   | answer 79 run 2  | nothing
    once  | 102   | work fails       | failed; job>earned 2, job>refund 100; held 100 failed; Ended failed
    once  | 102   | eval fails       | nothing
    once  | 102   | work crashed     | same; RunAgent work 2
    once  | 102   | work crashed 3   | failed; job>earned 2, job>refund 100; held 100 failed; Ended failed
    once  | 102   | eval crashed     | nothing
    once  | 102   | due              | failed; job>earned 2, job>refund 100; held 100 failed; Ended failed
    once  | 102   | due before       | nothing
    once  | 102   | accept           | nothing
    once  | 102   | reject           | nothing
    once  | 102   | paid 102         | invoice settled; node>job 102
    once  | 102   | unpaid           | invoice expired
    once  | 102   | made             | invoice open; CheckInvoice +3660s
    once  | 102   | not made         | nothing
    once  | 102   | cancel           | Working
    once  | 102   | stranger cancels | nothing

unserved:
    once  | 0     | paid 102         | invoice settled; node>job 102, job>refund 102; held 102 late;
                                     | Refused late_payment
    once  | 0     | paid 9.5         | invoice settled;
                                     | node>job 9.5, job>customer 0.5, job>refund 9, refund>customer 9;
                                     | credited 9 late; Refused late_payment

served:
    once  | 0     | paid 102         | invoice settled; node>job 102, job>refund 102; held 102 twice;
                                     | Refused late_payment
    anon  | 0     | paid 9.5         | invoice settled; node>job 9.5, job>pool 0.5, job>refund 9; held 9 twice;
                                     | Refused late_payment

ended:
    once  | 0     | unpaid           | invoice expired
    once  | 0     | made             | invoice open; CheckInvoice +3660s
    once  | 0     | not made         | nothing
    once  | 0     | accept           | nothing
    once  | 0     | reject           | nothing
    once  | 0     | answer 79        | nothing
    once  | 0     | eval fails       | nothing
    once  | 0     | work fails       | nothing
    once  | 0     | eval crashed     | nothing
    once  | 0     | work crashed     | nothing
    once  | 0     | due              | nothing
    once  | 0     | cancel           | nothing
    once  | 0     | stranger cancels | nothing
"""

REFUNDS = """
held:
    0  | claim 21          | sending; PayRefund try 1 fee 3; OperationDone
    0  | claim 22          | Refused wrong_amount
    0  | claim any amount  | Refused wrong_amount
    5  | claim 21          | sending; PayRefund try 6 fee 3; OperationDone
    0  | try again         | nothing
    1  | sent              | nothing
    1  | failed            | nothing
    1  | unknown           | nothing

owed:
    1  | claim 21          | sending; PayRefund try 2 fee 3; OperationDone
    1  | try again         | sending; PayRefund try 2 fee 3
    2  | try again after 1 | nothing
    1  | sent              | nothing
    1  | failed            | nothing
    1  | unknown           | nothing

sending:
    1  | sent              | sent; refund>node 21; RefundMoved
    1  | sent at 2         | sent; refund>node 21, routing_fees>node 2; RefundMoved
    2  | sent of try 1     | sent; refund>node 21; RefundMoved
    1  | sent elsewhere    | nothing
    1  | failed            | owed; RetryRefund try 1 +60s; RefundMoved
    2  | failed            | owed; RetryRefund try 2 +600s
    3  | failed            | owed; RetryRefund try 3 +3600s
    4  | failed            | owed; RetryRefund try 4 +21600s
    5  | failed            | held; RefundMoved
    6  | failed            | owed; RetryRefund try 6 +60s; RefundMoved
    10 | failed            | held; RefundMoved
    2  | failed of try 1   | nothing
    1  | failed elsewhere  | nothing
    1  | in flight         | in_doubt; FindPayment try 1 fee 3 +5s
    1  | unknown           | in_doubt; FindPayment try 1 fee 3 +5s
    2  | unknown of try 1  | nothing
    1  | claim 21          | Refused already_sending
    1  | try again         | nothing

in_doubt:
    1  | sent at 1         | sent; refund>node 21, routing_fees>node 1; RefundMoved
    1  | failed            | owed; RetryRefund try 1 +60s; RefundMoved
    5  | failed            | held; RefundMoved
    1  | unknown           | nothing
    1  | in flight         | nothing
    1  | claim 21          | Refused already_sending
    1  | try again         | nothing

sent, paid_elsewhere:
    1  | claim 21          | Refused nothing_owed
    1  | try again         | nothing
    1  | sent              | nothing
    1  | failed            | nothing
    1  | unknown           | nothing

credited:
    0  | claim 21          | Refused nothing_owed
    0  | try again         | nothing
    0  | sent              | nothing
    0  | failed            | nothing
    0  | unknown           | nothing
"""

GROUPS = {
    "ended": [state for state, onward in JOB.items() if not onward],
    "unserved": sorted(UNSERVED),
    "served": [JobState.COMPLETE, JobState.REJECTED, JobState.FAILED],
}


def rows_of(table: str) -> list[tuple[str, list[str], list[str]]]:
    """``(state, cells, what follows)`` of each row; a line that begins with a bar goes on with the row above."""
    rows: list[tuple[str, list[str], list[str]]] = []
    state = ""
    for line in filter(None, table.splitlines()):
        if not line.startswith(" "):
            state = line.removesuffix(":")
            continue
        *cells, follows = (cell.strip() for cell in line.split("|"))
        parts = [part.strip() for part in follows.split(";") if part.strip() not in ("", "nothing")]
        if any(cells):
            rows += [(each, cells, parts) for each in state.split(", ")]
        else:
            rows[-1][2].extend(parts)
    return rows


def job_rows() -> list[tuple[JobState, list[str], list[str]]]:
    return [
        (JobState(state), cells, follows)
        for states, cells, follows in rows_of(JOBS)
        for state in GROUPS.get(states, [states])
    ]


def named(rows) -> list:
    """The rows as parameters, each under a name that finds it in the table."""
    return [pytest.param(*row, id=" ".join([row[0], *row[1]])) for row in rows]


def the_job(who: str, state: JobState, fact: str):
    row = b.job(state, mode=Mode.STEPS if who == "steps" else Mode.ONCE, pubkey=None if who == "anon" else b.KEY)
    run = int(fact.rsplit(maxsplit=1)[-1]) if "crashed" in fact and fact[-1].isdigit() else 1
    if state is JobState.EVALUATING:
        return dataclasses.replace(row, eval_runs=run)
    return dataclasses.replace(row, work_runs=run) if state is JobState.EXECUTING else row


PLAIN_FACTS = {
    "made": b.made(),
    "not made": b.not_made(),
    "paid as asked": b.seen(None),
    "unpaid": b.unpaid(),
    "due": b.deadline(),
    "due before": b.deadline(b.DUE - 60),
    "cancel": b.cancel(),
    "cancel queued": b.cancel(),
    "stranger cancels": b.cancel(b.STRANGER),
}


def the_job_fact(words: str):
    if words in PLAIN_FACTS:
        return PLAIN_FACTS[words]
    match words.split():
        case ["paid", amount]:
            return b.seen(b.msats(amount))
        case ["accept" | "reject" as word, *run]:
            return b.verdict(accepted=word == "accept", run=int(run[-1]) if run else 1)
        case ["answer", charge, *run]:
            return b.answer(int(charge), run=int(run[-1]) if run else 1)
        case [step, "fails"]:
            return b.run_failed(Step(step))
        case [step, "crashed", *run]:
            return b.interrupted(Step(step), int(run[0]) if run else 1)
    raise AssertionError(words)


@pytest.mark.parametrize(("state", "cells", "follows"), named(job_rows()))
def test_a_job_in_each_state_meets_each_fact(state, cells, follows):
    who, held, fact = cells
    asked = b.invoice(102)
    books = {"invoice": asked, "open_invoice": asked, "held": b.msats(held), "run_waits": "queued" in fact}
    case = b.around(the_job(who, state, fact), **books)
    decision = decide(case, the_job_fact(fact), b.POLICY)
    assert b.what_follows(decision, state) == follows
    assert decision.new_job is None


@pytest.mark.parametrize(("state", "cells", "follows"), named(rows_of(REFUNDS)))
def test_a_refund_in_each_state_meets_each_fact(state, cells, follows):
    tries, fact = cells
    row = b.refund(RefundState(state), attempts=int(tries))
    case = Case(job=b.job(JobState.COMPLETE), refund=row, refunds=(row,), ours=b.sats(1_000))
    decision = decide(case, the_refund_fact(fact, int(tries)), b.POLICY)
    states = [str(refund.state) for refund in decision.refunds]
    moved = [", ".join(b.moves(decision))] if decision.entries else []
    assert states + moved + b.done(decision) + b.told(decision) == follows
    assert decision.job is None


def the_refund_fact(words: str, tries: int):
    match words.split():
        case ["claim", "any", "amount"]:
            return b.claim(None)
        case ["claim", amount]:
            return b.claim(int(amount))
        case ["try", "again", *after]:
            return b.again(int(after[-1]) if after else tries)
    result, _, rest = words.replace("in flight", "in_flight").partition(" ")
    what = PayResult({"sent": "succeeded"}.get(result, result))
    match rest.split():
        case ["at", fee]:
            return b.out(what, fee=int(fee), attempts=tries)
        case ["of", "try", number]:
            return b.out(what, attempts=int(number))
        case ["elsewhere"]:
            return b.out(what, attempts=tries, payment_hash="ee" * 32)
    return b.out(what, attempts=tries)


def test_the_table_of_jobs_leaves_out_no_state_and_no_fact():
    about_jobs = {
        "InvoiceMade", "InvoiceNotMade", "PaymentSeen", "InvoiceUnpaid", "EvalDone", "WorkDone", "RunFailed",
        "RunInterrupted", "DeadlinePassed", "CancelAsked",
    }  # fmt: skip
    shown = {(state, type(the_job_fact(cells[2])).__name__) for state, cells, _ in job_rows()}
    assert shown == {(state, kind) for state in JobState for kind in about_jobs}
    elsewhere = {"RequestReceived", "RequestUnreadable", "RefundClaimed", "RefundDue", "PaymentOut"}
    elsewhere |= {"QuestionAsked", "MentionHeard", "FreeAnswerGiven", "StatusTold", "DonationAsked"}
    elsewhere |= {kind.__name__ for kind in (*get_args(CreditFact), *get_args(RefundFact), *get_args(SessionFact))}
    elsewhere |= {kind.__name__ for kind in get_args(BootstrapFact)}
    assert about_jobs | elsewhere == {kind.__name__ for kind in get_args(Fact)}


def test_the_table_of_refunds_leaves_out_no_state_and_no_fact():
    words = ("claim", "try", "sent", "failed", "unknown")
    shown = {(RefundState(state), cells[1].split()[0]) for state, cells, _ in rows_of(REFUNDS)}
    assert {(state, word) for state in RefundState for word in words} <= shown


def test_the_tables_walk_every_arrow_that_a_fact_can_walk():
    states = set(JobState)
    jobs = {(state, JobState(f[0])) for state, _, f in job_rows() if f and f[0] in states}
    assert jobs == {(old, new) for old, onward in JOB.items() for new in onward}
    refunds = {
        (RefundState(old), RefundState(f[0])) for old, _, f in rows_of(REFUNDS) if f and f[0] in set(RefundState)
    }
    assert refunds <= {(old, new) for old, onward in REFUND.items() for new in onward}


NO_JOBS = ["accept", "answer 79", "work fails", "work crashed", "due", "cancel", "paid 102", "unpaid"]


@pytest.mark.parametrize("fact", NO_JOBS)
def test_a_fact_about_no_job_of_ours_at_all_is_remembered_and_changes_nothing(fact):
    assert decide(Case(), the_job_fact(fact), b.POLICY) is IGNORED


@pytest.mark.parametrize("fact", ["made", "not made"])
def test_an_invoice_for_no_job_is_a_mistake_of_ours_and_says_so(fact):
    with pytest.raises(LookupError, match="does not know"):
        decide(Case(), the_job_fact(fact), b.POLICY)


@pytest.mark.parametrize("fact", ["try again", "sent"])
def test_a_fact_about_no_refund_is_remembered_and_changes_nothing(fact):
    assert decide(Case(), the_refund_fact(fact, 1), b.POLICY) is IGNORED
