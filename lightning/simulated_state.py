"""What the simulated wallet knows: records of what happened, and the state they add up to. Pure.

The wallet is its records. Each is written down, then applied; after a restart they are applied again.
"""

import re
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from ledger.money import Msats
from lightning.backend import InvoiceStatus, Paid, PayStatus, Sent, SettledInvoice
from lightning.errors import WalletRefused

PAGE = 1_000
_CURSOR = re.compile(r"[0-9]{1,18}", re.ASCII)


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The wallet came to be, with so much in it."""

    balance_msat: int


class InvoiceMade(msgspec.Struct, frozen=True, tag="invoice"):
    """We asked for money. ``preimage`` is what the payer will learn by paying."""

    payment_hash: str
    preimage: str
    key: str
    amount_msat: int
    expires_at: int
    bolt11: str


class Received(msgspec.Struct, frozen=True, tag="received"):
    """Money came in on an invoice of ours; the second time on the same one too."""

    payment_hash: str
    amount_msat: int
    at: int


class Canceled(msgspec.Struct, frozen=True, tag="canceled"):
    """An unpaid invoice of ours was withdrawn."""

    payment_hash: str


class Payment(msgspec.Struct, frozen=True, tag="payment"):
    """A payment of ours took this state. ``fee_msat`` is what it costs, or may still cost while in flight."""

    payment_hash: str
    key: str
    state: Sent
    amount_msat: int
    fee_msat: int
    preimage: str | None
    detail: str


Record = Opened | InvoiceMade | Received | Canceled | Payment


@dataclass(slots=True)
class WalletState:
    """The sum of all records. Only `apply` changes it, and it takes whatever once happened."""

    balance_msat: int = 0
    """What can be spent: payments in flight have left it, and come back if they fail."""
    invoices: dict[str, InvoiceMade] = field(default_factory=dict)
    by_key: dict[str, InvoiceMade] = field(default_factory=dict)
    received: dict[str, SettledInvoice] = field(default_factory=dict)
    """By payment hash, with the sum of all that came in on it."""
    settlements: list[SettledInvoice] = field(default_factory=list)
    """In the order they came; a cursor is a position in it."""
    canceled: set[str] = field(default_factory=set)
    payments: dict[str, Payment] = field(default_factory=dict)

    def apply(self, record: Record) -> None:
        """Take a record into account."""
        match record:
            case Opened():
                self.balance_msat = record.balance_msat
            case InvoiceMade():
                self.invoices[record.payment_hash] = record
                self.by_key[record.key] = record
            case Received():
                self.balance_msat += record.amount_msat
                before = self.received.get(record.payment_hash)
                total = record.amount_msat + ((before.received_msat or 0) if before else 0)
                row = SettledInvoice(record.payment_hash, Msats(total), record.at)
                self.received[record.payment_hash] = row
                self.settlements.append(row)
            case Canceled():
                self.canceled.add(record.payment_hash)
            case Payment():
                self.balance_msat += _gone(self.payments.get(record.payment_hash)) - _gone(record)
                self.payments[record.payment_hash] = record
            case _:
                assert_never(record)

    def invoice_status(self, payment_hash: str, now: float) -> InvoiceStatus:
        """How an invoice stands at ``now``."""
        made = self.invoices.get(payment_hash)
        received = self.received.get(payment_hash)
        if made is None:
            return InvoiceStatus(Paid.UNKNOWN)
        if received is not None:
            return InvoiceStatus(Paid.SETTLED, received.received_msat, received.settled_at)
        if payment_hash in self.canceled:
            return InvoiceStatus(Paid.CANCELED)
        return InvoiceStatus(Paid.OPEN if now < made.expires_at else Paid.EXPIRED)

    def position(self, cursor: str | None) -> int:
        """How many settlements lie before a cursor.

        Raises:
            WalletRefused: the cursor cannot be from this wallet, or from a later state of it.
        """
        if cursor is None:
            return 0
        if not _CURSOR.fullmatch(cursor) or int(cursor) > len(self.settlements):
            raise WalletRefused(
                "This cursor is not from the simulated wallet's record, or the record lost its latest part; "
                "list from the beginning."
            )
        return int(cursor)

    def page(self, cursor: str | None) -> tuple[list[SettledInvoice], str]:
        """At most `PAGE` settlements after a cursor, and the cursor after them."""
        start = self.position(cursor)
        rows = self.settlements[start : start + PAGE]
        return rows, str(start + len(rows))


def pay_status(payment: Payment) -> PayStatus:
    """What the wallet says of a payment it has on record."""
    fee = Msats(payment.fee_msat) if payment.state is Sent.SUCCEEDED else None
    return PayStatus(payment.state, fee, payment.preimage, payment.detail)


def _gone(payment: Payment | None) -> int:
    """What a payment takes out of the balance."""
    if payment is None or payment.state is Sent.FAILED:
        return 0
    return payment.amount_msat + payment.fee_msat
