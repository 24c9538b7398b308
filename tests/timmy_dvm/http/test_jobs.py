"""A job over HTTP, from its price to its answer. What `requirements.md` asks of jobs is named row by row."""

import asyncio
import json

import pytest

from ledger.records import JobState
from relay_client.keys import Keys
from tests.timmy_dvm.http.door import ALICE, QUESTION, a_door, events_of
from timmy_dvm.agent.offline import OfflineAgent
from timmy_dvm.core.policy import Policy
from timmy_dvm.http import jobs

STATES = ("awaiting_eval_payment", "evaluating", "awaiting_work_payment", "executing", "complete")


async def test_job_01_02_a_request_makes_a_job_and_an_invoice_with_its_hash():
    async with a_door() as door:
        asked = await door.ask()
        assert asked["state"] == "awaiting_eval_payment"
        assert asked["completedAt"] is None
        assert asked["trust_tier"] == "anonymous"
        assert (asked["evalInvoice"]["amountSats"], len(asked["evalInvoice"]["paymentHash"])) == (2, 64)
        assert len(asked["claimSecret"]) == 64
        assert "pricingBreakdown" not in asked


async def test_pha_01_two_invoices_lead_to_the_answer_and_its_cost():
    async with a_door() as door:
        asked = await door.ask()
        await door.pay(asked["evalInvoice"])
        waits = await door.reach(asked["jobId"], "awaiting_work_payment")
        assert waits["evalInvoice"] == asked["evalInvoice"]
        assert waits["workInvoice"]["amountSats"] == waits["pricingBreakdown"]["workFeeSats"]
        assert isinstance(waits["pricingBreakdown"]["btcPriceUsd"], int | float)
        await door.pay(waits["workInvoice"])
        done = await door.reach(asked["jobId"], "complete")
        assert done["result"]
        assert done["completedAt"].endswith("Z")
        cost = done["costLedger"]
        assert None not in cost.values()
        assert cost["totalTokens"] == cost["actualInputTokens"] + cost["actualOutputTokens"]
        assert 0 <= cost["refundAmountSats"] == cost["workAmountSats"] - cost["actualAmountSats"]
        assert done["refund"]["refundAmountSats"] == cost["refundAmountSats"]


async def test_one_invoice_may_ask_for_both_steps():
    async with a_door() as door:
        asked = await door.ask(pay="once")
        price = asked["pricingBreakdown"]
        assert asked["evalInvoice"]["amountSats"] == price["estimatedSats"]
        await door.pay(asked["evalInvoice"])
        done = await door.reach(asked["jobId"], "complete")
        assert "workInvoice" not in done
        assert done["costLedger"]["workAmountSats"] == price["workFeeSats"]


async def test_job_03_five_hundred_characters_and_no_more():
    async with a_door() as door:
        await door.ask("x" * 500)
        answer = await door.http.post("/api/jobs", json={"request": "x" * 501})
        assert (answer.status_code, answer.json()["code"]) == (400, "too_long")


@pytest.mark.parametrize("body", [{}, {"request": ""}, {"request": " \n"}, {"request": 5}, {"request": None}])
async def test_job_04_a_missing_request_is_not_told_that_it_is_too_long(body):
    async with a_door() as door:
        answer = await door.http.post("/api/jobs", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "empty")
        assert "`request`" in answer.json()["error"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b'{"request":"a","pay":"twice"}', b"\xff\xfe"])
async def test_a_body_that_is_none_is_bad_input_and_makes_no_job(raw):
    async with a_door() as door:
        answer = await door.http.post("/api/jobs", content=raw, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["error"].endswith(".")
        assert not await door.house.store.jobs(limit=1)


async def test_job_08_a_rejected_job_says_why():
    async with a_door() as door:
        asked = await door.ask("[reject] this")
        await door.pay(asked["evalInvoice"])
        done = await door.reach(asked["jobId"], "rejected")
        assert done["reason"]
        assert done["completedAt"] is None
        assert "status" not in done


async def test_a_failed_job_owes_the_work_fee_back():
    async with a_door() as door:
        asked = await door.ask("[fail] this", pay="once")
        await door.pay(asked["evalInvoice"])
        done = await door.reach(asked["jobId"], "failed")
        assert done["errorMessage"]
        assert done["refund"]["claimableSats"] == [asked["pricingBreakdown"]["workFeeSats"]]


async def test_job_10_completed_at_is_there_and_null_in_every_state_but_complete():
    async with a_door(agent=None) as door:
        asked = await door.ask()
        seen = [await door.job(asked["jobId"])]
        await door.pay(asked["evalInvoice"])
        seen.append(await door.reach(asked["jobId"], "awaiting_work_payment"))
        await door.pay(seen[-1]["workInvoice"])
        done = await door.reach(asked["jobId"], "complete")
    assert [each["completedAt"] for each in seen] == [None, None]
    assert done["completedAt"] is not None


@pytest.mark.parametrize("field", ["request", "refundAddress", "nostr_token"])
async def test_half_a_character_is_no_text(field):
    async with a_door() as door:
        body = json.dumps({"request": "What is it?"} | {field: "half \ud800"})
        headers = {"content-type": "application/json"}
        answer = await door.http.post("/api/jobs", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_input")


async def test_job_11_a_token_binds_the_key_to_the_job():
    async with a_door() as door:
        by_header = await door.ask(headers={"X-Nostr-Token": door.token()})
        by_body = await door.ask(nostr_token=door.token())
        nobodys = await door.ask()
        keys = [(await door.house.job(each["jobId"])).pubkey for each in (by_header, by_body, nobodys)]
        assert keys == [ALICE.public_key, ALICE.public_key, None]
        assert [each["trust_tier"] for each in (by_header, nobodys)] == ["new", "anonymous"]


async def test_idn_15_a_token_that_is_none_is_never_a_stranger():
    async with a_door() as door:
        for headers, fields in (({"X-Nostr-Token": "junk"}, {}), ({}, {"nostr_token": "junk"})):
            answer = await door.http.post("/api/jobs", json={"request": "x", **fields}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert not await door.house.store.jobs(limit=1)


async def test_idn_17_two_tokens_of_two_keys_contradict_each_other():
    other = Keys.from_bytes(b"\x0b" * 32)
    async with a_door() as door:
        answer = await door.http.post(
            "/api/jobs",
            json={"request": "x", "nostr_token": door.token(other)},
            headers={"X-Nostr-Token": door.token()},
        )
        assert answer.status_code == 401


async def test_an_unknown_job_is_a_404():
    async with a_door() as door:
        for path in ("/api/jobs/0123", "/api/jobs/" + "0" * 32, "/api/jobs/0123/events"):
            answer = await door.http.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job")


async def test_an_address_has_a_number_of_unpaid_jobs_and_paying_one_makes_room():
    async with a_door(per_address=2) as door:
        first = await door.ask()
        await door.ask()
        answer = await door.http.post("/api/jobs", json={"request": "x"})
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_open")
        assert answer.json()["retryAfterSeconds"] > 0
        await door.pay(first["evalInvoice"])
        await door.reach(first["jobId"], "evaluating", "awaiting_work_payment")
        # What waits for its second payment is not counted again: its eval was paid.
        await door.ask()


async def test_many_at_once_do_not_all_find_the_last_place():
    async with a_door(per_address=5) as door:
        answers = await asyncio.gather(
            *(door.http.post("/api/jobs", json={"request": f"x {n}"}) for n in range(30))
        )
        assert sorted(answer.status_code for answer in answers) == [201] * 5 + [429] * 25


async def test_a_refused_request_takes_no_place():
    async with a_door(per_address=1) as door:
        for _ in range(3):
            assert (await door.http.post("/api/jobs", json={"request": ""})).status_code == 400
        await door.ask()


async def test_too_many_open_invoices_are_a_busy_503_and_say_when_to_come_back():
    async with a_door(policy=Policy(open_invoices=2)) as door:
        await door.ask()
        answer = await door.http.post("/api/jobs", json={"request": "x"})
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")
        assert answer.headers["retry-after"]


async def test_the_same_idempotency_key_is_the_same_job_whatever_happens_in_between():
    key = {"Idempotency-Key": "0123456789abcdef0123456789abcdef"}
    async with a_door() as door:
        first = await door.ask(headers=key)
        await door.pay(first["evalInvoice"])
        await door.reach(first["jobId"], "awaiting_work_payment")
        again = await door.http.post("/api/jobs", json={"request": QUESTION}, headers=key)
        assert (again.status_code, again.json()) == (201, first)
        assert len(await door.house.store.jobs(limit=9)) == 1


async def test_parallel_repeats_of_a_key_make_one_job():
    key = {"Idempotency-Key": "fedcba9876543210fedcba9876543210"}
    async with a_door() as door:
        answers = await asyncio.gather(
            *(door.http.post("/api/jobs", json={"request": "x"}, headers=key) for _ in range(20))
        )
        assert len({answer.text for answer in answers}) == 1
        assert len(await door.house.store.jobs(limit=9)) == 1


async def test_a_process_that_died_after_the_job_was_made_finds_it_again(monkeypatch):
    key = {"Idempotency-Key": "0011223344556677889900aabbccddee"}
    async with a_door() as door:
        async with asyncio.timeout(5):
            with monkeypatch.context() as dying:

                async def dies(*_):
                    raise RuntimeError("the process died")

                dying.setattr(door.house.store, "finish_answer", dies)
                lost = await door.http.post("/api/jobs", json={"request": "x"}, headers=key)
        assert lost.status_code == 500
        again = await door.ask("x", headers=key)
        (job,) = await door.house.store.jobs(limit=9)
        assert again["jobId"] == job.id


async def test_a_refusal_that_passes_does_not_stick_to_its_key():
    key = {"Idempotency-Key": "99887766554433221100ffeeddccbbaa"}
    async with a_door(per_address=50, policy=Policy(open_invoices=2)) as door:
        first = await door.ask()
        busy = await door.http.post("/api/jobs", json={"request": "x"}, headers=key)
        assert busy.status_code == 503
        await door.pay(first["evalInvoice"])
        await door.reach(first["jobId"], "awaiting_work_payment")
        waits = await door.job(first["jobId"])
        await door.pay(waits["workInvoice"])
        await door.reach(first["jobId"], "complete")
        await door.ask("x", headers=key)


async def test_the_events_tell_each_change_what_is_written_and_the_end():
    async with a_door(agent=OfflineAgent(sleep=lambda _: asyncio.sleep(0))) as door:
        asked = await door.ask(pay="once")
        listening = asyncio.create_task(door.http.get(f"/api/jobs/{asked['jobId']}/events"))
        await asyncio.sleep(0)
        await door.pay(asked["evalInvoice"])
        answer = await asyncio.wait_for(listening, 5)
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = events_of(answer.text)
        states = [data["state"] for name, data in told if name == "job"]
        assert states == sorted(states, key=STATES.index)
        assert states[-1] == "complete"
        assert told[-1][1] == await door.job(asked["jobId"])
        # A browser comes back by itself, and hears that this was all.
        over = await door.http.get(f"/api/jobs/{asked['jobId']}/events", headers={"Last-Event-ID": "end"})
        assert over.status_code == 204


async def test_a_job_that_came_as_an_event_shows_state_invoice_and_price_alone():
    async with a_door() as door:
        job_id = await door.house.ask("A secret question, please?")
        await door.house.priced()
        view = await door.job(job_id)
        door.house.customer.pays(view["evalInvoice"]["paymentRequest"])
        done = await door.reach(job_id, "complete")
        assert set(done) <= {
            "jobId",
            "state",
            "createdAt",
            "completedAt",
            "trust_tier",
            "evalInvoice",
            "pricingBreakdown",
        }


async def test_a_wallet_that_is_away_is_told_and_the_job_can_be_looked_at(monkeypatch):
    monkeypatch.setattr(jobs, "INVOICE_S", 0.05)
    async with a_door() as door:
        door.house.wallet.down = True
        answer = await door.http.post("/api/jobs", json={"request": "x"})
        assert (answer.status_code, answer.json()["code"]) == (503, "invoice_late")
        job = await door.house.job(answer.json()["jobId"])
        assert job.state is JobState.AWAITING_EVAL_PAYMENT


async def test_an_id_that_can_not_be_one_is_of_nothing():
    async with a_door() as door:
        answer = await door.http.get(f"/api/jobs/{'0' * 65}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
