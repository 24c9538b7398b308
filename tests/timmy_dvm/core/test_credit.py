"""A key fills its credit: one invoice, told like any other, and whatever comes for it is credited once."""

import dataclasses

import pytest

from ledger import accounts
from ledger.money import ZERO, Msats
from ledger.records import InvoiceState
from tests.timmy_dvm.core import builders as b
from tests.timmy_dvm.core import credit_builders as c
from timmy_dvm.core.actions import CheckInvoice, CreateInvoice, CreditAdded, OperationDone, PriceTold
from timmy_dvm.core.case import IGNORED, Case, Decision
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import InvoiceMade, InvoiceNotMade

WAITS = c.topup(payment_hash=b.HASH)
OVER = dataclasses.replace(WAITS, ended_at=b.NOW - 5)
MADE = InvoiceMade(
    job_id="",
    topup_id=c.TOPUP,
    key="k",
    payment_hash=b.HASH,
    bolt11=b.BOLT11,
    amount=b.sats(500),
    created_at=b.NOW,
    expires_at=b.NOW + 3_600,
    at=b.NOW,
)
AWAY = InvoiceNotMade(job_id="", topup_id=c.TOPUP, key="k", at=b.NOW)


def books(topup, sats_of_credit=0, state=InvoiceState.OPEN, **changes) -> Case:
    """A top-up, its invoice, and what the key has."""
    return Case(**{"topup": topup, "invoice": c.invoice(state=state), "credit": b.sats(sats_of_credit), **changes})


# Asked -----------------------------------------------------------------------------------------------------------


def test_a_topup_is_written_with_the_action_that_makes_its_invoice_and_nothing_is_booked():
    decision = decide(Case(), c.asking(), b.POLICY)
    (row,), (do,) = decision.topups, decision.actions
    assert row == c.topup(created_at=b.NOW)
    assert row.account == accounts.customer(b.KEY)
    assert decision == Decision(topups=(row,), actions=(do,))
    assert isinstance(do.action, CreateInvoice)
    assert (do.action.job_id, do.action.topup_id, do.action.amount) == ("", c.TOPUP, 500_000)
    assert (do.action.memo, do.action.expiry_s) == (f"Timmy {c.TOPUP[:8]}", 3_600)
    assert c.TOPUP not in do.action.key
    assert do.action.give_up_at == b.NOW + b.POLICY.invoice_patience_s


def test_two_topups_never_share_an_invoice():
    keys = {
        decide(Case(), c.asking(topup_id=topup_id), b.POLICY).actions[0].action.key
        for topup_id in ("aa" * 16, "bb" * 16)
    }
    assert len(keys) == 2


@pytest.mark.parametrize("sats", [1, 1_000_000])
def test_the_bounds_themselves_are_taken(sats):
    assert decide(Case(), c.asking(sats), b.POLICY).topups


WAITING = {"open_jobs": 3}
PAYER = b.identity(paid_jobs=1)


@pytest.mark.parametrize(
    ("code", "changes", "case"),
    [
        ("topup_amount", {"amount": ZERO}, {}),
        ("topup_amount", {"amount": Msats(999)}, {}),
        ("topup_amount", {"amount": Msats(1_000_001_000)}, {}),
        ("rate_limited", {}, {"jobs_last_minute": 20}),
        ("too_many_open", {}, WAITING),
        ("too_many_cancelled", {}, {"cancelled_last_hour": 12}),
        ("busy", {}, {"open_invoices": 500}),
        ("busy", {}, {"open_invoices": 1_000, "identity": PAYER}),
    ],
)
def test_a_topup_is_refused_with_a_sentence_and_nothing_is_written(code, changes, case):
    decision = decide(Case(**case), dataclasses.replace(c.asking(), **changes), b.POLICY)
    (tell,) = decision.tells
    assert decision == Decision(tells=(tell,))
    assert (tell.message.code, tell.origin) == (code, b.CLAIM)
    assert tell.message.sentence.endswith(".")


def test_who_paid_before_has_the_other_half_of_the_places():
    assert decide(Case(open_invoices=999, identity=PAYER), c.asking(), b.POLICY).topups


def test_an_amount_out_of_bounds_is_told_the_bounds():
    policy = dataclasses.replace(b.POLICY, topup_max=b.sats(2_000))
    (tell,) = decide(Case(), c.asking(2_001), policy).tells
    assert "1 to 2000 sats" in tell.message.sentence
    assert "amount_sats" in tell.message.sentence


def test_a_refusal_that_would_be_one_error_too_many_is_silent_and_a_good_request_is_served():
    assert decide(Case(**WAITING), c.asking(answered=False), b.POLICY) is IGNORED
    assert decide(Case(), c.asking(answered=False), b.POLICY) == decide(Case(), c.asking(), b.POLICY)


# Its invoice -----------------------------------------------------------------------------------------------------


def test_the_invoice_is_told_as_a_request_for_money_and_as_the_operations_answer():
    decision = decide(books(c.topup(), 12, invoice=None), MADE, b.POLICY)
    assert decision.topups == (WAITS,)
    (row,) = decision.invoices
    assert (row.account, row.job_id, row.amount, row.state) == (c.CREDIT, None, b.sats(500), "open")
    price, done = decision.tells
    assert (price.origin, done.origin) == (b.CLAIM, b.CLAIM)
    assert price.message == PriceTold(
        amount=b.sats(500), bolt11=b.BOLT11, payment_hash=b.HASH, expires_at=b.NOW + 3_600, tops_up=True
    )
    assert done.message == OperationDone(
        body={
            "op": "topup",
            "amountSats": 500,
            "creditSats": 12,
            "invoice": {
                "paymentRequest": b.BOLT11,
                "paymentHash": b.HASH,
                "amountSats": 500,
                "expires_at": b.NOW + 3_600,
            },
        }
    )
    assert decision.entries == ()


@pytest.mark.parametrize("topup", [c.topup(), c.topup(ended_at=b.NOW)])
def test_every_invoice_is_looked_at_once_more_after_its_end(topup):
    (do,) = decide(books(topup, invoice=None), MADE, b.POLICY).actions
    assert do.action == CheckInvoice(job_id="", payment_hash=b.HASH)
    assert do.due_at == b.NOW + 3_600 + b.POLICY.check_after_s


def test_taken_back_before_its_invoice_was_made_nobody_is_shown_it_and_it_is_kept():
    decision = decide(books(c.topup(ended_at=b.NOW), invoice=None), MADE, b.POLICY)
    assert decision.tells == ()
    assert decision.invoices
    assert decision.topups[0].payment_hash == b.HASH


def test_with_the_wallet_away_the_customer_is_told_and_the_topup_is_over():
    decision = decide(books(c.topup()), AWAY, b.POLICY)
    assert b.told(decision) == ["Refused wallet_away"]
    assert decision.tells[0].origin == b.CLAIM
    assert decision.topups == (c.topup(ended_at=b.NOW),)
    assert decide(books(OVER), AWAY, b.POLICY) is IGNORED


@pytest.mark.parametrize("fact", [MADE, AWAY])
def test_an_invoice_for_no_topup_is_a_mistake_of_ours_and_says_so(fact):
    with pytest.raises(LookupError, match="top-up that the ledger does not know"):
        decide(Case(), fact, b.POLICY)


# Its money -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "booked"),
    [(None, 500_000), (500_000, 500_000), (750_000, 750_000), (1_001, 1_001), (499_999, 499_999)],
)
def test_what_came_is_credited_whatever_was_asked(received, booked):
    fact = b.seen(None if received is None else Msats(received))
    decision = decide(books(WAITS, 12), fact, b.POLICY)
    (entry,) = decision.entries
    assert {p.account: p.amount for p in entry.postings} == {accounts.NODE: -booked, c.CREDIT: booked}
    assert entry.id == f"settled:{b.HASH}"
    (row,) = decision.invoices
    assert (row.state, row.received) == ("settled", booked)
    (tell,) = decision.tells
    assert tell.message == CreditAdded(added=Msats(booked), credit=Msats(12_000 + booked))
    assert tell.origin == b.CLAIM
    assert decision.topups == (dataclasses.replace(WAITS, ended_at=b.NOW),)
    assert decision.actions == decision.refunds == ()


@pytest.mark.parametrize("state", [InvoiceState.EXPIRED, InvoiceState.CANCELLED, InvoiceState.OPEN])
def test_paid_late_it_is_credited_and_told_all_the_same(state):
    decision = decide(books(OVER, state=state), b.seen(None), b.POLICY)
    assert b.moves(decision) == ["node>customer 500"]
    assert b.told(decision) == ["CreditAdded"]
    assert decision.topups == (OVER,)


def test_settled_for_nothing_it_is_over_and_nothing_is_booked():
    decision = decide(books(WAITS), b.seen(ZERO), b.POLICY)
    assert decision.entries == ()
    assert decision.tells[0].message == CreditAdded(added=ZERO, credit=ZERO)


def test_a_payment_that_was_booked_is_not_booked_again():
    assert decide(books(OVER, state=InvoiceState.SETTLED), b.seen(None), b.POLICY) is IGNORED


def test_unpaid_it_is_over_and_nobody_is_told():
    decision = decide(books(WAITS), b.unpaid(), b.POLICY)
    assert [row.state for row in decision.invoices] == ["expired"]
    assert decision.topups == (dataclasses.replace(WAITS, ended_at=b.NOW),)
    assert decision.tells == decision.entries == ()


def test_a_closed_invoice_found_unpaid_changes_nothing():
    assert decide(books(OVER, state=InvoiceState.SETTLED), b.unpaid(), b.POLICY) is IGNORED


# Taken back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topup", [c.topup(), WAITS])
def test_taken_back_it_waits_no_more_and_nobody_is_told(topup):
    decision = decide(Case(topup=topup), b.cancel(), b.POLICY)
    assert decision == Decision(topups=(dataclasses.replace(topup, ended_at=b.NOW),))


@pytest.mark.parametrize(("topup", "pubkey"), [(OVER, b.KEY), (WAITS, b.STRANGER)])
def test_what_is_over_and_what_is_anothers_can_not_be_taken_back(topup, pubkey):
    assert decide(Case(topup=topup), b.cancel(pubkey), b.POLICY) is IGNORED
