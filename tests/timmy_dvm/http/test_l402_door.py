"""The L402 way in: 402 before anything is judged, then served; out of credit, 402 again on the same session."""

import re

import pytest

from lightning import bolt11
from lightning.l402 import Identifier, Macaroon
from tests.timmy_dvm.http.door import ALICE, QUESTION
from tests.timmy_dvm.http.session_door import PATH, a_desk
from timmy_dvm.core.pricing import BtcPrice, Freshness
from timmy_dvm.http.l402_door import Quotes

CHALLENGE = re.compile(r'L402 macaroon="([A-Za-z0-9+/]+=*)", invoice="([a-z0-9]+)", version="0", token="([^"]+)"')
DEAR = "x" * 500


def read(answer):
    """Macaroon and invoice of a 402, exactly in the form that all clients read."""
    assert answer.status_code == 402, answer.text
    assert answer.headers["cache-control"] == "no-store"
    (header,) = answer.headers.get_list("www-authenticate")
    found = CHALLENGE.fullmatch(header)
    assert found, header
    assert found[1] == found[3] == answer.json()["macaroon"]
    assert found[2] == answer.json()["invoice"]["paymentRequest"]
    return found[1], found[2]


async def ask(desk, text=QUESTION, authorization=None, **headers):
    told = headers if authorization is None else {"Authorization": authorization, **headers}
    return await desk.http.post(PATH, json={"request": text}, headers=told)


async def buy(desk, text=QUESTION):
    """The credential of a paid challenge, and the answer it got."""
    macaroon, invoice = read(await ask(desk, text))
    credential = f"L402 {macaroon}:{desk.pays(invoice)}"
    return credential, await ask(desk, text, credential)


UNREADABLE = (b"", b"{", b"[]", b"\xff", b'{"request":"\xc0\x80"}', b'{"a":' * 5_000)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_without_a_credential_whatever_is_asked_is_402_first(method):
    async with a_desk() as desk:
        for body in (*UNREADABLE, b'{"request":"' + b"x" * 9_000 + b'"}'):
            answer = await desk.http.request(method, PATH, content=body)
            _, invoice = read(answer)
            assert answer.json()["code"] == "payment_required"
            assert bolt11.decode(invoice).amount_msat == 100_000


async def test_what_can_not_be_read_is_refused_where_it_is_paid_for_and_costs_nothing():
    async with a_desk() as desk:
        credential, answer = await buy(desk)
        has = answer.json()["balanceSats"]
        for body in UNREADABLE:
            answer = await desk.http.post(PATH, content=body, headers={"Authorization": credential})
            assert (answer.status_code, answer.json()["code"]) == (400, "empty"), body
        answer = await desk.http.get(PATH, headers={"Authorization": credential})
        assert answer.json()["balanceSats"] == has


async def test_what_is_left_is_told_in_a_header_too():
    async with a_desk() as desk:
        credential, served = await buy(desk)
        looked = await desk.http.get(PATH, headers={"Authorization": credential})
        for answer in (served, looked):
            assert answer.headers["x-balance-sats"] == str(answer.json()["balanceSats"])


async def test_each_challenge_is_a_session_of_its_own_whose_macaroon_names_its_invoice():
    async with a_desk() as desk:
        one, two = [read(await ask(desk)) for _ in range(2)]
        ids = [Identifier.from_bytes(Macaroon.from_text(macaroon).identifier) for macaroon, _ in (one, two)]
        assert ids[0].token_id != ids[1].token_id
        assert ids[0].payment_hash == bolt11.decode(one[1]).payment_hash


async def test_a_request_that_costs_more_than_the_smallest_deposit_asks_for_that():
    async with a_desk() as desk:
        await _make_dear(desk)
        _, invoice = read(await ask(desk, DEAR))
        price = (await desk.http.get("/api/estimate", params={"request": DEAR})).json()["estimatedSats"]
        assert bolt11.decode(invoice).amount_msat == 1_000 * price > 100_000
        _, answer = await buy(desk, DEAR)
        assert answer.status_code == 200


async def _make_dear(desk):
    """A bitcoin costs little, so a request costs many sats."""
    desk.door.services.prices._price = BtcPrice.from_usd(5_000, source="test", freshness=Freshness.FIXED, at=1)


async def test_paid_it_is_served_at_once_and_what_is_left_stays_for_the_next():
    async with a_desk() as desk:
        credential, answer = await buy(desk)
        body = answer.json()
        assert answer.status_code == 200
        assert body["result"]
        assert answer.headers["x-balance-sats"] == str(body["balanceSats"]) == str(100 - body["debitedSats"])
        again = await ask(desk, QUESTION, credential)
        assert again.json()["balanceSats"] == body["balanceSats"] - again.json()["debitedSats"]


async def test_the_price_that_was_asked_is_the_price_that_is_kept():
    async with a_desk() as desk:
        prices = desk.door.services.prices
        cheap = prices.current()
        await _make_dear(desk)
        prices._price = BtcPrice.from_usd(50_000, source="test", freshness=Freshness.FIXED, at=1)
        macaroon, invoice = read(await ask(desk, DEAR))
        await _make_dear(desk)
        credential = f"L402 {macaroon}:{desk.pays(invoice)}"
        assert (await ask(desk, DEAR, credential)).status_code == 200
        assert (await ask(desk, DEAR + " ", credential)).status_code == 400
        assert (await ask(desk, DEAR[1:], credential)).status_code == 402
        assert cheap


async def test_out_of_credit_it_is_402_on_the_same_session_and_the_old_credential_works_on():
    async with a_desk() as desk:
        credential, answer = await buy(desk, DEAR)
        while answer.status_code == 200:
            left = answer.json()["balanceSats"]
            answer = await ask(desk, DEAR, credential)
        macaroon, invoice = read(answer)
        assert read(await ask(desk, DEAR, credential)) == (macaroon, invoice)
        first = Identifier.from_bytes(Macaroon.from_text(credential[5:].partition(":")[0]).identifier)
        second = Identifier.from_bytes(Macaroon.from_text(macaroon).identifier)
        assert (first.token_id, first.payment_hash) != (second.token_id, second.payment_hash)
        assert first.token_id == second.token_id
        fresh = f"L402 {macaroon}:{desk.pays(invoice)}"
        served = (await ask(desk, DEAR, fresh)).json()
        assert served["balanceSats"] == left + 100 - served["debitedSats"]
        assert (await ask(desk, DEAR, credential)).status_code in (200, 402)


async def test_a_topup_that_runs_out_is_not_handed_out_again():
    async with a_desk() as desk:
        credential, answer = await buy(desk, DEAR)
        while answer.status_code == 200:
            answer = await ask(desk, DEAR, credential)
        first = read(answer)
        await desk.house.clock.advance(541)
        assert read(await ask(desk, DEAR, credential)) != first


async def test_an_altered_macaroon_and_a_wrong_preimage_are_401_and_never_402():
    async with a_desk() as desk:
        credential, _ = await buy(desk)
        macaroon, _, preimage = credential[5:].partition(":")
        for bad in (
            f"L402 {macaroon}:{'00' * 32}",
            f"L402 B{macaroon[1:]}:{preimage}",
            f"L402 {macaroon[:-8]}AAAAAAA=:{preimage}",
            "L402 x",
            "Bearer x",
        ):
            answer = await ask(desk, QUESTION, bad)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), bad


async def test_a_session_that_is_closed_or_was_never_paid_is_asked_to_pay_for_a_new_one():
    async with a_desk() as desk:
        macaroon, _ = read(await ask(desk))
        assert read(await ask(desk, QUESTION, f"Bearer {macaroon}"))[0] != macaroon
        credential, answer = await buy(desk)
        session_id = answer.json()["sessionId"]
        closed = await desk.http.delete(f"/api/sessions/{session_id}", headers={"Authorization": credential})
        assert closed.status_code == 200
        read(await ask(desk, QUESTION, credential))
        unknown = desk.keys.macaroon("ab" * 16, "0a" * 32).to_text()
        read(await ask(desk, QUESTION, f"Bearer {unknown}"))


async def test_with_a_credential_get_shows_the_session():
    async with a_desk() as desk:
        credential, answer = await buy(desk)
        shown = await desk.http.get(PATH, headers={"Authorization": credential})
        assert (shown.status_code, shown.json()["balanceSats"]) == (200, answer.json()["balanceSats"])


async def test_what_is_asked_is_judged_once_it_is_paid_for():
    async with a_desk() as desk:
        credential, _ = await buy(desk)
        assert (await ask(desk, " ", credential)).json()["code"] == "empty"
        rejected = await ask(desk, "[reject] x", credential)
        assert (rejected.status_code, rejected.json()["code"]) == (400, "rejected")
        failed = await ask(desk, "[fail] x", credential)
        assert (failed.status_code, failed.json()["debitedSats"]) == (503, 0)


async def test_a_token_beside_it_opens_the_session_for_its_key():
    async with a_desk() as desk:
        answer = await ask(desk, **{"X-Nostr-Token": desk.door.token()})
        assert answer.json()["trust_tier"] == "new"
        row = await desk.house.store.look(lambda view: view.session(answer.json()["sessionId"]))
        assert row.pubkey == ALICE.public_key


async def test_the_same_key_with_the_credential_is_answered_once():
    async with a_desk() as desk:
        credential, _ = await buy(desk)
        both = [await ask(desk, QUESTION, credential, **{"Idempotency-Key": "k"}) for _ in range(2)]
        assert both[0].json() == both[1].json()
        assert {answer.headers["x-balance-sats"] for answer in both} == {str(both[0].json()["balanceSats"])}
        assert len(await desk.house.store.jobs(limit=9)) == 2


async def test_challenges_are_limited_by_address():
    async with a_desk(per_address=3) as desk:
        for _ in range(3):
            read(await ask(desk))
        assert (await ask(desk)).status_code == 429


def test_a_quote_holds_for_its_request_and_its_time_and_old_ones_make_room(monkeypatch):
    price = BtcPrice.from_usd(1, source="test", freshness=Freshness.FIXED, at=1)
    quotes = Quotes()
    quotes.note("s", "d", price, 10)
    assert quotes.of("s", "d", 10) is price
    assert quotes.of("s", "d", 11) is None
    assert quotes.of("s", "e", 1) is None
    monkeypatch.setattr("timmy_dvm.http.l402_door._QUOTES", 1)
    quotes.note("t", "d", price, 10)
    assert (quotes.of("s", "d", 1), quotes.of("t", "d", 1)) == (None, price)
