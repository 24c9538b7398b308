"""A fact's id is what makes a repeat harmless: the same happening has one id, and no two happenings share one."""

import dataclasses

import pytest

from ledger.money import Msats
from tests.timmy_dvm.core import bootstrap_builders as n
from tests.timmy_dvm.core import builders as b
from tests.timmy_dvm.core import session_builders as s
from timmy_dvm.core.facts import MentionHeard, Op, PayResult, RequestUnreadable, Step
from timmy_dvm.core.operator_facts import StatusTold

UNREADABLE = RequestUnreadable(event_id="e1" * 32, origin=b.ORIGIN, code="junk", sentence="Why.", at=b.NOW)
MENTION = MentionHeard(event_id="e1" * 32, thread_id="e2" * 32, origin=b.ORIGIN, btc=b.BTC, at=b.NOW)
STATUS = StatusTold(event_id="e3" * 32, body={}, origin=b.ORIGIN, at=b.NOW)
DIFFERENT = [
    STATUS,
    MENTION, b.asking(), b.asking(event_id=None), b.question(Op.ME), UNREADABLE, b.claim(), b.cancel(), b.made(),
    b.made(key="other"),
    b.seen(None), b.seen(None, "0b" * 32), b.unpaid(), b.deadline(), b.deadline(b.DUE + 1),
    b.verdict(accepted=True), b.verdict(accepted=True, run=2), b.answer(1), b.answer(1, run=2), b.again(1),
    b.again(2), b.out(PayResult.FAILED), b.out(PayResult.FAILED, attempts=2), b.out(PayResult.UNKNOWN),
    b.out(PayResult.FAILED, payment_hash="0b" * 32), *s.FACTS, n.asked(), n.provisioned(),
]  # fmt: skip


def test_what_is_different_has_a_different_id():
    assert len({fact.id for fact in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize("fact", DIFFERENT, ids=lambda fact: fact.id)
def test_hearing_it_later_is_hearing_it_again(fact):
    assert dataclasses.replace(fact, at=fact.at + 60).id == fact.id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b.made(), b.not_made()),
        (b.verdict(accepted=True), b.verdict(accepted=False)),
        (b.verdict(accepted=True), b.run_failed(Step.EVAL)),
        (b.verdict(accepted=True), b.interrupted(Step.EVAL)),
        (b.answer(1), b.run_failed(Step.WORK)),
        (b.answer(1), b.interrupted(Step.WORK)),
        (b.seen(Msats(1)), b.seen(Msats(2))),
        (b.asking(event_id="e1" * 32), UNREADABLE),
        (b.asking(event_id="e5" * 32), b.question(Op.ESTIMATE)),
        (n.provisioned(), n.failed()),
        (MENTION, dataclasses.replace(MENTION, event_id="e3" * 32)),
    ],
)
def test_one_thing_has_one_outcome_so_the_second_is_a_repeat(one, other):
    assert one.id == other.id


def test_one_deletion_may_name_several_requests():
    other = dataclasses.replace(b.cancel(), request_event_id="e2" * 32)
    assert other.id != b.cancel().id
