"""Sessions over HTTP, by the rows of the requirements (SES): opened, used, filled, closed, and who may do that."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest

from ledger.money import msats_from_sats
from lightning import lnurl
from tests.timmy_dvm.http.door import ALICE, QUESTION
from tests.timmy_dvm.http.session_door import a_desk, bearer
from timmy_dvm.agent.offline import OfflineAgent

STRONG = "0123456789abcdef0123456789abcdef"


def told(answer):
    body = answer.json()
    assert body["error"].endswith(".")
    assert body["trust_tier"]
    return answer.status_code, body["code"]


async def test_ses_01_02_05_a_session_has_an_invoice_and_no_macaroon_before_it_is_paid():
    async with a_desk() as desk:
        asked = await desk.asks(500)
        assert asked["state"] == "awaiting_payment"
        assert asked["trust_tier"] == "anonymous"
        assert (asked["invoice"]["amountSats"], len(asked["invoice"]["paymentHash"])) == (500, 64)
        shown = await desk.shows(asked["sessionId"])
        assert (shown["macaroon"], shown["balanceSats"], shown["invoice"]) == (None, 0, asked["invoice"])


async def test_ses_03_once_paid_it_is_active_with_a_balance_and_a_macaroon():
    async with a_desk() as desk:
        session = await desk.opens(500)
        assert session["balanceSats"] == 500
        assert session["macaroon"]
        assert session["payoutSats"] == 495
        assert "invoice" not in session


async def test_ses_06_a_request_is_answered_when_it_is_done_and_debited_what_it_cost():
    async with a_desk() as desk:
        session = await desk.opens(500)
        answer = await desk.requests(session)
        body = answer.json()
        assert answer.status_code == 200
        assert body["result"]
        assert 0 < body["debitedSats"] == 500 - body["balanceSats"]
        assert body["costLedger"]["refundState"] == "paid"
        assert answer.headers["cache-control"] == "no-store"
        assert (await desk.shows(session["sessionId"]))["balanceSats"] == body["balanceSats"]
        await desk.house.books_are_right()


async def test_ses_07_08_09_a_topup_waits_alone_and_rises_the_balance_once():
    async with a_desk() as desk:
        session = await desk.opens(500)
        filled = await desk.fills(session, 300)
        invoice = filled.json()["invoice"]
        assert (filled.status_code, invoice["amountSats"]) == (201, 300)
        assert (await desk.shows(session["sessionId"]))["pendingTopup"] == invoice
        again = await desk.fills(session, 300)
        assert told(again) == (409, "pending_topup")
        assert again.json()["pendingTopup"] == invoice
        desk.pays(invoice["paymentRequest"])
        assert "pendingTopup" not in await desk.has(session["sessionId"], 800)
        assert (await desk.fills(session, 300)).status_code == 201


async def test_ses_10_11_a_token_binds_its_key():
    async with a_desk() as desk:
        asked = await desk.asks(500, nostr_token=desk.door.token())
        assert asked["trust_tier"] == "new"
        row = await desk.house.store.look(lambda view: view.session(asked["sessionId"]))
        assert row.pubkey == ALICE.public_key
        answer = await desk.http.post("/api/sessions", json={"amount_sats": 500, "nostr_token": "x"})
        assert told(answer) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"amount_sats": 99}, "deposit_amount"),
        ({"amount_sats": 1_000_001}, "deposit_amount"),
        ({"amount_sats": -500}, "deposit_amount"),
        ({"amount_sats": 10**30}, "deposit_amount"),
        ({"amount_sats": "500"}, "bad_input"),
        ({"amount_sats": 500.5}, "bad_input"),
        ({"amount_sats": True}, "bad_input"),
        ({}, "bad_input"),
    ],
)
async def test_a_deposit_that_is_none_is_refused(body, says):
    async with a_desk() as desk:
        assert told(await desk.http.post("/api/sessions", json=body)) == (400, says)


async def test_an_address_leaves_only_so_many_deposits_unpaid():
    async with a_desk(per_address=2) as desk:
        first = await desk.asks()
        await desk.asks()
        assert told(await desk.http.post("/api/sessions", json={"amount_sats": 500})) == (429, "too_many_open")
        desk.pays(first["invoice"]["paymentRequest"])
        await desk.reaches(first["sessionId"], "active")
        await desk.asks()


async def test_ses_04_no_credential_or_a_wrong_one_is_401_on_each_route_of_a_session():
    async with a_desk() as desk:
        session, other = await desk.opens(500), await desk.opens(500)
        path = f"/api/sessions/{session['sessionId']}"
        macaroon = session["macaroon"]
        wrong = ["", "Bearer", "Bearer x", f"Bearer {macaroon[:-8]}AAAAAAA=", f"L402 {macaroon}", "Nostr x"]
        wrong += [f"L402 {macaroon}:{'00' * 32}", bearer(other)["Authorization"], f"Bearer {macaroon}:{'00' * 32}"]
        for method, route, body in (
            ("POST", "/request", {"request": "x"}),
            ("POST", "/topup", {"amount_sats": 500}),
            ("DELETE", "", None),
        ):
            for header in (None, *wrong):
                headers = {} if header is None else {"Authorization": header}
                answer = await desk.http.request(method, path + route, json=body, headers=headers)
                assert told(answer) == (401, "unauthorized"), (route, header)
                assert answer.headers["www-authenticate"].startswith("Bearer")
        assert (await desk.shows(session["sessionId"]))["balanceSats"] == 500


async def test_the_macaroon_with_its_preimage_opens_it_too_and_needs_no_wait_for_our_record():
    async with a_desk() as desk:
        asked = await desk.asks(500)
        preimage = desk.pays(asked["invoice"]["paymentRequest"])
        macaroon = desk.keys.macaroon(asked["sessionId"], asked["invoice"]["paymentHash"]).to_text()
        answer = await desk.http.post(
            f"/api/sessions/{asked['sessionId']}/request",
            json={"request": QUESTION},
            headers={"Authorization": f"LSAT {macaroon}:{preimage}"},
        )
        assert answer.status_code == 200


async def test_before_it_is_paid_the_macaroon_alone_opens_nothing():
    async with a_desk() as desk:
        asked = await desk.asks(500)
        macaroon = desk.keys.macaroon(asked["sessionId"], asked["invoice"]["paymentHash"]).to_text()
        assert told(await desk.requests({**asked, "macaroon": macaroon})) == (402, "session_unpaid")


async def test_an_unknown_session_is_404():
    async with a_desk() as desk:
        answer = await desk.http.get("/api/sessions/nothing")
        assert told(answer) == (404, "unknown_session")
        macaroon = desk.keys.macaroon("ab" * 16, "0a" * 32).to_text()
        assert told(await desk.requests({"sessionId": "ab" * 16, "macaroon": macaroon})) == (
            404,
            "unknown_session",
        )


async def test_ses_13_21_402_when_the_credit_does_not_cover_it_and_the_model_is_not_called():
    async with a_desk() as desk:
        session = await desk.opens(100)
        text = "x" * 500
        while (answer := await desk.requests(session, text)).status_code == 200:
            session["balanceSats"] = answer.json()["balanceSats"]
        assert told(answer) == (402, "insufficient_credit")
        assert answer.json()["balanceSats"] == session["balanceSats"]


async def test_ses_25_501_characters_are_too_many_and_the_balance_stays():
    async with a_desk() as desk:
        session = await desk.opens(500)
        assert told(await desk.requests(session, "x" * 501)) == (400, "too_long")
        assert told(await desk.requests(session, " ")) == (400, "empty")
        assert (await desk.shows(session["sessionId"]))["balanceSats"] == 500


async def test_rejected_is_400_and_costs_the_eval_failed_is_503_and_costs_nothing():
    async with a_desk() as desk:
        session = await desk.opens(500)
        rejected = await desk.requests(session, "[reject] x")
        assert told(rejected) == (400, "rejected")
        assert (rejected.json()["debitedSats"], rejected.json()["balanceSats"]) == (2, 498)
        failed = await desk.requests(session, "[fail] x")
        assert told(failed) == (503, "work_failed")
        assert (failed.json()["debitedSats"], failed.json()["balanceSats"]) == (0, 498)


async def test_who_gives_up_waiting_and_asks_again_with_the_same_key_gets_the_same_answer_for_one_price():
    agent = OfflineAgent()
    gate, calls, evaluate = asyncio.Event(), [], agent.evaluate

    async def slow(*arguments, **named):
        calls.append(arguments)
        await gate.wait()
        return await evaluate(*arguments, **named)

    agent.evaluate = slow
    async with a_desk(agent=agent) as desk:
        session = await desk.opens(500)
        waiting = asyncio.create_task(desk.requests(session, **{"Idempotency-Key": "one"}))
        await desk.house.until(lambda: calls)
        waiting.cancel()
        again = asyncio.create_task(desk.requests(session, **{"Idempotency-Key": "one"}))
        await asyncio.sleep(0)
        gate.set()
        answer = await again
        assert answer.status_code == 200
        third = await desk.requests(session, **{"Idempotency-Key": "one"})
        assert third.json() == answer.json()
        assert len(calls) == len(await desk.house.store.jobs(limit=9)) == 1
        assert (await desk.requests(session, "other", **{"Idempotency-Key": "one"})).status_code == 409


async def test_one_key_opens_one_session_and_fills_it_once():
    async with a_desk() as desk:
        headers = {"Idempotency-Key": STRONG}
        assert await desk.asks(500, headers=headers) == await desk.asks(500, headers=headers)
        session = await desk.opens(500)
        path = f"/api/sessions/{session['sessionId']}/topup"
        both = [
            await desk.http.post(path, json={"amount_sats": 300}, headers={**bearer(session), **headers})
            for _ in range(2)
        ]
        assert [answer.status_code for answer in both] == [201, 201]
        assert both[0].json() == both[1].json()


async def test_a_402_under_a_key_is_no_answer_for_ever():
    async with a_desk() as desk:
        session = await desk.opens(100)
        key = {"Idempotency-Key": "two"}
        while (answer := await desk.requests(session, "x" * 500)).status_code == 200:
            pass
        assert told(await desk.requests(session, "x" * 500, **key)) == (402, "insufficient_credit")
        left = answer.json()["balanceSats"]
        desk.pays((await desk.fills(session, 300)).json()["invoice"]["paymentRequest"])
        await desk.has(session["sessionId"], left + 300)
        assert (await desk.requests(session, "x" * 500, **key)).status_code == 200


async def test_ses_21_of_twenty_at_once_none_takes_a_sat_that_is_not_there():
    async with a_desk() as desk:
        session = await desk.opens(100)
        answers = await asyncio.gather(*(desk.requests(session) for _ in range(20)))
        good = [answer.json() for answer in answers if answer.status_code == 200]
        assert {answer.status_code for answer in answers} == {200, 402}
        shown = await desk.shows(session["sessionId"])
        assert shown["balanceSats"] == 100 - sum(body["debitedSats"] for body in good)
        await desk.house.books_are_right()


# Closed ----------------------------------------------------------------------------------------------------------


async def test_closed_with_an_invoice_its_rest_is_sent():
    async with a_desk() as desk:
        session = await desk.opens(500)
        invoice = desk.house.customer.invoice(msats_from_sats(session["payoutSats"]))
        closed = await desk.closes(session, {"invoice": invoice})
        body = closed.json()
        assert closed.status_code == 200
        assert (body["state"], body["balanceSats"], body["refundAmountSats"]) == ("closed", 0, 495)
        assert body["refundState"] == "pending"
        await desk.house.until(lambda: desk.house.customer.received)
        await desk.house.dispatch.idle()
        assert (await desk.shows(session["sessionId"]))["refunds"][0]["state"] == "sent"
        assert told(await desk.requests(session)) == (409, "session_closed")
        assert told(await desk.fills(session)) == (409, "session_closed")


async def test_closed_without_one_its_rest_waits_and_is_claimed_by_closing_it_again():
    async with a_desk() as desk:
        session = await desk.opens(500)
        closed = (await desk.closes(session)).json()
        assert (closed["refundState"], closed["claimableSats"]) == ("pending", [495])
        again = (await desk.closes(session)).json()
        assert {**again, "message": ""} == {**closed, "message": ""}
        wrong = await desk.closes(session, {"invoice": desk.house.customer.invoice(msats_from_sats(500))})
        assert told(wrong) == (400, "wrong_amount")
        right = await desk.closes(session, {"invoice": desk.house.customer.invoice(msats_from_sats(495))})
        assert right.status_code == 200
        await desk.house.until(lambda: desk.house.customer.received)


async def test_a_phone_wallet_withdraws_the_rest_of_a_closed_session_once():
    """The answer to closing it names the ways back, and each LNURL is good for one payment (LUD-03)."""
    async with a_desk() as desk:
        session, http = await desk.opens(500), desk.http
        path = f"/api/sessions/{session['sessionId']}/withdrawal"
        assert told(await http.post(path, headers=bearer(session))) == (409, "nothing_owed")
        closed = (await desk.closes(session)).json()
        assert all(way in closed["message"] for way in ("`invoice`", "`refundAddress`", "LNURL"))
        assert told(await http.post(path)) == (401, "unauthorized")
        offer = (await http.post(path, headers=bearer(session))).json()
        assert offer == {**closed["withdrawals"][0], "trust_tier": "anonymous"}
        url = lnurl.decode(offer["lnurl"])
        terms = (await http.get(url)).json()
        assert terms["minWithdrawable"] == terms["maxWithdrawable"] == 495_000 == offer["amountSats"] * 1_000
        word = {"k1": parse_qs(urlsplit(url).query)["k1"][0]}
        for sats, status in ((500, "ERROR"), (495, "OK"), (495, "ERROR")):
            invoice = desk.house.customer.invoice(msats_from_sats(sats))
            assert (await http.get(terms["callback"], params={**word, "pr": invoice})).json()["status"] == status
        await desk.house.until(lambda: desk.house.customer.received)
        await desk.house.dispatch.idle()
        assert list(desk.house.customer.received.values()) == [495_000]
        assert (await http.get(url)).json()["status"] == "ERROR"
        assert (await desk.shows(session["sessionId"]))["refunds"][0]["state"] == "sent"
        await desk.house.books_are_right()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1", "2130706433", "printer.local", "x.onion"])
async def test_an_address_that_nobody_outside_could_mean_closes_nothing(host):
    async with a_desk() as desk:
        session = await desk.opens(500)
        assert told(await desk.closes(session, {"refundAddress": f"a@{host}"})) == (400, "bad_refund_address")
        assert (await desk.shows(session["sessionId"]))["state"] == "active"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"invoice": "lnbc1"}, "bad_invoice"),
        ({"invoice": ""}, "bad_invoice"),
        ({"refundAddress": "alice"}, "bad_refund_address"),
        ({"invoice": 5}, "bad_input"),
    ],
)
async def test_what_can_not_be_paid_to_closes_nothing(body, says):
    async with a_desk() as desk:
        session = await desk.opens(500)
        assert told(await desk.closes(session, body)) == (400, says)
        assert (await desk.shows(session["sessionId"]))["state"] == "active"


async def test_our_own_invoice_is_no_place_for_a_rest():
    async with a_desk() as desk:
        session = await desk.opens(500)
        invoice = (await desk.fills(session, 300)).json()["invoice"]["paymentRequest"]
        assert told(await desk.closes(session, {"invoice": invoice})) == (400, "own_invoice")


async def test_ses_16_20_a_trusted_key_is_served_by_the_pool_and_told_so():
    async with a_desk() as desk:
        asked = await desk.asks(500, headers={"X-Nostr-Token": desk.door.token()})
        desk.pays(asked["invoice"]["paymentRequest"])
        session = await desk.reaches(asked["sessionId"], "active")
        for _ in range(10):
            assert (await desk.requests(session)).status_code == 200
        before = (await desk.shows(session["sessionId"]))["balanceSats"]
        body = (await desk.requests(session)).json()
        assert (body["trust_tier"], body["free_tier"]) == ("established", True)
        assert body["absorbed_sats"] > 0
        assert body["balanceSats"] == before - body["debitedSats"]


@pytest.mark.parametrize("body", ["{}", '{"amount_sats": "x"}', "[]", '{"invoice": 5}'])
@pytest.mark.parametrize(("method", "path"), [("POST", "request"), ("POST", "topup"), ("DELETE", "")])
async def test_without_a_credential_it_is_401_whatever_is_in_the_body(method, path, body):
    async with a_desk() as desk:
        session = await desk.opens()
        url = f"/api/sessions/{session['sessionId']}/{path}".rstrip("/")
        kind = {"Content-Type": "application/json"}
        answer = await desk.http.request(method, url, content=body, headers=kind)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


async def test_who_looks_at_a_session_with_a_credential_that_is_none_is_told_so():
    async with a_desk() as desk:
        session = await desk.opens()
        url = f"/api/sessions/{session['sessionId']}"
        for broken in ({"Authorization": "Bearer junk"}, {"X-Nostr-Token": "junk"}):
            assert (await desk.http.get(url, headers=broken)).status_code == 401
        assert (await desk.http.get(url, headers=bearer(session))).status_code == 200
