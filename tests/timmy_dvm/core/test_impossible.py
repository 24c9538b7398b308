"""What a door must never hand in, and what the ledger must always know: said loudly, and nothing decided."""

import dataclasses
from types import SimpleNamespace

import pytest

from ledger.records import RefundState
from tests.timmy_dvm.core import builders as b
from timmy_dvm.core import bootstrap, giving_back, payouts, questions, session_money, sessions
from timmy_dvm.core.case import Case


def test_a_fact_about_what_nobody_ordered_or_opened():
    with pytest.raises(LookupError, match="nobody ordered"):
        bootstrap._order(Case())
    with pytest.raises(LookupError, match="does not know"):
        sessions._session(Case())
    with pytest.raises(LookupError, match="does not know"):
        session_money.given_back(None, b.job(), b.sats(1), b.NOW, b.POLICY)


def test_a_refund_that_goes_nowhere_has_nobody_to_ask():
    with pytest.raises(ValueError, match="nobody to ask"):
        giving_back.ask(dataclasses.replace(b.refund(), target=None))


def test_a_payment_without_an_invoice():
    with pytest.raises(ValueError, match="needs the invoice"):
        payouts.sent_again(b.refund(), SimpleNamespace(bolt11=None), b.sats(1))


def test_a_profile_of_nobody():
    with pytest.raises(ValueError, match="nobody in particular"):
        questions._key_of(SimpleNamespace(pubkey=None))


@pytest.mark.parametrize(
    ("rows", "code"), [([], "nothing_owed"), ([RefundState.SENDING], "already_sending")], ids=["none", "sending"]
)
def test_nothing_of_a_closed_session_is_held(rows, code):
    case = SimpleNamespace(payouts=[SimpleNamespace(state=state) for state in rows])
    assert sessions._nothing_of_that_sum(case, [], b.POLICY).code == code
