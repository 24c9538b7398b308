"""A session's payments, one by one; whole lives of sessions are drawn in `test_session_properties`."""

import dataclasses

import pytest

from ledger import accounts
from ledger.records import InvoiceState
from ledger.sessions import SessionRecord, SessionState
from tests.timmy_dvm.core import builders as b
from tests.timmy_dvm.core import credit_builders as c
from tests.timmy_dvm.core.session_builders import SESSION
from timmy_dvm.core.case import IGNORED, Case
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import PaymentSeen

PAID = PaymentSeen(payment_hash=b.HASH, received=b.sats(500), at=b.NOW)


def books(state: SessionState, invoice: InvoiceState) -> Case:
    home = accounts.session(SESSION)
    session = SessionRecord(id=SESSION, version=1, state=state, pubkey=None, created_at=b.NOW, used_at=b.NOW)
    topup = dataclasses.replace(c.topup(event_id=None, account=home, pubkey=None), payment_hash=b.HASH)
    row = b.invoice(500, invoice, account=home, job_id=None)
    return Case(session=session, topup=topup, invoice=row)


@pytest.mark.parametrize("state", list(SessionState))
def test_a_payment_that_was_booked_is_not_booked_again(state):
    assert decide(books(state, InvoiceState.SETTLED), PAID, b.POLICY) == IGNORED


@pytest.mark.parametrize("before", [SessionState.AWAITING_PAYMENT, SessionState.EXPIRED, SessionState.ACTIVE])
@pytest.mark.parametrize("invoice", [InvoiceState.OPEN, InvoiceState.EXPIRED])
def test_whenever_it_is_paid_it_is_open_with_all_that_came(before, invoice):
    decision = decide(books(before, invoice), PAID, b.POLICY)
    assert decision.session.state is SessionState.ACTIVE
    (entry,) = decision.entries
    assert {posting.account: posting.amount for posting in entry.postings} == {
        accounts.NODE: -b.sats(500),
        accounts.session(SESSION): b.sats(500),
    }
    assert not decision.refunds


def test_what_comes_after_it_was_closed_is_owed():
    decision = decide(books(SessionState.CLOSED, InvoiceState.OPEN), PAID, b.POLICY)
    assert sum(row.amount for row in decision.refunds) == b.sats(500)
    assert decision.session is None
