"""An order of a Bitcoin node: asked for, paid, set up once; earned when it is ready, else owed back. Pure.

An order has one invoice, and its state is moved by the fact of the payment alone, whoever looks meanwhile: so
polls and pushes that come at once start one provisioner. What an order that is over still holds is on its way
back in the same commit, held until the customer claims it with a BOLT11; no address is asked for.
"""

import dataclasses
import hashlib
from typing import assert_never

from ledger import accounts
from ledger.bootstrap import BootstrapRecord, BootstrapState
from ledger.entries import Code, Entry, transfer
from ledger.money import MSATS_PER_SAT, ZERO, Msats, sats_up
from ledger.records import Door, InvoiceRecord, RefundRecord, RefundState
from timmy_dvm.core import asking, refusing, trust
from timmy_dvm.core.actions import CheckInvoice, CreateInvoice, ProvisionNode
from timmy_dvm.core.bootstrap_facts import BootstrapAsked, BootstrapFact, NodeFailed, NodeProvisioned
from timmy_dvm.core.case import IGNORED, Case, Decision, Do, Tell
from timmy_dvm.core.facts import InvoiceMade, InvoiceNotMade, InvoiceUnpaid, PaymentSeen
from timmy_dvm.core.policy import Policy
from timmy_dvm.core.transitions import bootstrap_moves

_NOWHERE = ""
"""Whoever asked waits at the door: no event answers them."""


def decided(case: Case, fact: BootstrapFact, policy: Policy) -> Decision:
    """What follows from a fact about an order itself."""
    match fact:
        case BootstrapAsked():
            return asked(case, fact, policy)
        case NodeProvisioned():
            return provisioned(case, fact)
        case NodeFailed():
            return failed(case, fact)
        case _:
            assert_never(fact)


def of_its_invoice(
    case: Case, fact: InvoiceMade | InvoiceNotMade | PaymentSeen | InvoiceUnpaid, policy: Policy
) -> Decision:
    """What follows from what became of the invoice of an order."""
    match fact:
        case InvoiceMade():
            return invoice_made(case, fact, policy)
        case InvoiceNotMade():
            return Decision(bootstrap=_expired(_order(case), fact.at))
        case PaymentSeen():
            return paid(case, fact, policy)
        case InvoiceUnpaid():
            closed = asking.unpaid(case, fact, policy)
            return dataclasses.replace(closed, bootstrap=_expired(_order(case), fact.at))
        case _:
            assert_never(fact)


def asked(case: Case, fact: BootstrapAsked, policy: Policy) -> Decision:
    """Somebody wants a node: refuse it, or have the invoice of its fee made."""
    refusal = refusing.to_wait(case, policy)
    if refusal is not None:
        return Decision(tells=(Tell(refusal, _NOWHERE),))
    order = BootstrapRecord(
        id=fact.bootstrap_id,
        pubkey=fact.pubkey,
        amount=policy.bootstrap_fee,
        created_at=fact.at,
        updated_at=fact.at,
    )
    invoice = CreateInvoice(
        job_id="",
        bootstrap_id=order.id,
        key=hashlib.sha256(f"invoice:{order.id}:bootstrap".encode()).hexdigest()[:32],
        amount=order.amount,
        memo=f"Timmy {order.id[:8]}",
        expiry_s=policy.invoice_s(Door.HTTP),
        give_up_at=fact.at + policy.invoice_patience_s,
    )
    identity = None if fact.pubkey is None else trust.met(case.identity, fact.pubkey, fact.at)
    return Decision(bootstrap=order, identity=identity, actions=(Do(invoice),))


def invoice_made(case: Case, fact: InvoiceMade, policy: Policy) -> Decision:
    """The invoice is on disk, and stands in its order; it is looked at once more after its expiry."""
    order = _order(case)
    row = InvoiceRecord(
        payment_hash=fact.payment_hash,
        account=accounts.job(order.id),
        job_id=None,
        amount=fact.amount,
        bolt11=fact.bolt11,
        created_at=fact.created_at,
        expires_at=fact.expires_at,
    )
    look = CheckInvoice(job_id="", payment_hash=row.payment_hash)
    told = dataclasses.replace(
        order, payment_hash=row.payment_hash, payment_request=row.bolt11, updated_at=fact.at
    )
    return Decision(bootstrap=told, invoices=(row,), actions=(Do(look, row.expires_at + policy.check_after_s),))


def paid(case: Case, fact: PaymentSeen, policy: Policy) -> Decision:
    """Our own wallet's record says that the invoice is settled. All that came is booked, in any state."""
    order, booked = _order(case), asking.paid(case, fact, policy)
    if not booked.invoices:
        return booked
    held = Msats(case.held + booked.invoices[0].received)
    if order.state is BootstrapState.PROVISIONING:
        return booked  # it stays in the order's account, and the order's end gives it back
    if order.state is not BootstrapState.AWAITING_PAYMENT:
        reason = "late" if order.state is BootstrapState.EXPIRED else "twice"
        return _with(booked, order, held, reason=reason, cause=fact.payment_hash, at=fact.at)
    if held < order.amount:
        sentence = f"Less than the fee of {sats_up(order.amount)} sats came. What came is yours: claim it."
        short = _moved(order, BootstrapState.FAILED, fact.at, error_message=sentence)
        decision = _with(booked, short, held, reason="underpaid", cause="end", at=fact.at)
        return dataclasses.replace(decision, bootstrap=short)
    return dataclasses.replace(
        booked,
        bootstrap=_moved(order, BootstrapState.PROVISIONING, fact.at),
        actions=(Do(ProvisionNode(bootstrap_id=order.id)),),
    )


def provisioned(case: Case, fact: NodeProvisioned) -> Decision:
    """The node is there: its fee is earned. What was paid above it goes back."""
    order = _order(case)
    if order.state is not BootstrapState.PROVISIONING:
        return IGNORED
    ready = _moved(
        order,
        BootstrapState.READY,
        fact.at,
        node_ip=fact.node_ip,
        tailscale_hostname=fact.tailscale_hostname,
        lnbits_url=fact.lnbits_url,
        ssh_private_key=fact.ssh_private_key,
    )
    account = accounts.job(order.id)
    earned = transfer(f"settlement:{order.id}", Code.SETTLEMENT, account, accounts.EARNED, order.amount)
    over = Msats(case.held - order.amount)
    return _with(
        Decision(bootstrap=ready, entries=(earned,)), ready, over, reason="change", cause="end", at=fact.at
    )


def failed(case: Case, fact: NodeFailed) -> Decision:
    """There is no node: all that was paid goes back."""
    order = _order(case)
    if order.state is not BootstrapState.PROVISIONING:
        return IGNORED
    over = _moved(order, BootstrapState.FAILED, fact.at, error_message=fact.sentence)
    return _with(Decision(bootstrap=over), over, case.held, reason="failed", cause="end", at=fact.at)


def _with(
    decision: Decision, order: BootstrapRecord, left: Msats, *, reason: str, cause: str, at: int
) -> Decision:
    """The decision, and with it all that is left in the account of an order that is over, on its way back.

    A rest below a sat goes to the pool. What sending it may cost us is bounded by the fee we kept.
    """
    account, entries, refunds = accounts.job(order.id), list[Entry](), list[RefundRecord]()
    dust = Msats(left % MSATS_PER_SAT)
    if dust:
        entries.append(transfer(f"dust:{order.id}:{cause}", Code.DUST, account, accounts.POOL, dust))
    if whole := Msats(left - dust):
        refund_id = hashlib.sha256(f"refund:bootstrap:{order.id}:{cause}".encode()).hexdigest()[:32]
        row = RefundRecord(
            id=refund_id,
            version=0,
            job_id=None,
            pubkey=None,
            amount=whole,
            reason=reason,
            state=RefundState.HELD,
            kept_fee_room=order.amount if order.state is BootstrapState.READY else ZERO,
            created_at=at,
            updated_at=at,
            bootstrap_id=order.id,
        )
        refunds.append(row)
        entries.append(transfer(f"owed:{row.id}", Code.OWED, account, accounts.refund(row.id), whole, reason))
    return dataclasses.replace(decision, entries=(*decision.entries, *entries), refunds=tuple(refunds))


def _expired(order: BootstrapRecord, at: int) -> BootstrapRecord | None:
    """Nobody paid, or our wallet was away for longer than a customer waits."""
    if order.state is not BootstrapState.AWAITING_PAYMENT:
        return None
    return _moved(order, BootstrapState.EXPIRED, at)


def _moved(order: BootstrapRecord, state: BootstrapState, at: int, **fields: str) -> BootstrapRecord:
    moved = dataclasses.replace(order, state=bootstrap_moves(order.state, state), updated_at=at)
    return dataclasses.replace(moved, **fields)  # type: ignore[arg-type] # mypy can't see which fields these are


def _order(case: Case) -> BootstrapRecord:
    if case.bootstrap is None:
        raise LookupError("this fact is about a node that nobody ordered")
    return case.bootstrap
