"""What is configured, logged and served, row by row of the requirements, where no other test has the row."""

import json
import logging
from importlib.resources import files

import httpx
from fastapi import FastAPI

from relay_client.event import Event
from relay_client.keys import Keys
from tests.flows.house import a_house
from tests.flows.shop import serving
from tests.timmy_dvm.http.session_door import a_desk
from timmy_dvm.building import wallet_of
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.config import load
from timmy_dvm.http import dev_pay, tower
from timmy_dvm.http.app import create_app
from timmy_dvm.http.dev_pay import DevPay
from timmy_dvm.log import JsonFormatter
from timmy_dvm.nostr import nip90
from timmy_dvm.nostr.asked_for import wanted

KEY = "k" * 32
LNBITS = {"LNBITS_URL": "http://127.0.0.1:1", "LNBITS_API_KEY": KEY}
ASSETS = files("timmy_dvm.http.pages").joinpath("assets")
ZAP_RECEIPT = 9735
TIMMY = Keys.from_bytes(b"\x07" * 32)


def script(name: str) -> str:
    return ASSETS.joinpath(name).read_text(encoding="utf-8")


async def test_lnb_02_a_real_wallet_is_said_and_its_key_is_not(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        wallet = wallet_of(load(None, LNBITS, tmp_path), ManualClock(), SeededRandomness(1))
        await wallet.aclose()
    lines = [JsonFormatter().format(record) for record in caplog.records]
    (said,) = [json.loads(line) for line in lines if "LNbits real mode active" in line]
    assert (said["component"], said["fields"]["url"], said["fields"]["stub"]) == (
        "lnbits",
        LNBITS["LNBITS_URL"],
        False,
    )
    assert not [line for line in lines if KEY in line]


def test_pha_11_the_cheap_model_judges_and_the_stronger_one_works(tmp_path):
    models = load(None, {}, tmp_path).agent.anthropic
    assert "haiku" in models.eval_model
    assert "sonnet" in models.work_model


async def test_log_02_the_first_lines_say_where_it_is_found(tmp_path):
    """ENV-09 became this: the public address is the operator's."""
    async with serving(tmp_path, more={"TIMMY_HTTP__PUBLIC_URL": "http://127.0.0.1:5999/"}) as shop:
        ready = shop.ready
    assert ready.http == "http://127.0.0.1:5999"
    assert ready.npub == TIMMY.npub
    assert ready.relays
    assert all(told in ready.line() for told in (ready.http, ready.npub, *ready.relays))


async def test_ses_24_and_lnb_04_the_developers_route_pays_for_a_session_and_for_a_job():
    """LNB-06: and what is nobody's invoice is a 404."""

    async def look(payment_hash):
        await desk.house.payments.look(payment_hash)

    async with a_desk() as desk:
        pay = DevPay(desk.house.wallet, desk.house.store, look)
        app = create_app([dev_pay.routes(pay.pay)], lambda: "")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://timmy") as http:
            session, job = await desk.asks(500), await desk.door.ask()
            for invoice in (session["invoice"], job["evalInvoice"]):
                answer = await http.post(f"/api/dev/stub/pay/{invoice['paymentHash']}", json={})
                assert (answer.status_code, answer.json()["ok"]) == (200, True)
            assert (await desk.reaches(session["sessionId"], "active"))["balanceSats"] == 500
            await desk.door.reach(job["jobId"], "awaiting_work_payment")
            assert (await http.post(f"/api/dev/stub/pay/{'0' * 64}", json={})).status_code == 404


async def test_lnb_10_a_paid_invoice_does_nothing_for_another_job():
    async with a_house() as house:
        first = await house.ask()
        price = await house.priced()
        second = await house.ask("Another question?")
        await house.until(lambda: house.recorder.last(type(price)) is not price)
        house.customer.pays(price.bolt11)
        await house.state_is(first, "complete")
        await house.payments.look(price.payment_hash)
        assert str((await house.job(second)).state) == "awaiting_eval_payment"
        assert await house.balance(f"job:{second}") == 0


def test_lnb_12_a_zap_receipt_is_neither_asked_for_nor_taken_for_a_payment():
    terms = nip90.Terms(kinds=frozenset({5050}))
    for asked in wanted(terms, TIMMY.public_key):
        assert ZAP_RECEIPT not in asked.kinds
    stranger = Keys.from_bytes(b"\x0c" * 32)
    forged: Event = stranger.sign(
        kind=ZAP_RECEIPT, created_at=1_700_000_000, tags=[("p", TIMMY.public_key)], content="", aux=bytes(32)
    )
    read = nip90.read(forged, TIMMY, now=1_700_000_000, not_before=0, terms=terms)
    assert isinstance(read, nip90.NotForUs)


def test_pha_13_and_wld_02_the_page_reads_state_and_reason_and_has_words_for_each_state():
    words, checkout = script("words.js"), script("checkout.js")
    for state in ("evaluating", "executing", "failed", "rejected", "complete"):
        assert f"  {state}: " in words
    assert "stateInWords(job.state)" in checkout
    assert "job.errorMessage ?? job.reason" in checkout
    assert "job.status" not in checkout


def test_wld_03_the_page_has_the_payment_hash_from_the_invoice_of_the_answer():
    assert "job.evalInvoice" in script("checkout.js")
    assert "invoice.paymentHash" in script("bill.js")


async def test_wld_07_and_09_the_tower_is_there_whatever_the_folder_it_was_started_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = FastAPI()
    app.include_router(tower.routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://timmy") as http:
        assert (await http.get("/tower/")).status_code == 200
