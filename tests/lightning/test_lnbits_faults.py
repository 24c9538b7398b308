"""`lightning.lnbits` with an LNbits that answers what a real one cannot be made to say."""

import asyncio
import hashlib
import json
import secrets
import time

import httpx
import pytest
from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.money import Msats
from lightning import bolt11
from lightning.backend import Paid, PayStatus, Sent
from lightning.errors import InvalidInvoice, WalletRefused, WalletUnavailable
from lightning.lnbits import PAGE_ROWS, REWIND_US, LnbitsWallet
from tests.lightning.canned import Answers
from tests.lightning.contract import eventually

KEY = "0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000.0
OURS, THEIRS = "0a" * 16, "0b" * 16
PREIMAGE = secrets.token_bytes(32)
HASH = hashlib.sha256(PREIMAGE).hexdigest()
NO_PAYMENT = httpx.Response(404, json={"detail": "Payment does not exist."})
NO_WALLET = httpx.Response(404, json={"detail": "Wallet not found."})


def invoice(amount_msat: int | None = 21_000, **changes) -> str:
    terms = {"network": "bc", "timestamp": int(NOW), "description": "Timmy", "expiry": 600, **changes}
    return bolt11.encode(
        PrivateKey(b"\x01" * 32),
        payment_hash=bytes.fromhex(HASH),
        payment_secret=b"\x02" * 32,
        amount_msat=None if amount_msat is None else Msats(amount_msat),
        **terms,
    )


INVOICE = invoice()


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(seconds))


def row(amount: int = -21_000, status: str = "success", *, age: float = 3_600.0, **changes) -> dict:
    return {
        "checking_id": HASH, "payment_hash": HASH, "wallet_id": OURS, "amount": amount, "fee": -1_000,
        "bolt11": INVOICE, "status": status, "created_at": stamp(NOW - age), "updated_at": stamp(NOW - age),
        "expiry": stamp(NOW + 600), "preimage": PREIMAGE.hex(), "labels": [], "extra": {}, "external_id": None,
        **changes,
    }  # fmt: skip


def found(**changes) -> httpx.Response:
    made = row(**changes)
    return httpx.Response(200, json={"paid": made["status"] == "success", "details": made})


def created(body: dict) -> httpx.Response:
    return httpx.Response(201, json=body)


def refused(code: int, detail: str, status: str | None = None) -> httpx.Response:
    return httpx.Response(code, json={"detail": detail} | ({} if status is None else {"status": status}))


def page(*rows: dict, total: int | None = None) -> httpx.Response:
    return httpx.Response(200, json={"data": list(rows), "total": len(rows) if total is None else total})


class Lnbits:
    """Answers by what is asked: paying or creating, a look-up, a listing, the wallet."""

    def __init__(self, *, post=None, look_up=NO_PAYMENT, listing=None, wallet=None) -> None:
        self.post, self.look_up = post, look_up
        self.listing = page() if listing is None else listing
        self.wallet = httpx.Response(200, json={"id": OURS, "balance": 50_000}) if wallet is None else wallet
        self.http = Answers(self.answer)

    def answer(self, request: httpx.Request):
        asked = request.url.path.removeprefix("/api/v1/")
        if request.method == "POST":
            return self.post(request) if callable(self.post) else self.post
        match asked:
            case "wallet":
                return self.wallet
            case "payments/paginated":
                return self.listing(request) if callable(self.listing) else self.listing
            case _:
                return self.look_up

    def open(self, **changes) -> LnbitsWallet:
        return LnbitsWallet(
            "http://127.0.0.1:1", KEY,
            **{"clock": lambda: NOW, "transport": self.http, "backoff_s": 0.001, "poll_s": 0.001, **changes},
        )  # fmt: skip

    @property
    def posts(self) -> list[dict]:
        return [json.loads(request.content) for request in self.http.requests if request.method == "POST"]


async def pay(lnbits: Lnbits, text: str = INVOICE, **changes) -> PayStatus:
    wallet = lnbits.open()
    try:
        return await wallet.pay(text, **{"max_fee_msat": Msats(5_000), "key": "refund-1", **changes})
    finally:
        await wallet.aclose()


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


class Record:
    """LNbits' settled payments, in the order they were last changed."""

    def __init__(self, count: int) -> None:
        self.times = {f"{number:064x}": NOW + 60 * number for number in range(count)}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        rows = sorted(self.times, key=self.times.__getitem__, reverse=asked["direction"] == "desc")
        start = int(asked.get("offset", 0))
        shown = [
            row(amount=21_000, payment_hash=name, updated_at=stamp(self.times[name]))
            for name in rows[start : start + int(asked["limit"])]
        ]
        return page(*shown, total=len(rows))


async def read_all(wallet: LnbitsWallet, cursor: str | None) -> tuple[list[str], str | None]:
    names: list[str] = []
    for _ in range(100):
        rows, after = await wallet.list_settled(cursor)
        names += [settled.payment_hash for settled in rows]
        if after == cursor:
            return names, cursor
        cursor = after
    raise AssertionError("the listing has no end")


class TestListing:
    async def test_every_row_once_in_order_over_many_pages(self):
        record = Record(3 * PAGE_ROWS + 7)
        wallet = Lnbits(listing=record).open()
        names, cursor = await read_all(wallet, None)
        assert names == sorted(record.times, key=record.times.__getitem__)
        assert await read_all(wallet, cursor) == ([], cursor)
        await wallet.aclose()

    async def test_an_empty_record_has_an_end(self):
        wallet = Lnbits().open()
        assert await read_all(wallet, None) == ([], "0:0:")
        await wallet.aclose()

    @settings(deadline=None)
    @given(st.data())
    def test_rows_that_move_or_come_late_hide_nothing_new(self, data):
        """Rows go to the end when LNbits touches them; a slow write may come in before the last one read."""

        async def play() -> None:
            record = Record(data.draw(st.integers(0, 130)))
            wallet = Lnbits(listing=record).open()
            _, cursor = await read_all(wallet, None)
            for _ in range(data.draw(st.integers(1, 4))):
                newest = max(record.times.values(), default=NOW)
                for moved in (
                    data.draw(st.sets(st.sampled_from(sorted(record.times)), max_size=3)) if record.times else ()
                ):
                    newest += 1
                    record.times[moved] = newest
                fresh = {f"{len(record.times) + count:064x}" for count in range(data.draw(st.integers(0, 3)))}
                late = data.draw(st.integers(0, REWIND_US // 1_000_000 - 60))
                # One late write at a time: together with as many moves it could leave every place as it was.
                for name in fresh:
                    newest += 1
                    record.times[name] = newest
                names, cursor = await read_all(wallet, cursor)
                assert fresh <= set(names)
                slow = f"{len(record.times):064x}"
                record.times[slow] = newest - late
                names, cursor = await read_all(wallet, cursor)
                assert slow in names
            await wallet.aclose()

        asyncio.run(play())

    async def test_a_record_that_was_wiped_is_read_from_the_beginning(self):
        record = Record(PAGE_ROWS + 5)
        wallet = Lnbits(listing=record).open()
        _, cursor = await read_all(wallet, None)
        record.times.clear()
        assert await read_all(wallet, cursor) == ([], "0:0:")
        record.times["ab" * 32] = NOW
        names, _ = await read_all(wallet, cursor)
        assert names == ["ab" * 32]
        await wallet.aclose()


class TestHints:
    """The push is refused here: nobody listens on that port."""

    async def hints(self, wallet: LnbitsWallet, cursor: str | None, count: int) -> list[tuple[str, str | None]]:
        got: list[tuple[str, str | None]] = []
        async with asyncio.timeout(10):
            async for hint in wallet.settled(cursor):
                got.append(hint)
                if len(got) == count:
                    break
        return got

    async def test_from_a_cursor_each_hint_says_where_to_go_on(self):
        record = Record(2 * PAGE_ROWS + 3)
        wallet = Lnbits(listing=record).open()
        hints = await self.hints(wallet, "0:0:", len(record.times))
        assert [name for name, _ in hints] == list(record.times)
        _, middle = hints[150]
        assert (await self.hints(wallet, middle, 1))[0] == hints[151]
        await wallet.aclose()

    async def test_from_none_only_what_comes_from_now_on(self):
        record = Record(5)
        lnbits = Lnbits(listing=record)
        wallet = lnbits.open()
        first = asyncio.create_task(self.hints(wallet, None, 1))

        async def the_end_is_known() -> bool:
            return len(lnbits.http.requests) >= 2

        await eventually(the_end_is_known)
        record.times["ab" * 32] = NOW + 10_000
        assert [name for name, _ in await first] == ["ab" * 32]
        await wallet.aclose()

    async def test_what_moved_is_no_settlement_twice_and_an_operators_share_none(self):
        rows = [row(500, checking_id=f"service_fee_{HASH}"), row(21_000)]
        wallet = Lnbits(listing=lambda asked: page(*rows[int(asked.url.params["offset"]) :])).open()
        assert [name for name, _ in await self.hints(wallet, "0:0:", 1)] == [HASH]
        await wallet.aclose()

    async def test_an_lnbits_out_of_order_is_outlasted_and_told_of_once(self, caplog):
        record = Record(1)
        trouble = [httpx.ReadError("reset"), refused(500, "x"), httpx.Response(200, content=b"<html>"), NO_WALLET]

        def listing(request: httpx.Request):
            return trouble.pop() if trouble else record(request)

        wallet = Lnbits(listing=listing).open()
        assert len(await self.hints(wallet, "0:0:", 1)) == 1
        assert len([one for one in caplog.records if "tried again" in one.getMessage()]) == 1
        await wallet.aclose()

    async def test_a_closed_wallet_gives_no_hints(self):
        wallet = Lnbits(listing=Record(3)).open()
        await wallet.aclose()
        assert [hint async for hint in wallet.settled(None)] == []

    async def test_closing_the_wallet_ends_them(self):
        lnbits = Lnbits()
        wallet = lnbits.open(poll_s=600)
        first = asyncio.create_task(anext(aiter(wallet.settled(None)), "the end"))

        async def it_waits() -> bool:
            return len(lnbits.http.requests) >= 2

        await eventually(it_waits)
        await wallet.aclose()
        assert await first == "the end"
