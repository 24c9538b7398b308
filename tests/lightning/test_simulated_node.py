import hashlib
import random

import pytest

from ledger.money import Msats
from lightning import bolt11
from lightning.backend import Paid, Sent
from lightning.errors import InvalidInvoice, WalletRefused
from lightning.simulated import OutsideWallet, SimulatedWallet
from tests.lightning.contract import MAINNET_INVOICE, create, pay
from tests.lightning.simulated_world import OPENING, SUM, SimulatedHarness


@pytest.fixture
def harness():
    return SimulatedHarness()


@pytest.fixture
def wallet(harness) -> SimulatedWallet:
    return harness.backend


@pytest.fixture
def customer(harness) -> OutsideWallet:
    return harness.outside


async def test_a_customer_pays_an_invoice_in_full_or_otherwise(wallet, customer):
    full, more = await create(wallet, "full"), await create(wallet, "more")
    customer.pays(full.bolt11)
    customer.pays(f"lightning:{more.bolt11.upper()}", Msats(25_000))
    assert (await wallet.lookup_invoice(full.payment_hash)).received_msat == SUM
    assert (await wallet.lookup_invoice(more.payment_hash)).received_msat == 25_000


async def test_a_customer_does_not_pay_late(harness, wallet, customer):
    invoice = await create(wallet)
    harness.clock.now = invoice.expires_at
    with pytest.raises(InvalidInvoice, match="expired"):
        customer.pays(invoice.bolt11)
    assert (await wallet.lookup_invoice(invoice.payment_hash)).state is Paid.EXPIRED


async def test_a_customer_pays_twice_only_with_two_invoices(wallet, customer):
    invoice = await create(wallet)
    customer.pays(invoice.bolt11)
    with pytest.raises(WalletRefused, match="paid already"):
        customer.pays(invoice.bolt11)


@pytest.mark.parametrize("text", ["", "hello", MAINNET_INVOICE])
def test_a_customer_pays_no_nonsense_and_no_other_network(customer, text):
    with pytest.raises(InvalidInvoice):
        customer.pays(text)


def test_a_customer_cannot_pay_invoices_of_others(customer):
    with pytest.raises(WalletRefused, match="no such invoice"):
        customer.pays(customer.invoice(SUM))


def test_a_customers_invoice_says_what_it_was_told(customer, wallet):
    want = hashlib.sha256(b"metadata").digest()
    read = bolt11.decode(customer.invoice(SUM, expiry_s=90, description_hash=want))
    assert (read.network, read.amount_msat, read.expiry) == ("bcrt", SUM, 90)
    assert (read.description, read.description_hash) == (None, want.hex())
    assert read.payee != wallet.node_id
    assert bolt11.decode(customer.invoice(None, description="change")).description == "change"


async def test_each_of_two_customers_gets_what_is_theirs(harness, wallet, customer):
    other = OutsideWallet(wallet, seed=b"other", now=harness.clock, random_bytes=random.Random(9).randbytes)
    text = other.invoice(SUM)
    status = await pay(wallet, text)
    payment_hash = bolt11.decode(text).payment_hash
    assert (status.state, status.preimage) == (Sent.SUCCEEDED, other.preimage_of(payment_hash))
    assert (customer.received, other.received) == ({}, {payment_hash: SUM})
    assert await wallet.balance_msat() == OPENING - SUM
