"""A gift to the pool: an invoice in a place of its own; whatever comes for it goes to the pool, whole and once."""

import dataclasses

import pytest

from ledger import accounts
from ledger.entries import Code, transfer
from ledger.money import ZERO, Msats
from ledger.records import InvoiceState
from tests.timmy_dvm.core import builders as b
from tests.timmy_dvm.core import credit_builders as c
from timmy_dvm.core.actions import CheckInvoice, CreateInvoice, Donated
from timmy_dvm.core.case import IGNORED, Case, Decision
from timmy_dvm.core.decide import decide
from timmy_dvm.core.donation_facts import DonationAsked
from timmy_dvm.core.facts import InvoiceMade

HASH = "dd" * 32
NOTE = '{"door":"gift"}'
ASKED = DonationAsked(topup_id=c.TOPUP, amount=b.sats(500), description_hash=HASH, origin=NOTE, at=b.NOW)
GIFT = c.topup(event_id=None, account=accounts.POOL, pubkey=None, origin=NOTE)
WAITS = dataclasses.replace(GIFT, payment_hash=b.HASH)
MADE = InvoiceMade(
    job_id="", topup_id=c.TOPUP, key="k", payment_hash=b.HASH, bolt11=b.BOLT11, amount=b.sats(500),
    created_at=b.NOW, expires_at=b.NOW + 600, at=b.NOW,
)  # fmt: skip


def books(topup=WAITS, state=InvoiceState.OPEN) -> Case:
    return Case(topup=topup, invoice=b.invoice(500, state, account=accounts.POOL, job_id=None))


def test_a_gift_is_written_with_the_action_that_makes_its_invoice_over_what_it_commits_to():
    decision = decide(Case(), ASKED, b.POLICY)
    (row,), (do,) = decision.topups, decision.actions
    assert row == dataclasses.replace(GIFT, created_at=b.NOW)
    assert decision == Decision(topups=(row,), actions=(do,))
    assert isinstance(do.action, CreateInvoice)
    assert (do.action.topup_id, do.action.amount, do.action.description_hash) == (c.TOPUP, 500_000, HASH)
    assert do.action.expiry_s == b.POLICY.http_invoice_s


def test_a_giver_is_named_only_where_the_fact_says_so():
    (row,) = decide(Case(), dataclasses.replace(ASKED, donor=b.KEY), b.POLICY).topups
    assert row.pubkey == b.KEY


@pytest.mark.parametrize(
    ("code", "changes", "waiting"),
    [
        ("topup_amount", {"amount": ZERO}, 0),
        ("topup_amount", {"amount": Msats(999)}, 0),
        ("topup_amount", {"amount": Msats(1_001)}, 0),
        ("topup_amount", {"amount": Msats(1_000_001_000)}, 0),
        ("busy", {}, 100),
    ],
)
def test_a_gift_is_refused_with_a_sentence_and_nothing_is_written(code, changes, waiting):
    decision = decide(Case(open_donations=waiting), dataclasses.replace(ASKED, **changes), b.POLICY)
    (tell,) = decision.tells
    assert decision == Decision(tells=(tell,))
    assert (tell.message.code, tell.origin) == (code, "")
    assert tell.message.sentence.endswith(".")


def test_gifts_and_jobs_have_places_of_their_own():
    assert decide(Case(open_invoices=1_000), ASKED, b.POLICY).topups
    assert decide(Case(open_donations=99), ASKED, b.POLICY).topups


def test_its_invoice_fills_the_pool_and_is_looked_at_when_its_time_is_over():
    decision = decide(Case(topup=GIFT), MADE, b.POLICY)
    (row,), (do,) = decision.invoices, decision.actions
    assert decision == Decision(topups=(WAITS,), invoices=(row,), actions=(do,))
    assert (row.account, row.job_id, row.amount) == ("pool", None, b.sats(500))
    assert do.action == CheckInvoice(job_id="", payment_hash=b.HASH)
    assert do.due_at == row.expires_at + b.POLICY.check_after_s


@pytest.mark.parametrize("received", [Msats(500_000), Msats(499_000), Msats(1), Msats(1_000_001)])
@pytest.mark.parametrize("state", [InvoiceState.OPEN, InvoiceState.EXPIRED])
def test_whatever_comes_and_whenever_goes_to_the_pool_whole(received, state):
    waits = WAITS if state is InvoiceState.OPEN else dataclasses.replace(WAITS, ended_at=b.NOW - 9)
    decision = decide(books(waits, state), b.seen(received), b.POLICY)
    assert decision.entries == (
        transfer(f"settled:{b.HASH}", Code.SETTLED, accounts.NODE, accounts.POOL, received),
    )
    (row,), (tell,) = decision.invoices, decision.tells
    assert (row.state, row.received) == (InvoiceState.SETTLED, received)
    assert tell.origin == NOTE
    assert tell.message == Donated(amount=b.sats(500), received=received, bolt11=row.bolt11)
    assert decision.topups[0].ended_at is not None
    assert not decision.refunds


def test_a_wallet_that_names_no_sum_took_what_was_asked_and_one_that_kept_all_gave_nothing():
    (entry,) = decide(books(), b.seen(None), b.POLICY).entries
    assert entry.postings[1].amount == 500_000
    kept = decide(books(), b.seen(ZERO), b.POLICY)
    assert kept.entries == ()
    assert kept.topups[0].ended_at == b.NOW


def test_a_payment_hash_is_booked_once():
    assert decide(books(state=InvoiceState.SETTLED), b.seen(None), b.POLICY) == IGNORED
