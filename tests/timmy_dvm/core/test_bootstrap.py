"""An order of a node, decision by decision: what is asked, paid, set up, and what goes back."""

import dataclasses

import pytest

from ledger.bootstrap import BootstrapState
from ledger.entries import Code
from ledger.records import InvoiceState, RefundState
from tests.timmy_dvm.core import bootstrap_builders as b
from timmy_dvm.core.actions import CheckInvoice, CreateInvoice, ProvisionNode
from timmy_dvm.core.case import IGNORED, Case
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import InvoiceMade, InvoiceNotMade, InvoiceUnpaid
from timmy_dvm.core.policy import Policy

POLICY = Policy(bootstrap_fee=b.FEE)
OVER = [BootstrapState.READY, BootstrapState.FAILED, BootstrapState.EXPIRED]


def decided(case, fact, policy=POLICY):
    return decide(case, fact, policy)


def moved(decision):
    """Each entry as `from → to` with its amount."""
    return [
        (*(posting.account.partition(":")[0] for posting in entry.postings), entry.postings[1].amount)
        for entry in decision.entries
    ]


def test_it_asks_for_one_invoice_of_the_fee():
    decision = decided(Case(), b.asked())
    assert decision.bootstrap.state is BootstrapState.AWAITING_PAYMENT
    assert decision.bootstrap.amount == b.FEE
    ((action, due_at),) = [(do.action, do.due_at) for do in decision.actions]
    assert isinstance(action, CreateInvoice)
    assert (action.bootstrap_id, action.amount, due_at) == (b.NODE, b.FEE, None)
    assert action.memo == f"Timmy {b.NODE[:8]}"


def test_a_key_that_orders_is_met():
    assert decided(Case(), b.asked(pubkey="a" * 64)).identity.pubkey == "a" * 64


def test_while_too_many_wait_for_money_there_is_no_order():
    decision = decided(Case(open_invoices=POLICY.open_invoices), b.asked())
    assert decision.bootstrap is None
    assert decision.actions == ()
    assert decision.tells[0].message.code == "busy"


def test_its_invoice_stands_in_it_and_is_looked_at_after_its_end():
    made = InvoiceMade(
        job_id="",
        bootstrap_id=b.NODE,
        key="k",
        payment_hash=b.HASH,
        bolt11="lnbcrt1node",
        amount=b.FEE,
        created_at=b.NOW,
        expires_at=b.NOW + 600,
        at=b.NOW,
    )
    fresh = b.order(payment_hash=None, payment_request=None)
    decision = decided(Case(bootstrap=fresh), made)
    assert (decision.bootstrap.payment_hash, decision.bootstrap.payment_request) == (b.HASH, "lnbcrt1node")
    assert decision.invoices == (b.invoice(),)
    assert [(do.action, do.due_at) for do in decision.actions] == [
        (CheckInvoice(job_id="", payment_hash=b.HASH), b.NOW + 660)
    ]


def test_without_a_wallet_it_expires():
    fact = InvoiceNotMade(job_id="", bootstrap_id=b.NODE, key="k", at=b.NOW + 130)
    assert decided(b.case(), fact).bootstrap.state is BootstrapState.EXPIRED


@pytest.mark.parametrize("received", [b.FEE, None])
def test_paid_it_is_set_up(received):
    decision = decided(b.case(), b.paid(received))
    assert decision.bootstrap.state is BootstrapState.PROVISIONING
    assert [do.action for do in decision.actions] == [ProvisionNode(bootstrap_id=b.NODE)]
    assert moved(decision) == [("node", "job", b.FEE)]


@pytest.mark.parametrize("state", [s for s in BootstrapState if s is not BootstrapState.AWAITING_PAYMENT])
def test_no_payment_but_the_first_starts_anything(state):
    decision = decided(b.case(state), b.paid())
    assert decision.actions == ()
    assert decision.bootstrap is None


def test_a_payment_that_is_booked_is_booked_once():
    assert decided(b.case(invoice=b.invoice(state=InvoiceState.SETTLED)), b.paid()) == IGNORED


@pytest.mark.parametrize(("state", "reason"), [(s, "late" if s == "expired" else "twice") for s in OVER])
def test_what_comes_after_the_end_goes_back_whole(state, reason):
    decision = decided(b.case(state), b.paid())
    (row,) = decision.refunds
    assert moved(decision) == [("node", "job", b.FEE), ("job", "refund", b.FEE)]
    assert (row.amount, row.reason, row.state, row.bootstrap_id) == (b.FEE, reason, RefundState.HELD, b.NODE)
    assert row.kept_fee_room == (b.FEE if state is BootstrapState.READY else 0)
    assert not row.pays_its_way


def test_less_than_the_fee_sets_nothing_up_and_goes_back():
    decision = decided(b.case(), b.paid(b.FEE - 1_500))
    assert decision.bootstrap.state is BootstrapState.FAILED
    assert "fee" in decision.bootstrap.error_message
    assert decision.actions == ()
    assert moved(decision) == [
        ("node", "job", b.FEE - 1_500), ("job", "pool", 500), ("job", "refund", b.FEE - 2_000),
    ]  # fmt: skip


def test_more_than_the_fee_waits_for_the_end():
    decision = decided(b.case(), b.paid(b.FEE + 7_000))
    assert decision.bootstrap.state is BootstrapState.PROVISIONING
    assert decision.refunds == ()
    ended = decided(b.case(BootstrapState.PROVISIONING, held=b.FEE + 7_000), b.provisioned())
    assert moved(ended) == [("job", "earned", b.FEE), ("job", "refund", 7_000)]
    assert ended.refunds[0].reason == "change"


def test_ready_earns_the_fee_and_has_a_key():
    decision = decided(b.case(BootstrapState.PROVISIONING, held=b.FEE), b.provisioned())
    assert decision.bootstrap.state is BootstrapState.READY
    assert (decision.bootstrap.node_ip, decision.bootstrap.ssh_private_key) == ("192.0.2.7", "the key")
    assert [entry.code for entry in decision.entries] == [Code.SETTLEMENT]
    assert moved(decision) == [("job", "earned", b.FEE)]
    assert decision.refunds == ()
    assert "the key" not in repr(decision)


def test_failed_owes_all_of_it_back():
    decision = decided(b.case(BootstrapState.PROVISIONING, held=b.FEE + 7_000), b.failed())
    assert (decision.bootstrap.state, decision.bootstrap.error_message) == (BootstrapState.FAILED, "No node.")
    assert moved(decision) == [("job", "refund", b.FEE + 7_000)]
    assert decision.refunds[0].state is RefundState.HELD


@pytest.mark.parametrize("fact", [b.provisioned(), b.failed()], ids=["provisioned", "failed"])
@pytest.mark.parametrize("state", [s for s in BootstrapState if s is not BootstrapState.PROVISIONING])
def test_an_outcome_of_what_is_not_being_set_up_changes_nothing(state, fact):
    assert decided(b.case(state), fact) == IGNORED


def test_both_outcomes_are_one_happening():
    assert b.provisioned().id == b.failed().id
    assert b.asked().id != b.provisioned().id


def test_unpaid_it_expires():
    decision = decided(b.case(), InvoiceUnpaid(payment_hash=b.HASH, at=b.NOW + 661))
    assert decision.bootstrap.state is BootstrapState.EXPIRED
    assert decision.invoices[0].state is InvoiceState.EXPIRED


def test_the_wallets_no_after_a_payment_changes_nothing():
    settled = b.invoice(state=InvoiceState.SETTLED, received=b.FEE)
    fact = InvoiceUnpaid(payment_hash=b.HASH, at=b.NOW + 661)
    decision = decided(b.case(BootstrapState.PROVISIONING, invoice=settled), fact)
    assert (decision.bootstrap, decision.invoices, decision.entries) == (None, (), ())


def test_two_refunds_of_one_order_have_two_ids():
    late = decided(b.case(BootstrapState.EXPIRED), b.paid()).refunds[0]
    other = dataclasses.replace(b.paid(), payment_hash="9b" * 32)
    assert decided(b.case(BootstrapState.EXPIRED), other).refunds[0].id != late.id
