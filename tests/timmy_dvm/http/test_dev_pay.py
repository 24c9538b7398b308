"""The route with which developers pay: what it answers, and what never reaches the wallet."""

import contextlib
import hashlib

import httpx
import pytest

from tests.timmy_dvm.http.door import a_door
from timmy_dvm.http.app import create_app
from timmy_dvm.http.dev_pay import DevPay, PaidHow, Receipt, routes

HASH = "0a" * 32


@contextlib.asynccontextmanager
async def client(pay=None):
    transport = httpx.ASGITransport(create_app([] if pay is None else [routes(pay)], lambda: HASH))
    async with httpx.AsyncClient(transport=transport, base_url="http://timmy") as http:
        yield http


def paying(how):
    asked = []

    async def pay(payment_hash):
        asked.append(payment_hash)
        return Receipt(how)

    return pay, asked


@pytest.mark.parametrize(("how", "already"), [(PaidHow.PAID, False), (PaidHow.ALREADY, True)])
async def test_a_paid_invoice_is_said_to_be_paid_however_often_it_is_asked(how, already):
    """LNB-04."""
    pay, asked = paying(how)
    async with client(pay=pay) as http:
        answer = await http.post(f"/api/dev/stub/pay/{HASH}")
    assert answer.status_code == 200
    assert answer.json() == {
        "ok": True,
        "paymentHash": HASH,
        "alreadyPaid": already,
        "trust_tier": "anonymous",
    }
    assert asked == [HASH]


async def test_what_was_said_to_be_paid_is_in_the_books_when_it_is_said():
    async with a_door() as door:
        pay = DevPay(door.house.wallet, door.house.store, door.house.payments.look).pay
        asked = await door.ask()
        for how in (PaidHow.PAID, PaidHow.ALREADY):
            assert (await pay(asked["evalInvoice"]["paymentHash"])).how is how
            assert (await door.job(asked["jobId"]))["state"] != "awaiting_eval_payment"


async def test_who_pays_learns_the_preimage_and_nobody_after_them():
    """Without it no L402 credential can be tried out with play money."""
    async with a_door() as door:
        pay = DevPay(door.house.wallet, door.house.store, door.house.payments.look).pay
        payment_hash = (await door.ask())["evalInvoice"]["paymentHash"]
        async with client(pay=pay) as http:
            first, again = [(await http.post(f"/api/dev/stub/pay/{payment_hash}")).json() for _ in range(2)]
    assert hashlib.sha256(bytes.fromhex(first["preimage"])).hexdigest() == payment_hash
    assert (again["alreadyPaid"], "preimage" in again) == (True, False)
    assert first["preimage"] not in repr(Receipt(PaidHow.PAID, first["preimage"]))


@pytest.mark.parametrize(
    "header", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "CF-Connecting-IP", "Via"]
)
async def test_behind_a_proxy_nobody_pays(header):
    """D17."""
    pay, asked = paying(PaidHow.PAID)
    async with client(pay=pay) as http:
        answer = await http.post(f"/api/dev/stub/pay/{HASH}", headers={header: "192.0.2.1"})
    assert (answer.status_code, answer.json()["code"], asked) == (403, "not_local", [])


@pytest.mark.parametrize(
    ("how", "status", "code"), [(PaidHow.UNKNOWN, 404, "unknown_invoice"), (PaidHow.FAILED, 503, "not_paid")]
)
async def test_what_was_not_paid_is_an_error_with_a_code_and_a_sentence(how, status, code):
    pay, _ = paying(how)
    async with client(pay=pay) as http:
        answer = await http.post(f"/api/dev/stub/pay/{HASH}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["error"].endswith(".")


@pytest.mark.parametrize("payment_hash", ["0a", HASH.upper(), "zz" * 32, HASH[:-1] + "٣"])
async def test_what_is_no_payment_hash_never_reaches_the_wallet(payment_hash):
    """LNB-06."""
    pay, asked = paying(PaidHow.PAID)
    async with client(pay=pay) as http:
        answer = await http.post(f"/api/dev/stub/pay/{payment_hash}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_invoice")
    assert asked == []


async def test_a_path_that_is_too_long_is_of_nothing():
    pay, asked = paying(PaidHow.PAID)
    async with client(pay=pay) as http:
        answer = await http.post(f"/api/dev/stub/pay/{HASH}00")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert asked == []


async def test_without_a_way_to_pay_there_is_no_route_to_pay():
    """LNB-05."""
    async with client() as http:
        answer = await http.post(f"/api/dev/stub/pay/{HASH}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", f"/api/dev/stub/pay/{HASH}", 405, "wrong_method"),
    ],
)
async def test_whatever_is_not_there_says_so_as_json(method, path, status, code):
    pay, asked = paying(PaidHow.PAID)
    async with client(pay=pay) as http:
        answer = await http.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["trust_tier"] == "anonymous"
    assert asked == []
