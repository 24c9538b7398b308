"""`lightning.lnbits` with an LNbits that answers what a real one cannot be made to say."""

import asyncio
import json

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.money import Msats
from lightning.backend import Paid, Sent
from lightning.errors import InvalidInvoice, WalletRefused, WalletUnavailable
from tests.lightning.canned_lnbits import (
    HASH,
    INVOICE,
    KEY,
    NO_PAYMENT,
    NO_WALLET,
    NOW,
    PREIMAGE,
    THEIRS,
    Lnbits,
    created,
    found,
    invoice,
    page,
    pay,
    refused,
    row,
    stamp,
)

ANSWERS_TO_PAY = [
    # what paying is answered, what the record has afterwards, what that means
    (created(row()), NO_PAYMENT, Sent.SUCCEEDED),
    (created(row(status="pending")), NO_PAYMENT, Sent.IN_FLIGHT),
    (
        created(row(status="failed")),
        found(status="failed"),
        Sent.UNKNOWN,
    ),  # "try again" while the node is not sure
    (created(row(amount=21_000)), NO_PAYMENT, Sent.UNKNOWN),  # the payee's side
    (created(row(wallet_id=THEIRS)), NO_PAYMENT, Sent.UNKNOWN),
    (created(row(payment_hash="ab" * 32)), NO_PAYMENT, Sent.UNKNOWN),
    (created(row(status="settled")), NO_PAYMENT, Sent.UNKNOWN),
    (created(row(fee=-(10**20))), NO_PAYMENT, Sent.UNKNOWN),
    (created({}), NO_PAYMENT, Sent.UNKNOWN),
    (httpx.Response(201, content=b"<html>"), NO_PAYMENT, Sent.UNKNOWN),
    (httpx.Response(201, content=b"<html>"), found(), Sent.SUCCEEDED),
    (refused(520, "Insufficient balance.", "failed"), NO_PAYMENT, Sent.FAILED),
    (refused(520, "Insufficient balance.", "failed"), found(), Sent.SUCCEEDED),
    (refused(520, "Insufficient balance.", "failed"), httpx.ReadError(""), Sent.UNKNOWN),
    (refused(520, "Insufficient balance.", "failed"), NO_WALLET, Sent.UNKNOWN),
    (refused(520, "Insufficient balance.", "failed"), httpx.Response(200, json={"paid": True}), Sent.UNKNOWN),
    (refused(520, "Insufficient balance.", "failed"), found(amount=21_000), Sent.FAILED),  # the payee is us
    (refused(520, "Internal invoice already paid.", "failed"), found(), Sent.SUCCEEDED),
    (refused(520, "Internal invoice already paid.", "failed"), NO_PAYMENT, Sent.UNKNOWN),
    (refused(520, "Payment already paid.", "success"), NO_PAYMENT, Sent.UNKNOWN),
    (refused(520, "Payment failed: no route", "failed"), found(status="failed", age=1), Sent.FAILED),
    (refused(520, "Something new", "failed"), NO_PAYMENT, Sent.UNKNOWN),
    (refused(500, "Unexpected error! ID: x"), found(status="pending"), Sent.IN_FLIGHT),
    (refused(500, "Unexpected error! ID: x"), NO_PAYMENT, Sent.UNKNOWN),
    (httpx.Response(502, content=b"<html>"), NO_PAYMENT, Sent.UNKNOWN),
    (httpx.Response(307, headers={"Location": "/first_install"}), NO_PAYMENT, Sent.UNKNOWN),
    (NO_WALLET, NO_PAYMENT, Sent.UNKNOWN),
    (httpx.ConnectError("refused"), NO_PAYMENT, Sent.UNKNOWN),
    (httpx.ReadError("reset"), found(), Sent.SUCCEEDED),
    (httpx.ReadError("reset"), httpx.ReadError("reset"), Sent.UNKNOWN),
]


@pytest.mark.parametrize(("answer", "record", "state"), ANSWERS_TO_PAY)
async def test_what_paying_comes_to(answer, record, state):
    status = await pay(Lnbits(post=answer, look_up=record))
    assert status.state is state
    if state is Sent.SUCCEEDED:
        assert (status.fee_msat, status.preimage) == (1_000, PREIMAGE.hex())


@settings(deadline=None)
@given(
    st.integers(200, 599),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([json.dumps(row(status=s)).encode() for s in ("success", "failed")]),
    ),
    st.integers(200, 599),
    st.one_of(st.binary(max_size=40), st.sampled_from([NO_PAYMENT.content, json.dumps({"paid": True}).encode()])),
)
def test_no_answer_whatever_makes_paying_raise_or_a_failure_up(code, body, record_code, record):
    """A failure needs LNbits' own words for it, and none of these has them."""
    lnbits = Lnbits(post=httpx.Response(code, content=body), look_up=httpx.Response(record_code, content=record))
    status = asyncio.run(pay(lnbits, timeout_s=0.05))
    assert status.state is not Sent.FAILED
    if status.state is Sent.SUCCEEDED:
        assert code in (200, 201)
        assert json.loads(body)["status"] == "success"


async def test_a_silent_lnbits_is_unknown_when_the_time_is_up():
    status = await pay(Lnbits(post=None), timeout_s=0.05)
    assert (status.state, "0.05 s" in status.detail) == (Sent.UNKNOWN, True)


async def test_paying_says_what_it_must_and_nothing_of_ours():
    lnbits = Lnbits(post=created(row()))
    await pay(lnbits, f"LIGHTNING:{INVOICE.upper()} ")
    assert lnbits.posts == [{"out": True, "bolt11": INVOICE, "external_id": "refund-1"}]


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (invoice(None), {"amount_msat": Msats(21_000)}),
        (INVOICE, {"amount_msat": Msats(20_000)}),
        (invoice(network="tb"), {}),
        ("lnbc1", {}),
    ],
)
async def test_what_lnbits_cannot_pay_is_refused_before_anything_is_asked(text, changes):
    lnbits = Lnbits(post=created(row()))
    with pytest.raises(InvalidInvoice):
        await pay(lnbits, text, **changes)
    assert lnbits.http.requests == []


@pytest.mark.parametrize(
    ("record", "state"),
    [(NO_PAYMENT, Sent.FAILED), (found(), Sent.SUCCEEDED), (found(status="pending"), Sent.IN_FLIGHT),
     (httpx.ReadError(""), Sent.UNKNOWN)],
)  # fmt: skip
async def test_an_expired_invoice_is_looked_up_and_not_sent(record, state):
    lnbits = Lnbits(post=created(row()), look_up=record)
    assert (await pay(lnbits, invoice(timestamp=int(NOW) - 700))).state is state
    assert lnbits.posts == []


async def test_an_invoice_that_is_not_what_was_asked_is_not_handed_out():
    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        return created(row(amount=20_000, status="pending", bolt11=invoice(20_000), extra=asked["extra"]))

    wallet = Lnbits(post=answer).open()
    with pytest.raises(WalletUnavailable, match="20000 msat where 21000"):
        await wallet.create_invoice(Msats(21_000), memo="Timmy", expiry_s=600, key="job")
    await wallet.aclose()


async def test_an_ignored_filter_is_noticed():
    """LNbits drops filters it does not know, and would give any invoice for ours."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        assert asked["out"] is False
        assert asked["amount"] == 21
        return created(row(amount=21_000, status="pending", extra=asked["extra"]))

    lnbits = Lnbits(post=answer, listing=page(row(amount=21_000, external_id="another")))
    wallet = lnbits.open()
    made = await wallet.create_invoice(Msats(21_000), memo="Timmy", expiry_s=600, key="job")
    assert (made.payment_hash, len(lnbits.posts)) == (HASH, 1)
    await wallet.aclose()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused(520, "unexpected backend error.", "pending"), WalletUnavailable),
        (refused(520, "Invoice amount 5 sats is too high.", "failed"), WalletRefused),
        (refused(400, "bad"), WalletRefused),
        (refused(500, "Unexpected error!"), WalletUnavailable),
        (httpx.Response(201, content=b"{}"), WalletUnavailable),
        (NO_WALLET, WalletRefused),
    ],
)
async def test_creating_tells_a_no_from_a_not_now(answer, error):
    wallet = Lnbits(post=answer).open()
    with pytest.raises(error):
        await wallet.create_invoice(Msats(21_000), memo="Timmy", expiry_s=600, key="job")
    await wallet.aclose()


async def test_a_key_with_other_terms_in_the_record_is_refused():
    before = row(amount=21_000, external_id="job", extra={"timmy_terms": "20000 msat, 600 s, Timmy"})
    lnbits = Lnbits(listing=page(before))
    wallet = lnbits.open()
    with pytest.raises(WalletRefused, match="other terms"):
        await wallet.create_invoice(Msats(21_000), memo="Timmy", expiry_s=600, key="job")
    with pytest.raises(WalletRefused, match="whole sats"):
        await wallet.create_invoice(Msats(21_500), memo="Timmy", expiry_s=600, key="job-2")
    with pytest.raises(WalletRefused, match="memo"):
        await wallet.create_invoice(Msats(21_000), memo="é" * 65, expiry_s=600, key="job-2")
    assert lnbits.posts == []
    await wallet.aclose()


async def test_a_key_gives_the_first_of_its_invoices_again():
    """There may be two: LNbits was slow, and the answer lost."""
    terms = {"timmy_terms": "21000 msat, 600 s, Timmy"}
    mine = row(amount=21_000, external_id="job", extra=terms, created_at=stamp(NOW))
    later = row(amount=21_000, external_id="job", extra=terms, bolt11="lnbc", payment_hash="ab" * 32)
    lnbits = Lnbits(listing=page(row(external_id="job"), mine, later))
    wallet = lnbits.open(clock=lambda: NOW + 86_400)
    made = await wallet.create_invoice(Msats(21_000), memo="Timmy", expiry_s=600, key="job")
    assert (made.payment_hash, made.expires_at, lnbits.posts) == (HASH, NOW + 600, [])
    assert (await wallet.lookup_invoice(HASH)).state is Paid.UNKNOWN
    await wallet.aclose()


async def test_with_the_invoice_key_no_payment_can_be_told_from_anothers():
    lnbits = Lnbits(post=created(row()), wallet=httpx.Response(200, json={"balance": 5}))
    assert "admin key" in (await pay(lnbits)).detail
    assert lnbits.posts == []


async def test_a_payment_that_is_not_there_is_unknown():
    wallet = Lnbits().open()
    assert (await wallet.lookup_payment(HASH)).state is Sent.UNKNOWN
    assert KEY not in repr(wallet)
    await wallet.aclose()


@pytest.mark.parametrize("wrong", [{"key": "with space"}, {"key": ""}, {"key": "x" * 129}, {"expiry_s": 0}])
async def test_a_key_or_a_life_that_cannot_be_is_a_programming_error(wrong):
    wallet = Lnbits().open()
    with pytest.raises(ValueError):
        await wallet.create_invoice(Msats(21_000), **{"memo": "Timmy", "expiry_s": 600, "key": "job", **wrong})
    with pytest.raises(WalletRefused):
        await wallet.create_invoice(Msats(21_000), memo="", expiry_s=600, key="job", description_hash=b"short")
    with pytest.raises(ValueError):
        await wallet.lookup_invoice("../wallet")
    await wallet.aclose()


@pytest.mark.parametrize(
    ("look_up", "listing", "state"),
    [
        (found(amount=21_000), page(), Paid.SETTLED),
        (httpx.Response(200, json={"paid": True, "details": row(21_000, "pending")}), page(), Paid.OPEN),
        (found(amount=-21_000), page(), Paid.UNKNOWN),
        (found(amount=-21_000), page(row(21_000, "pending")), Paid.OPEN),
        (found(amount=-21_000), page(row(21_000, payment_hash="ab" * 32)), Paid.UNKNOWN),
        (found(amount=500, checking_id=f"service_fee_{HASH}"), page(row(21_000)), Paid.SETTLED),
    ],
)
async def test_only_the_row_of_the_invoice_itself_settles_it(look_up, listing, state):
    wallet = Lnbits(look_up=look_up, listing=listing).open()
    status = await wallet.lookup_invoice(HASH)
    assert status.state is state
    assert status.received_msat in (None, 21_000)
    await wallet.aclose()


@pytest.mark.parametrize("look_up", [httpx.Response(200, json={"paid": True}), NO_WALLET, refused(401, "x")])
async def test_a_settlement_told_to_a_stranger_does_not_count(look_up):
    """With a wrong key LNbits still says "paid", as it does to anybody who knows the hash."""
    wallet = Lnbits(look_up=look_up).open()
    with pytest.raises(WalletRefused, match="key"):
        await wallet.lookup_invoice(HASH)
    await wallet.aclose()


async def test_no_such_payment_with_a_key_that_was_withdrawn_says_so():
    wallet = Lnbits(wallet=NO_WALLET).open()
    with pytest.raises(WalletRefused, match="key"):
        await wallet.lookup_invoice(HASH)
    await wallet.aclose()


async def test_a_balance_below_zero_reads_as_nothing():
    wallet = Lnbits(wallet=httpx.Response(200, json={"balance": -2_000})).open()
    assert await wallet.balance_msat() == 0
    await wallet.aclose()
