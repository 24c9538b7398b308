"""What is shown of a job, a price, a refund and the books: sats, UTC, and nothing that is not so."""

import dataclasses

import pytest

from ledger import accounts
from ledger.entries import Code, transfer
from ledger.money import Msats
from ledger.records import EventRole, FactRecord, InvoiceState, JobState, JobTexts, Mode, NewEvent, RefundState
from ledger.store import Delivery, Story
from tests.timmy_dvm.core import builders
from tests.timmy_dvm.core.builders import JOB, KEY, NOW, sats
from timmy_dvm.core.trust import Tier
from timmy_dvm.views import (
    books_view,
    invoice_view,
    job_view,
    jobs_view,
    quote_view,
    refund_view,
    story_view,
    when,
)

CREATED = "2027-01-15T07:59:40Z"


def story(state, *, invoices=(), refunds=(), events=(), entries=(), facts=(), **changes):
    texts = JobTexts(request="What is a relay?", origin="{}", result="A relay keeps events.")
    job = builders.job(state, **changes)
    return Story(job, texts, facts, entries, invoices, refunds, events)


def test_times_are_utc_to_the_second():
    assert (when(NOW - 20), when(0), when(None)) == (CREATED, "1970-01-01T00:00:00Z", None)


def test_a_job_that_waits_shows_the_invoice_to_pay_and_no_result():
    first = builders.invoice(payment_hash="01" * 32, state=InvoiceState.SETTLED)
    rest = builders.invoice(2, payment_hash="02" * 32)
    facts = tuple(fact(number, "InvoiceMade") for number in (1, 2))
    view = job_view(story(JobState.AWAITING_EVAL_PAYMENT, invoices=(first, rest), facts=facts), Tier.NEW)
    assert view == {
        "jobId": JOB,
        "state": "awaiting_eval_payment",
        "createdAt": CREATED,
        "completedAt": None,
        "trust_tier": "new",
        "pricingBreakdown": quote_view(builders.quote()),
        "evalInvoice": invoice_view(rest),
    }


def test_what_pays_its_own_way_is_claimable_without_what_is_kept_for_it():
    """The page promises that a fee out of the sum is shown before; at this door that is the sum to ask for."""
    held = builders.refund(amount=21, kept_for_way=sats(5))
    view = job_view(story(JobState.COMPLETE, refunds=(held, builders.refund(amount=9))), Tier.NEW)
    assert (view["refund"]["refundAmountSats"], view["refund"]["claimableSats"]) == (30, [16, 9])


def test_an_invoice_for_each_step_is_shown_as_that_steps():
    asked = tuple(builders.invoice(payment_hash=f"{number:02}" * 32) for number in (1, 2))
    facts = (fact(1, "InvoiceMade"), fact(2, "EvalDone"), fact(3, "InvoiceMade"))
    told = story(JobState.AWAITING_WORK_PAYMENT, mode=Mode.STEPS, invoices=asked, facts=facts)
    view = job_view(told, Tier.NEW)
    assert (view["evalInvoice"], view["workInvoice"]) == tuple(map(invoice_view, asked))
    assert "pricingBreakdown" in view


def test_the_price_of_the_work_is_shown_when_it_is_asked_for():
    view = job_view(story(JobState.AWAITING_EVAL_PAYMENT, mode=Mode.STEPS), Tier.NEW)
    assert view["evalInvoice"] is None
    assert not {"workInvoice", "pricingBreakdown"} & view.keys()


def fact(number, kind):
    return FactRecord(id=f"{kind}:{number}", kind=kind, job_id=JOB, at=NOW, body="{}")


def test_a_complete_job_shows_its_result_its_cost_and_when():
    view = job_view(
        story(JobState.COMPLETE, charge_eval=sats(2), charge_work=sats(80), invoices=(builders.invoice(),)),
        Tier.NEW,
    )
    assert view["result"] == "A relay keeps events."
    assert view["completedAt"] == "2027-01-15T07:59:55Z"
    ledger = view["costLedger"]
    assert isinstance(ledger, dict)
    assert (ledger["workAmountSats"], ledger["actualAmountSats"], ledger["refundAmountSats"]) == (100, 80, 20)


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.COMPLETE])
def test_no_other_job_shows_a_result_or_a_cost(state):
    view = job_view(story(state), Tier.NEW)
    assert not {"result", "costLedger"} & view.keys()
    assert view["completedAt"] is None


def test_why_a_job_ended_is_shown_where_it_is_known():
    rejected = job_view(story(JobState.REJECTED, reason="I don't do that."), Tier.NEW)
    failed = job_view(story(JobState.FAILED, error_message="The model is away."), Tier.NEW)
    assert (rejected["reason"], failed["errorMessage"]) == ("I don't do that.", "The model is away.")
    assert "errorMessage" not in rejected
    assert "reason" not in failed


def test_a_free_job_says_what_was_absorbed_and_a_paid_one_does_not():
    assert "free_tier" not in job_view(story(JobState.COMPLETE), Tier.NEW)
    view = job_view(story(JobState.COMPLETE, free_tier=True, absorbed_sats=7), Tier.NEW)
    assert (view["free_tier"], view["absorbed_sats"]) == (True, 7)


def test_the_operators_story_adds_who_asked_what_happened_and_every_msat():
    entry = transfer("settled:x", Code.SETTLED, accounts.NODE, accounts.job(JOB), Msats(1_500))
    event = NewEvent(id="e1" * 32, job_id=JOB, role=EventRole.RESULT, json="{}", targets="[]")
    view = story_view(
        story(
            JobState.COMPLETE,
            facts=(FactRecord(id="paid:x", kind="PaymentSeen", job_id=JOB, at=NOW, body="{}"),),
            entries=((NOW, entry),),
            events=((event, (Delivery("ws://relay", "accepted", NOW),)),),
            invoices=(builders.invoice(state=InvoiceState.SETTLED),),
        ),
        Tier.NEW,
    )
    assert job_view(story(JobState.COMPLETE), Tier.NEW).keys() < view.keys()
    assert (view["pubkey"], view["request"]) == (KEY, "What is a relay?")
    assert view["runs"] == {"eval": 1, "work": 1}
    assert view["facts"] == [{"id": "paid:x", "kind": "PaymentSeen", "at": "2027-01-15T08:00:00Z"}]
    (shown,) = view["entries"]
    assert shown["postings"] == {"node": 1_500, f"job:{JOB}": 1_500}
    assert view["events"] == [
        {"id": "e1" * 32, "role": "result", "deliveries": {"ws://relay": "accepted"}},
    ]
    (invoice,) = view["invoices"]
    assert (invoice["state"], invoice["amountSats"]) == ("settled", 102)


def test_a_list_of_jobs_shows_what_was_asked_and_what_was_charged_and_no_text():
    (row,) = jobs_view([builders.job(JobState.COMPLETE, charge_eval=sats(2), charge_work=Msats(79_001))])
    assert row == {
        "jobId": JOB,
        "state": "complete",
        "createdAt": CREATED,
        "eventId": builders.EVENT,
        "pubkey": KEY,
        "quotedSats": 102,
        "chargedSats": 82,
    }


def test_an_invoice_asks_whole_sats_rounded_up():
    assert invoice_view(dataclasses.replace(builders.invoice(), amount=Msats(20_001)))["amountSats"] == 21


def test_a_refund_is_shown_to_the_msat():
    view = refund_view(builders.refund(RefundState.SENT, amount=21, fee=Msats(1_500)))
    assert (view["amountSats"], view["feeMsat"], view["state"], view["reason"]) == (21, 1_500, "sent", "change")


def test_the_books_are_summed_by_family_and_shown_from_the_readers_side():
    balances = {
        "node": Msats(-30_900),
        "pool": Msats(10_000),
        "customer:a": Msats(9_600),
        "customer:b": Msats(9_600),
        "earned": Msats(1_700),
    }
    assert books_view(balances) == {"customer": 19, "earned": 1, "node": 30, "pool": 10}
