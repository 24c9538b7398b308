"""A claim is told by the payment hash of its BOLT11, whoever brings it (money.md 5); see also ``test_refunds``."""

import dataclasses

import pytest

from ledger.records import JobState, RefundState
from tests.timmy_dvm.core import builders as b
from timmy_dvm.core.case import IGNORED, Case
from timmy_dvm.core.decide import decide

COMPLETE = b.job(JobState.COMPLETE)
ANONYMOUS = dataclasses.replace(COMPLETE, event_id=None, pubkey=None)
AT_HTTP = {"event_id": None, "request_event_id": None, "job_id": b.JOB, "origin": "", "answered": False}


def books(*rows, job=COMPLETE):
    return Case(job=job, refunds=rows, ours=b.sats(1_000))


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (RefundState.SENDING, "pending"),
        (RefundState.IN_DOUBT, "pending"),
        (RefundState.OWED, "pending"),
        (RefundState.SENT, "paid"),
    ],
)
def test_the_same_claim_again_moves_nothing_and_is_answered_by_how_its_refund_stands(state, shown):
    decision = decide(books(b.refund(state)), b.claim(payment_hash=b.OUT), b.POLICY)
    (tell,) = decision.tells
    assert tell.message.body == {
        "op": "refund", "refundState": shown, "refundAmountSats": 21, "state": str(state),
    }  # fmt: skip
    assert decision.refunds == decision.actions == decision.entries == ()


def test_somebody_elses_hash_tells_a_stranger_nothing():
    decision = decide(books(b.refund(RefundState.SENT)), b.claim(payment_hash=b.OUT, pubkey=b.STRANGER), b.POLICY)
    assert b.told(decision) == ["Refused not_yours"]


@pytest.mark.parametrize(
    ("job", "who", "is_taken"),
    [
        (ANONYMOUS, {"pubkey": None, "by_secret": True}, True),
        (ANONYMOUS, {"pubkey": None}, False),
        (ANONYMOUS, {"pubkey": b.KEY}, False),
        (dataclasses.replace(COMPLETE, event_id=None), {"pubkey": None, "by_secret": True}, True),
        (dataclasses.replace(COMPLETE, event_id=None), {"pubkey": b.KEY}, True),
        (dataclasses.replace(COMPLETE, event_id=None), {"pubkey": b.STRANGER}, False),
        (COMPLETE, {"pubkey": None, "by_secret": True}, False),
        (COMPLETE, {"pubkey": b.KEY, "by_secret": True}, True),
    ],
)
def test_a_secret_or_the_jobs_key_may_claim_and_of_an_event_the_key_alone(job, who, is_taken):
    decision = decide(books(b.refund(), job=job), b.claim(**AT_HTTP, **who), b.POLICY)
    assert [row.state for row in decision.refunds] == [RefundState.SENDING] * is_taken
    assert decision.tells == ()
    assert is_taken or decision is IGNORED


def test_a_claim_without_an_event_is_named_by_its_job_its_hash_and_the_refund_it_saw():
    fact = b.claim(**AT_HTTP, version=3)
    assert fact.id == f"claimed:{b.JOB}:{b.FRESH}:3"
    assert b.claim().id == f"request:{'c1' * 32}"
