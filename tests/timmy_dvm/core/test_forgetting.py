"""A key is forgotten when nothing of it is open or owed; until then it hears what comes first."""

import pytest

from ledger.credit import Unfinished
from tests.timmy_dvm.core import builders as b
from tests.timmy_dvm.core import credit_builders as c
from timmy_dvm.core.case import Case, Decision
from timmy_dvm.core.decide import decide


def asked(unfinished=None, **case):
    return decide(Case(unfinished=unfinished or Unfinished(), **case), c.forget(), b.POLICY)


@pytest.mark.parametrize(("remembered", "jobs"), [(0, 0), (3, 3), (500, 500), (501, 500)])
def test_with_all_over_the_texts_are_erased_and_it_is_told_of_how_many_jobs(remembered, jobs):
    decision = asked(remembered=remembered)
    (tell,) = decision.tells
    assert decision == Decision(tells=(tell,), forget=b.KEY)
    assert tell.origin == b.CLAIM
    assert tell.message.body == {"op": "forget", "forgottenJobs": jobs, "moreJobs": remembered > jobs}


def test_credit_is_no_reason_to_wait_for_it_needs_no_text():
    assert asked(credit=b.sats(500)).forget == b.KEY


@pytest.mark.parametrize(
    ("left", "words"),
    [
        ({"jobs": 1}, "1 request of yours must end, or be cancelled (kind 5)"),
        ({"jobs": 2}, "2 requests of yours must end"),
        ({"topups": 1}, "1 top-up of yours must be paid or run out"),
        ({"owed": b.sats(21)}, "21 sats are on their way back: claim them (op refund), or wait for them"),
        ({"payable_until": b.NOW + 61}, "wait 2 minutes until it has run out"),
        ({"payable_until": b.NOW - 30}, "wait 1 minute until it has run out"),
    ],
)
def test_while_something_is_open_or_owed_nothing_is_erased_and_it_is_told_what_comes_first(left, words):
    decision = asked(Unfinished(**left), remembered=3)
    (tell,) = decision.tells
    assert decision == Decision(tells=(tell,))
    assert (tell.message.code, tell.origin) == ("not_yet", b.CLAIM)
    assert words in tell.message.sentence
    assert tell.message.sentence.endswith("Then ask again.")


def test_all_that_comes_first_is_told_at_once():
    left = Unfinished(jobs=1, topups=1, owed=b.sats(9), payable_until=b.NOW + 60)
    (tell,) = asked(left).tells
    assert tell.message.sentence.count(";") == 3
