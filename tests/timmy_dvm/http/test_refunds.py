"""Claims over HTTP: exactly the sum, exactly once, by the owner alone (ACC-07 to ACC-10)."""

import asyncio
import contextlib
from urllib.parse import parse_qs, urlsplit

import pytest

from ledger.money import msats_from_sats
from lightning import lnurl
from lightning.simulated import Outcome
from relay_client.keys import Keys
from tests.flows.house import ALICE as KEY
from tests.timmy_dvm.http.door import ALICE, a_door
from timmy_dvm.claims import Claims
from timmy_dvm.http import refunds
from timmy_dvm.http.pages import qr

OTHER = Keys.from_bytes(b"\x0b" * 32)


@contextlib.asynccontextmanager
async def a_counter(**parts):
    def more(services):
        claims = Claims(
            services.engine,
            services.store,
            services.policy,
            services.clock,
            network=services.network,
            secret=b"s" * 32,
        )
        return [refunds.routes(services, claims)]

    async with a_door(more=more, **parts) as door:
        yield door


def bolt11(door, sats):
    return door.house.customer.invoice(msats_from_sats(sats))


async def claim(door, job, sats=None, **fields):
    sats = job["refund"]["refundAmountSats"] if sats is None else sats
    body = {"invoice": bolt11(door, sats), "claimSecret": job["claimSecret"], **fields}
    return await door.http.post(f"/api/jobs/{job['jobId']}/refund", json=body)


async def test_acc_07_the_change_is_paid_to_an_invoice_for_its_sum():
    async with a_counter() as door:
        job = await door.complete()
        assert job["refund"]["refundState"] == "pending"
        before = await door.house.wallet.balance_msat()
        answer = await claim(door, job)
        sats = job["costLedger"]["refundAmountSats"]
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"refundState": "paid", "refundAmountSats": sats, "trust_tier": "anonymous"}
        assert before - await door.house.wallet.balance_msat() == msats_from_sats(sats)
        assert (await door.job(job["jobId"]))["costLedger"]["refundState"] == "paid"


async def test_acc_08_of_many_claims_at_once_one_is_paid():
    async with a_counter() as door:
        job = await door.complete()
        before = await door.house.wallet.balance_msat()
        answers = await asyncio.gather(*(claim(door, job) for _ in range(20)))
        paid = [answer for answer in answers if answer.status_code == 200]
        assert len(paid) == 1
        assert {answer.status_code for answer in answers} <= {200, 409}
        sats = job["refund"]["refundAmountSats"]
        assert before - await door.house.wallet.balance_msat() == msats_from_sats(sats)


async def test_the_same_claim_again_has_the_same_answer():
    async with a_counter() as door:
        job = await door.complete()
        invoice = bolt11(door, job["refund"]["refundAmountSats"])
        first = await claim(door, job, invoice=invoice)
        again = await claim(door, job, invoice=invoice)
        assert (first.status_code, again.status_code) == (200, 200)
        assert first.json() == again.json()


@pytest.mark.parametrize("more", [1, -1])
async def test_acc_09_another_sum_is_refused_and_nothing_is_sent(more):
    async with a_counter() as door:
        job = await door.complete()
        before = await door.house.wallet.balance_msat()
        answer = await claim(door, job, sats=job["refund"]["refundAmountSats"] + more)
        assert (answer.status_code, answer.json()["code"]) == (400, "wrong_amount")
        assert str(job["refund"]["refundAmountSats"]) in answer.json()["error"]
        assert await door.house.wallet.balance_msat() == before


@pytest.mark.parametrize("invoice", ["", "lnbc1", "x" * 4_096])
async def test_what_is_no_invoice_is_refused(invoice):
    async with a_counter() as door:
        job = await door.complete()
        answer = await claim(door, job, invoice=invoice)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_invoice")


@pytest.mark.parametrize("secret", [None, "", "0" * 64])
async def test_acc_10_who_knows_the_id_alone_claims_nothing(secret):
    async with a_counter() as door:
        job = await door.complete()
        answer = await claim(door, job, claimSecret=secret)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_yours")


async def test_a_job_of_a_key_is_claimed_by_the_key_and_by_no_other():
    async with a_counter() as door:
        job = await door.complete("[fail] this, please", end="failed", nostr_token=door.token())
        fields = {"claimSecret": None}
        theirs = await claim(door, job, nostr_token=door.token(OTHER), **fields)
        assert (theirs.status_code, theirs.json()["code"]) == (403, "not_yours")
        mine = await claim(door, job, nostr_token=door.token(ALICE), **fields)
        assert mine.status_code == 200


async def test_a_job_that_came_as_an_event_has_no_claim_secret():
    async with a_counter() as door:
        job_id = await door.house.ask("[fail] this one, which is long enough to cost something")
        price = await door.house.priced()
        door.house.customer.pays(price.bolt11)
        await door.house.state_is(job_id, "failed")
        answer = await door.http.post(
            f"/api/jobs/{job_id}/refund", json={"invoice": bolt11(door, 5), "claimSecret": KEY}
        )
        assert answer.status_code == 403


async def test_a_job_that_goes_on_owes_nothing_yet():
    async with a_counter() as door:
        asked = await door.ask()
        answer = await claim(door, asked, sats=5)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_ended")


async def test_a_payment_that_hangs_is_pending_and_another_claim_waits(monkeypatch):
    monkeypatch.setattr(refunds, "PAID_S", 0.05)
    async with a_counter() as door:
        job = await door.complete()
        door.house.wallet.next_outcomes.append(Outcome.IN_FLIGHT)
        first = await claim(door, job)
        assert (first.status_code, first.json()["refundState"]) == (200, "pending")
        other = await claim(door, job)
        assert (other.status_code, other.json()["code"]) == (409, "already_sending")


async def test_a_phone_wallet_withdraws_it_once():
    async with a_counter() as door:
        job = await door.complete()
        owner = {"claimSecret": job["claimSecret"]}
        offered = (await door.http.post(f"/api/jobs/{job['jobId']}/withdrawal", json=owner)).json()
        url = lnurl.decode(offered["lnurl"])
        terms = (await door.http.get(url)).json()
        sats = job["refund"]["refundAmountSats"]
        assert (terms["tag"], terms["minWithdrawable"], terms["maxWithdrawable"]) == (
            "withdrawRequest",
            sats * 1_000,
            sats * 1_000,
        )
        params = {"k1": parse_qs(urlsplit(url).query)["k1"][0], "pr": bolt11(door, sats)}
        assert (await door.http.get(terms["callback"], params=params)).json() == {"status": "OK"}

        async def arrived():
            return (await door.job(job["jobId"]))["refund"]["refundState"] == "paid"

        await door.house.until(arrived)
        again = (await door.http.get(terms["callback"], params={**params, "pr": bolt11(door, sats)})).json()
        assert again["status"] == "ERROR"
        assert (await door.http.get(url)).json()["status"] == "ERROR"


async def test_the_withdrawal_is_drawn_as_a_code_that_leads_nowhere_but_here():
    async with a_counter() as door:
        job = await door.complete()
        owner = {"claimSecret": job["claimSecret"]}
        offered = (await door.http.post(f"/api/jobs/{job['jobId']}/withdrawal", json=owner)).json()
        drawn = await door.http.get(offered["qr"])
        assert (drawn.status_code, drawn.headers["content-type"]) == (200, "image/svg+xml")
        assert drawn.headers["cache-control"] == "no-store"
        assert drawn.content == qr.svg(offered["lnurl"])
        for word in ("", "x" * 72, "<svg onload=alert(1)>"):
            assert (await door.http.get(refunds.QR, params={"k1": word})).status_code == 404


async def test_a_withdrawal_is_offered_to_the_owner_alone():
    async with a_counter() as door:
        job = await door.complete()
        answer = await door.http.post(f"/api/jobs/{job['jobId']}/withdrawal", json={})
        assert answer.status_code == 403
        junk = (await door.http.get(refunds.WITHDRAW, params={"k1": "0" * 72})).json()
        assert junk["status"] == "ERROR"


@pytest.mark.parametrize(
    "address",
    ["not an address", "a@127.0.0.1", "a@localhost", "a@localhost.", "a@10.0.0.1", "a@2130706433", "a@x.onion"],
)
async def test_an_address_for_the_change_is_judged_before_anything_is_paid(address):
    async with a_counter() as door:
        body = {"request": "x", "refundAddress": address}
        answer = await door.http.post("/api/jobs", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_refund_address")
