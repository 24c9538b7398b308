import pytest
from coincurve import PrivateKey

from ledger.money import Msats
from lightning import bolt11
from lightning.backend import Invoice, PayStatus, Sent, check_invoice
from lightning.errors import InvalidInvoice, LightningError, WalletRefused, WalletUnavailable

NOW = 1_700_000_000
HASH = "01" * 32


def invoice(**changes):
    terms = {
        "network": "bcrt",
        "payment_hash": bytes.fromhex(HASH),
        "payment_secret": b"\x02" * 32,
        "timestamp": NOW,
        "amount_msat": Msats(21_000),
        "description": "Timmy",
        "expiry": 600,
    }
    return bolt11.encode(PrivateKey(b"\x07" * 32), **{**terms, **changes})


def check(text, **changes):
    asked = {
        "network": "bcrt",
        "amount_msat": Msats(21_000),
        "payment_hash": HASH,
        "expiry_s": 600,
        "now": NOW + 0.5,
        "description_hash": None,
    }
    return check_invoice(text, **{**asked, **changes})


def test_an_invoice_as_asked_passes_with_the_expiry_it_really_has():
    text = invoice(timestamp=NOW - 20)
    assert check(text) == Invoice(HASH, text, Msats(21_000), NOW + 580)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("lnbcrt1nonsense", "not valid BOLT11"),
        (invoice(network="bc"), "network bc"),
        (invoice(amount_msat=Msats(20_000)), "20000 msat where 21000"),
        (invoice(amount_msat=None), "None msat"),
        (invoice(payment_hash=b"\x09" * 32), "payment hash"),
        (invoice(expiry=0), "600 s from"),
        (invoice(timestamp=NOW - 61), "-61 s from"),
        (invoice(timestamp=NOW + 86_401), "86401 s from"),
        (invoice(timestamp=NOW - 86_400 * 365), "compare its clock"),
    ],
)
def test_a_wallet_that_did_something_else_is_found_out(text, why):
    with pytest.raises(WalletUnavailable, match=why):
        check(text)


def test_a_payment_hash_is_compared_as_the_lower_case_text_it_is():
    text = invoice(payment_hash=b"\xab" * 32)
    assert check(text, payment_hash="ab" * 32)
    with pytest.raises(WalletUnavailable, match="payment hash"):
        check(text, payment_hash="AB" * 32)


def test_a_description_hash_must_be_the_one_asked_for():
    asked = b"\x05" * 32
    text = invoice(description=None, description_hash=asked)
    assert check(text, description_hash=asked)
    for other in (text, invoice()):
        with pytest.raises(WalletUnavailable, match="description hash"):
            check(other, description_hash=b"\x06" * 32)


@pytest.mark.parametrize("shift", [-60, 0, 60, 3_000, 86_400])
def test_clocks_a_little_apart_and_longer_lives_are_fine(shift):
    assert check(invoice(timestamp=NOW + shift)).expires_at == NOW + 600 + shift


def test_a_short_invoice_must_still_be_alive():
    """Within the clock margin of what was asked, and yet over."""
    with pytest.raises(WalletUnavailable, match="-30 s from"):
        check(invoice(timestamp=NOW - 30, expiry=20), expiry_s=20)


def test_a_preimage_is_not_in_the_repr():
    assert "feed" not in repr(PayStatus(Sent.SUCCEEDED, preimage="feed" * 16))


def test_errors_are_sorted_by_who_must_act():
    assert issubclass(InvalidInvoice, ValueError)
    for error in (InvalidInvoice, WalletRefused, WalletUnavailable):
        assert issubclass(error, LightningError)
    assert not issubclass(WalletRefused, WalletUnavailable)
