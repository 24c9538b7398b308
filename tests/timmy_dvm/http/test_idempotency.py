"""Which keys are taken, and that none answers for another route, credential or body. What it saves: test_jobs."""

import asyncio

import pytest

from relay_client.keys import Keys
from tests.timmy_dvm.http.door import ALICE, a_door
from timmy_dvm.http import idempotency

STRONG = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("key", "status"),
    [
        (STRONG, 201),
        ("01234567-89ab-cdef-0123-456789abcdef", 201),
        ("AbCdEfGhIjKlMnOpQrStUv", 201),
        ("order-17", 400),
        ("0" * 32, 400),
        ("a b" * 12, 400),
        ("x" * 256, 400),
    ],
)
async def test_without_a_credential_a_key_must_be_hard_to_guess(key, status):
    async with a_door() as door:
        answer = await door.http.post("/api/jobs", json={"request": "x"}, headers={"Idempotency-Key": key})
        assert answer.status_code == status


async def test_a_credential_may_use_any_key_and_has_its_own():
    async with a_door() as door:
        first = await door.ask("x", headers={"Idempotency-Key": "1", "X-Nostr-Token": door.token()})
        again = await door.ask("x", headers={"Idempotency-Key": "1", "X-Nostr-Token": door.token()})
        other = door.token(Keys.from_bytes(b"\x0b" * 32))
        theirs = await door.ask("x", headers={"Idempotency-Key": "1", "X-Nostr-Token": other})
        assert first["jobId"] == again["jobId"] != theirs["jobId"]
        assert (await door.house.job(first["jobId"])).pubkey == ALICE.public_key


async def test_another_body_is_a_conflict_and_makes_no_job():
    headers = {"Idempotency-Key": STRONG}
    async with a_door() as door:
        await door.ask("x", headers=headers)
        answer = await door.http.post("/api/jobs", json={"request": "y"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")
        assert len(await door.house.store.jobs(limit=9)) == 1


async def test_a_refusal_is_an_answer_too():
    headers = {"Idempotency-Key": STRONG}
    async with a_door() as door:
        answers = [await door.http.post("/api/jobs", json={}, headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [400, 400]
        assert answers[0].json() == answers[1].json()
        assert answers[1].headers["idempotency-replayed"] == "true"


async def test_keys_spent_on_nothing_come_to_an_end_for_an_address_and_for_no_other(monkeypatch):
    monkeypatch.setattr(idempotency, "REFUSED_AN_HOUR", 3)
    async with a_door(proxies=["203.0.113.9/32"]) as door:

        async def ask(key, request="", address="198.51.100.7"):
            headers = {"Idempotency-Key": f"{key:04x}{STRONG[4:]}", "X-Forwarded-For": address}
            answer = await door.http.post("/api/jobs", json={"request": request}, headers=headers)
            return answer.status_code

        assert [await ask(1) for _ in range(9)] == [400] * 9, "a key that is used again is no further row"
        assert [await ask(n) for n in (2, 3, 4, 5)] == [400, 400, 429, 429]
        assert await ask(6, "x") == 429
        assert await ask(6, "x", address="198.51.100.8") == 201
        assert await ask(1) == 400, "what was answered once is answered so for ever"
        assert await ask(6, "x") == 201, "and whoever asks from elsewhere now must not pay again"


async def test_two_keys_in_one_request_are_none():
    async with a_door() as door:
        answer = await door.http.post(
            "/api/jobs",
            json={"request": "x"},
            headers=[("Idempotency-Key", STRONG), ("Idempotency-Key", "b" * 32)],
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_idempotency_key")


async def test_keys_do_not_wait_for_each_other():
    async with a_door() as door:
        asked = (
            door.ask("x", headers={"Idempotency-Key": f"{n:032x}9abcdef"[-36:]}) for n in range(12_345, 12_355)
        )
        jobs = await asyncio.gather(*asked)
        assert len({job["jobId"] for job in jobs}) == 10
        assert not door.services.idempotency._turns
