"""What may be concluded from LNbits' words."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning import lnbits_wire as wire
from lightning.backend import Paid, PayStatus, Sent
from lightning.errors import WalletRefused, WalletUnavailable

PREIMAGE = bytes(32).hex()
HASH = hashlib.sha256(bytes(32)).hexdigest()
NOW = 1_800_000_000.0
THEN = "2027-01-15T08:00:00+00:00"  # the same moment


def row(**changes) -> wire.Row:
    made = {
        "checking_id": HASH, "payment_hash": HASH, "wallet_id": "ours", "amount": 21_000, "fee": 0,
        "bolt11": "lnbc", "status": "pending", "created_at": "2027-01-15T07:00:00.000001+00:00",
        "updated_at": THEN, "expiry": "2027-01-15T08:10:00", "preimage": PREIMAGE, **changes,
    }  # fmt: skip
    return msgspec.convert(made, wire.Row)


def test_a_row_keeps_its_preimage_to_itself():
    """LNbits tells the preimage of unpaid invoices; shown in a log it would be money to whoever reads it."""
    assert PREIMAGE not in repr(row()) + str(row()) + repr(wire.Lookup(paid=False, details=row()))


@pytest.mark.parametrize(
    ("changes", "paid", "state"),
    [
        ({}, False, Paid.OPEN),
        ({"expiry": "2027-01-15T08:00:00+00:00"}, False, Paid.EXPIRED),
        ({"expiry": "2027-01-15T07:59:59"}, False, Paid.EXPIRED),
        ({"expiry": None}, False, Paid.OPEN),
        ({"status": "success"}, True, Paid.SETTLED),
        ({"status": "success", "expiry": "2027-01-15T07:00:00"}, True, Paid.SETTLED),
        ({"status": "success"}, False, Paid.UNKNOWN),  # LNbits contradicts itself
        ({}, True, Paid.OPEN),  # as above: only the row's own word settles
        ({"status": "failed"}, False, Paid.CANCELED),
        ({"status": "failed", "labels": ["expired"]}, False, Paid.EXPIRED),
        ({"status": "failed", "expiry": "2027-01-15T07:00:00"}, False, Paid.EXPIRED),
        ({"status": "success", "amount": -21_000}, True, Paid.UNKNOWN),  # a payment is no invoice
        ({"status": "success", "checking_id": f"service_fee_{HASH}"}, True, Paid.UNKNOWN),
    ],
)
def test_the_state_of_an_invoice(changes, paid, state):
    status = wire.invoice_status(row(**changes), paid=paid, now=NOW)
    assert status.state is state
    assert (status.received_msat, status.settled_at) == (
        (21_000, 1_800_000_000) if state is Paid.SETTLED else (None, None)
    )


@pytest.mark.parametrize(
    ("changes", "state", "fee"),
    [
        ({"status": "success", "fee": -1_500}, Sent.SUCCEEDED, 1_500),
        ({"status": "pending"}, Sent.IN_FLIGHT, None),
        ({"status": "failed"}, Sent.FAILED, None),
        ({"status": "failed", "created_at": "2027-01-15T07:59:30"}, Sent.UNKNOWN, None),
    ],
)
def test_the_state_of_a_payment(changes, state, fee):
    status = wire.payment_status(row(amount=-21_000, **changes), now=NOW)
    assert (status.state, status.fee_msat) == (state, fee)


@pytest.mark.parametrize("preimage", [None, "", "00", "0" * 63 + "1", "zz" * 32, "ab" * 32])
def test_a_preimage_that_proves_nothing_is_not_passed_on(preimage):
    assert wire.payment_status(row(status="success", preimage=preimage), now=NOW).preimage is None
    assert wire.payment_status(row(status="success"), now=NOW).preimage == PREIMAGE


@pytest.mark.parametrize("changes", [{"amount": 21_000}, {"wallet_id": "theirs"}, {"payment_hash": "ab" * 32}])
def test_only_money_out_of_our_wallet_for_that_hash_is_our_payment(changes):
    ours = {"payment_hash": HASH, "wallet_id": "ours"}
    assert wire.is_our_payment(row(amount=-21_000), **ours)
    assert not wire.is_our_payment(row(**{"amount": -21_000, **changes}), **ours)


@pytest.mark.parametrize(
    ("code", "reason", "word", "recorded", "state"),
    [
        (520, "Insufficient balance.", "failed", None, Sent.FAILED),
        (520, "You must reserve at least (2  sat) to cover", "failed", None, Sent.FAILED),
        (520, "Bolt11 decoding failed.", "failed", None, Sent.FAILED),
        (400, "Daily withdrawal limit of 5 sats reached.", "", None, Sent.FAILED),
        (520, "Insufficient balance.", "failed", Sent.SUCCEEDED, Sent.SUCCEEDED),  # the first try took the money
        (520, "Insufficient balance.", "failed", Sent.IN_FLIGHT, Sent.IN_FLIGHT),
        (520, "Insufficient balance.", "failed", Sent.FAILED, Sent.FAILED),
        (520, "Internal invoice already paid.", "failed", Sent.SUCCEEDED, Sent.SUCCEEDED),
        (520, "Internal invoice already paid.", "failed", None, Sent.UNKNOWN),
        (520, "Payment already paid.", "success", Sent.SUCCEEDED, Sent.SUCCEEDED),
        (520, "Payment already paid.", "success", None, Sent.UNKNOWN),
        (520, "Payment is still pending.", "pending", Sent.IN_FLIGHT, Sent.IN_FLIGHT),
        (520, "Payment failed: no route", "failed", Sent.UNKNOWN, Sent.FAILED),  # recorded as failed a moment ago
        (520, "Payment failed: no route", "failed", None, Sent.UNKNOWN),
        (520, "Payment is failed node, retrying is not possible.", "failed", Sent.FAILED, Sent.FAILED),
        (520, "Payment is failed node, retrying is not possible.", "failed", Sent.UNKNOWN, Sent.UNKNOWN),
        (500, "Unexpected error! ID: x", "", None, Sent.UNKNOWN),
        (500, "Unexpected error! ID: x", "", Sent.FAILED, Sent.UNKNOWN),
        (400, "Payment already exists", "", None, Sent.UNKNOWN),  # two at once
        (401, "Missing", "", None, Sent.UNKNOWN),
        (404, "Wallet not found.", "", None, Sent.UNKNOWN),
        (502, "Insufficient balance.", "", None, Sent.UNKNOWN),  # a proxy's word is not LNbits'
        (0, "no answer", "", None, Sent.UNKNOWN),
        (0, "no answer", "", Sent.FAILED, Sent.UNKNOWN),
        (0, "no answer", "", Sent.SUCCEEDED, Sent.SUCCEEDED),
    ],
)  # fmt: skip
def test_what_a_refusal_to_pay_means(code, reason, word, recorded, state):
    record = None if recorded is None else PayStatus(recorded)
    assert wire.refused_payment(wire.Refusal(code, reason, word), record).state is state


@pytest.mark.parametrize(
    ("body", "reason", "word"),
    [
        (b'{"detail":"Payment already paid.","status":"success"}', "Payment already paid.", "success"),
        (b'{"detail":[{"loc":["body"],"msg":"value is not valid","type":"x"}]}', "value is not valid", ""),
        (b'{"error":"Rate limit exceeded: 8 per 1 minute"}', "Rate limit exceeded: 8 per 1 minute", ""),
        (b'{"detail":{"a":1},"status":7}', "no reason given", ""),
        (b"<html>502</html>", "no reason given", ""),
        (b"", "no reason given", ""),
        (b"[" * 100_000, "no reason given", ""),
        (b'{"detail":"\\u001b[31mred\\nline"}', " [31mred line", ""),
        (b'{"detail":"your key is topsecret0"}', "your key is ***", ""),
    ],
)
def test_the_reason_of_a_refusal_is_one_harmless_line(body, reason, word):
    assert wire.read_refusal(520, body, secret="topsecret0") == wire.Refusal(520, reason, word)


def test_a_long_reason_is_cut():
    said = b'{"detail":"%s"}' % (b"x" * 5_000)
    assert len(wire.read_refusal(500, said, secret="topsecret0").reason) == 200


@pytest.mark.parametrize("text", ["2027-01-15T08:00:00", "2027-01-15T08:00:00+00:00", "2027-01-15T09:00:00+01:00"])
def test_a_time_without_a_zone_means_utc(text):
    assert wire.seconds(text) == NOW


@pytest.mark.parametrize("body", [b"", b"[]", b'{"paid":1}', b"\xff", b"[" * 100_000])
def test_what_cannot_be_read_is_unavailable_and_not_shown(body):
    with pytest.raises(WalletUnavailable, match="cannot read"):
        wire.parse(wire.Lookup, body)


def test_nonsense_in_a_row_is_unavailable():
    with pytest.raises(WalletUnavailable, match="time"):
        wire.settled_invoice(row(updated_at="soon"))
    with pytest.raises(WalletUnavailable, match="amount"):
        wire.settled_invoice(row(amount=10**30))


@given(st.integers(0, 10**9), st.integers(0, 4 * 10**15))
def test_a_cursor_is_read_as_it_was_written_and_short(offset, at_us):
    cursor = wire.Cursor(offset, at_us, HASH)
    assert wire.read_cursor(str(cursor)) == cursor
    assert len(str(cursor)) <= 128


def test_the_beginning_is_a_cursor_too():
    assert wire.read_cursor(None) == wire.read_cursor(str(wire.Cursor())) == wire.Cursor()


@given(st.text(max_size=40))
def test_any_other_cursor_is_refused(text):
    with pytest.raises(WalletRefused):
        wire.read_cursor(text)
