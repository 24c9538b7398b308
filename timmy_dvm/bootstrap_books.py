"""The books around a fact about an order of a node: the order, and what is in its account.

Read inside the ledger's writing transaction, like all that the engine loads; only what the fact's decision needs.
"""

import dataclasses

from ledger import accounts
from ledger.bootstrap import BootstrapRecord
from ledger.store import View
from timmy_dvm.core.bootstrap_facts import BootstrapAsked, NodeFailed, NodeProvisioned
from timmy_dvm.core.case import Case
from timmy_dvm.core.facts import Fact, InvoiceMade, InvoiceNotMade, InvoiceUnpaid, PaymentSeen


def load(view: View, fact: Fact) -> Case | None:
    """The books around a fact about an order; None where it is about something else."""
    match fact:
        case BootstrapAsked():
            identity = None if fact.pubkey is None else view.identity(fact.pubkey)
            return Case(identity=identity, open_invoices=view.open_invoices())
        case NodeProvisioned() | NodeFailed():
            return _around(view, view.bootstrap(fact.bootstrap_id)) or Case()
        case InvoiceMade() | InvoiceNotMade():
            if fact.bootstrap_id is None:
                return None
            return _around(view, view.bootstrap(fact.bootstrap_id)) or Case()
        case PaymentSeen() | InvoiceUnpaid():
            case = _around(view, view.bootstrap_of_invoice(fact.payment_hash))
            return None if case is None else dataclasses.replace(case, invoice=view.invoice(fact.payment_hash))
        case _:
            return None


def _around(view: View, order: BootstrapRecord | None) -> Case | None:
    return None if order is None else Case(bootstrap=order, held=view.balance(accounts.job(order.id)))
