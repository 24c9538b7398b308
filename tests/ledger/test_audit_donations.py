"""What the audit knows of gifts: an invoice that fills the pool was meant as one."""

import dataclasses

import pytest

from ledger.accounts import NODE, POOL
from ledger.audit import audit
from ledger.entries import Code
from ledger.money import Msats
from ledger.records import InvoiceState, NewAction
from ledger.sqlite import open_ledger
from tests.ledger.books import HASH, NOW, applied, invoice, moves, topup
from tests.ledger.test_audit import alter


@pytest.fixture
async def path(tmp_path):
    """A gift of 7 sats that came, and one that waits."""
    path = tmp_path / "timmy.db"
    store = open_ledger(f"sqlite:///{path}")
    await store.open_books(Msats(0), Msats(10_000), NOW)
    look = NewAction(kind="CheckInvoice", job_id=None, body=f'{{"payment_hash":"{HASH}"}}')
    gift = topup(account=POOL, pubkey=None, payment_hash=HASH)
    await applied(store, invoices=(invoice(HASH, account=POOL),), topups=(gift,), actions=(look,))
    paid = invoice(HASH, account=POOL, state=InvoiceState.SETTLED, received=Msats(7_000))
    booked = moves(NODE, POOL, 7_000, Code.SETTLED, f"settled:{HASH}")
    await applied(store, invoices=(paid,), topups=(dataclasses.replace(gift, ended_at=NOW),), entries=(booked,))
    make = NewAction(kind="CreateInvoice", job_id=None, body='{"topup_id":"t2"}')
    await applied(store, topups=(topup("t2", account=POOL, pubkey=None),), actions=(make,))
    await store.close()
    return path


def test_gifts_as_they_are_made_are_in_order(path):
    assert audit(path) == []


@pytest.mark.parametrize(
    ("by_hand", "rule"),
    [
        ("DELETE FROM topups WHERE id = 't1'", "I2 what fills the pool by an invoice was meant as a gift"),
        ("UPDATE topups SET account = 'customer:k' WHERE id = 't1'", "I2 a top-up's invoice fills the account"),
        ("UPDATE invoices SET received_msat = 8000", "I2 what a settled invoice brought is booked"),
        ("DELETE FROM outbox WHERE kind = 'CreateInvoice'", "I6 a top-up that waits will be decided"),
    ],
)
def test_what_was_altered_by_hand_is_found(path, by_hand, rule):
    alter(path, by_hand)
    assert [finding for finding in audit(path) if finding.rule.startswith(rule)]
