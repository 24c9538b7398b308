"""Estimates and the pool's books over HTTP: right, and without a trace."""

import sqlite3

import pytest

from tests.flows.house import ALICE as KEY
from tests.timmy_dvm.http.door import ALICE, QUESTION, a_door


async def test_est_01_02_04_an_estimate_has_its_price_and_the_pool():
    async with a_door() as door:
        body = (await door.http.get("/api/estimate", params={"request": "hello"})).json()
        assert body["estimatedSats"] == body["evalFeeSats"] + body["workFeeSats"]
        assert min(body["btcPriceUsd"], body["tokenEstimate"]) > 0
        assert body["btcPriceSource"]
        assert body["identity"]["free_tier"] == {
            "serve": "gate",
            "absorbSats": 0,
            "chargeSats": body["workFeeSats"],
        }
        assert body["pool"] == {
            "balanceSats": 10_000,
            "dailyBudgets": {"new": 0, "established": 50, "trusted": 200, "elite": 1_000},
        }
        assert body["trust_tier"] == "anonymous"
        assert "op" not in body


async def test_est_05_06_a_hundred_estimates_leave_no_trace(tmp_path):
    url = f"sqlite:///{tmp_path}/timmy.db"
    async with a_door(url=url) as door:
        headers = {"X-Nostr-Token": door.token()}
        before = dump(tmp_path)
        for _ in range(100):
            assert (
                await door.http.get("/api/estimate", params={"request": "x"}, headers=headers)
            ).status_code == 200
        assert dump(tmp_path) == before


def dump(folder):
    connection = sqlite3.connect(folder / "timmy.db")
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


@pytest.mark.parametrize(("params", "code"), [({}, "empty"), ({"request": "x" * 501}, "too_long")])
async def test_est_08_what_is_no_request_has_no_price(params, code):
    async with a_door() as door:
        answer = await door.http.get("/api/estimate", params=params)
        assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_est_09_what_is_estimated_is_what_is_invoiced():
    async with a_door() as door:
        price = (await door.http.get("/api/estimate", params={"request": QUESTION})).json()
        asked = await door.ask(pay="once")
        assert asked["evalInvoice"]["amountSats"] == price["estimatedSats"]


async def test_est_10_a_token_that_is_none_is_refused():
    async with a_door() as door:
        answer = await door.http.get("/api/estimate", params={"request": "x"}, headers={"X-Nostr-Token": "junk"})
        assert answer.status_code == 401


async def test_an_estimate_for_a_key_is_its_own():
    async with a_door() as door:
        answer = await door.http.get(
            "/api/estimate", params={"request": "x"}, headers={"X-Nostr-Token": door.token(ALICE)}
        )
        assert answer.json()["trust_tier"] == answer.json()["identity"]["trust_tier"] == "new"


async def test_the_pools_books_are_open_and_name_nobody():
    async with a_door() as door:
        answer = await door.http.get("/api/pool")
        body = answer.json()
        assert (body["balanceSats"], body["inSats"], body["outSats"], body["donors"]) == (10_000, 10_000, 0, [])
        assert KEY not in answer.text
