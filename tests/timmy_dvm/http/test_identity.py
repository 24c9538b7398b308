"""A key proves itself over HTTP and is known from then on (IDN-10 to 18, 20)."""

import asyncio
import json

import pytest

from ledger.records import IdentityRecord
from relay_client.keys import Keys, npub
from tests.timmy_dvm.http.door import ALICE, URL, a_door
from timmy_dvm.http import identity
from timmy_dvm.http.logins import Logins
from timmy_dvm.http.once import Once
from timmy_dvm.http.tokens import CHALLENGE_LIFE_S, TOKEN_LIFE_S, SigningKey, Tokens
from timmy_dvm.views import when

VERIFY = f"{URL}/api/identity/verify"
BOB = Keys.from_bytes(b"\x0b" * 32)


def opened(**parts):
    return a_door(more=lambda services: [identity.routes(services)], **parts)


async def challenge(door):
    answer = await door.http.post("/api/identity/challenge", json={})
    assert answer.status_code == 200
    return answer.json()["challenge"]


def signed(door, *tags, kind=22_242, keys=ALICE, content="", age=0):
    at = door.services.now() - age
    return json.loads(keys.sign(kind=kind, created_at=at, tags=tags, content=content, aux=b"\x01" * 32).to_json())


async def verify(door, event, **more):
    return await door.http.post("/api/identity/verify", json={"event": event, **more})


async def proved(door, keys=ALICE):
    return signed(door, ("u", VERIFY), ("challenge", await challenge(door)), keys=keys)


async def test_idn_10_a_challenge_lives_for_two_minutes():
    async with opened() as door:
        answer = await door.http.post("/api/identity/challenge")
        assert answer.json()["expiresAt"] == when(door.services.now() + CHALLENGE_LIFE_S)
        assert answer.json()["trust_tier"] == "anonymous"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["challenge"] != await challenge(door)


@pytest.mark.parametrize("kind", [22_242, 27_235])
async def test_idn_11_a_signed_challenge_brings_a_token_that_every_route_takes(kind):
    async with opened() as door:
        event = signed(door, ("u", VERIFY), ("challenge", await challenge(door)), kind=kind)
        answer = await verify(door, event)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert (body["pubkey"], body["npub"]) == (ALICE.public_key, npub(ALICE.public_key))
        assert body["trust_tier"] == "new"
        assert body["expiresAt"] == when(door.services.now() + TOKEN_LIFE_S)
        asked = await door.ask(headers={"X-Nostr-Token": body["nostr_token"]})
        assert (await door.house.job(asked["jobId"])).pubkey == ALICE.public_key


async def test_idn_11_the_challenge_may_be_the_content():
    async with opened() as door:
        event = signed(door, ("u", VERIFY), content=await challenge(door))
        assert (await verify(door, event)).status_code == 200


async def test_idn_10_a_challenge_is_good_for_one_login():
    async with opened() as door:
        event = await proved(door)
        assert (await verify(door, event)).status_code == 200
        again = await verify(door, event)
        assert (again.status_code, again.json()["code"]) == (401, "unauthorized")
        assert "was used" in again.json()["error"]
        other = signed(door, *[tuple(tag) for tag in event["tags"]], keys=BOB)
        assert (await verify(door, other)).status_code == 401


async def test_a_thousand_logins_at_once_with_one_challenge_bring_one_token():
    async with opened() as door:
        event = await proved(door)
        answers = await asyncio.gather(*(verify(door, event) for _ in range(1_000)))
        assert sorted({answer.status_code for answer in answers}) == [200, 401]
        assert sum(answer.status_code == 200 for answer in answers) == 1


async def test_a_challenge_does_not_outlive_the_process_that_gave_it():
    """Which were used is kept in memory, so after a restart none of before may count."""
    async with opened() as door:
        text = await challenge(door)
        event = signed(door, ("u", VERIFY), ("challenge", text))
        services, house = door.services, door.house
        restarted = Logins(Tokens([SigningKey(b"s" * 32)], URL), URL, house.clock, house.random)
        pubkey, told = restarted.read(json.dumps(event).encode())
        with pytest.raises(Exception, match="no challenge of ours"):
            restarted.redeem(pubkey, told)
        assert services.logins.redeem(pubkey, told).text


async def test_one_address_that_logs_in_much_leaves_room_for_others(monkeypatch):
    async with opened() as door:
        monkeypatch.setattr(door.services.logins, "_used", Once(100, per_address=1))
        assert (await verify(door, await proved(door))).status_code == 200
        answer = await verify(door, await proved(door))
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert answer.json()["retryAfterSeconds"] == int(answer.headers["retry-after"])


async def test_a_challenge_ends():
    async with opened() as door:
        text = await challenge(door)
        await door.house.clock.advance(CHALLENGE_LIFE_S)
        answer = await verify(door, signed(door, ("u", VERIFY), ("challenge", text)))
        assert (answer.status_code, "ended" in answer.json()["error"]) == (401, True)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"content": "altered"}, 401),
        ({"id": "00" * 32}, 401),
        ({"sig": "00" * 64}, 401),
        ({"pubkey": BOB.public_key}, 401),
        ({"kind": 1}, 401),
        ({"id": "x"}, 401),
        ({"created_at": "1"}, 400),
        ({"tags": [1]}, 400),
        ({"content": None}, 400),
        ({"content": "\ud800"}, 401),
    ],
    ids=lambda value: str(value)[:24].encode("ascii", "replace").decode() if isinstance(value, dict) else None,
)
async def test_idn_11_an_event_that_was_tampered_with_is_nobodys(change, status):
    async with opened() as door:
        event = await proved(door)
        answer = await door.http.post(
            "/api/identity/verify",
            content=json.dumps({"event": event | change}),
            headers={"content-type": "application/json"},
        )
        assert answer.status_code == status, answer.text
        # The challenge is still good: whoever can't sign must not use it up.
        assert (await verify(door, event)).status_code == 200


@pytest.mark.parametrize(
    ("tags", "more"),
    [
        ([("u", VERIFY)], {}),
        ([("u", f"{VERIFY}/")], {"challenged": True}),
        ([("u", "https://evil.example/api/identity/verify")], {"challenged": True}),
        ([], {"challenged": True}),
        ([("u", VERIFY)], {"challenged": True, "age": 121}),
        ([("u", VERIFY)], {"challenged": True, "age": -121}),
        ([("u", VERIFY)], {"challenged": True, "kind": 1}),
        ([("u", VERIFY), ("challenge", "v1.1.x.y")], {}),
    ],
)
async def test_idn_11_a_true_event_for_anything_else_is_no_login(tags, more):
    async with opened() as door:
        if more.pop("challenged", False):
            tags = [*tags, ("challenge", await challenge(door))]
        answer = await verify(door, signed(door, *tags, **more))
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Nostr"


async def test_idn_12_and_20_a_pubkey_beside_the_event_must_be_its_own_in_either_spelling():
    """IDN-20."""
    async with opened() as door:
        for spelling in (ALICE.public_key, npub(ALICE.public_key), None):
            assert (await verify(door, await proved(door), pubkey=spelling)).status_code == 200
        for other in (BOB.public_key, npub(BOB.public_key)):
            answer = await verify(door, await proved(door), pubkey=other)
            assert (answer.status_code, answer.json()["code"]) == (400, "pubkey_mismatch")
        answer = await verify(door, await proved(door), pubkey="npub1x")
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_pubkey")


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b'{"event": 1}', b"[" * 60_000, b'{"event": {}}'])
async def test_a_body_that_is_none_is_a_400(body):
    async with opened() as door:
        answer = await door.http.post(
            "/api/identity/verify", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400, answer.text


async def test_idn_13_a_key_sees_how_it_stands_and_why():
    async with opened() as door:
        answer = await door.http.get("/api/identity/me", headers={"X-Nostr-Token": door.token()})
        assert answer.status_code == 200
        body = answer.json()
        assert body | {"why": ""} == {
            "pubkey": ALICE.public_key,
            "npub": npub(ALICE.public_key),
            "trust_score": 0,
            "tier": "new",
            "interaction_count": 0,
            "sats_absorbed_today": 0,
            "daily_budget_sats": 0,
            "why": "",
            "creditSats": 0,
            "trust_tier": "new",
        }
        assert "10 more make it established" in body["why"]


async def test_idn_13_a_look_computes_what_absence_took_and_writes_nothing():
    async with opened() as door:
        token = door.token()
        await door.complete(nostr_token=token)
        first = (await door.http.get("/api/identity/me", headers={"X-Nostr-Token": token})).json()
        assert (first["trust_score"], first["interaction_count"]) == (1, 1)
        before = await _row(door)
        door.house.clock.set_wall_clock(door.services.now() + 40 * 86_400)
        later = (await door.http.get("/api/identity/me", headers={"X-Nostr-Token": door.token()})).json()
        assert later["trust_score"] == 0
        assert await _row(door) == before


async def _row(door) -> IdentityRecord:
    row = await door.house.store.look(lambda view: view.identity(ALICE.public_key))
    assert row is not None
    return row


async def test_a_key_that_only_looked_leaves_no_row():
    async with opened() as door:
        assert (await verify(door, await proved(door))).status_code == 200
        await door.http.get("/api/identity/me", headers={"X-Nostr-Token": door.token()})
        assert await door.house.store.look(lambda view: view.identity(ALICE.public_key)) is None


@pytest.mark.parametrize("headers", [{}, {"X-Nostr-Token": "junk"}, {"X-Nostr-Token": ""}])
async def test_idn_15_and_16_nobody_and_a_bad_token_are_told_apart_and_both_refused(headers):
    """IDN-16."""
    async with opened() as door:
        answer = await door.http.get("/api/identity/me", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert ("Say who you are" in answer.json()["error"]) is (not headers)


async def test_idn_15_a_token_ends_after_a_day():
    async with opened() as door:
        token = door.token()
        door.house.clock.set_wall_clock(door.services.now() + TOKEN_LIFE_S)
        answer = await door.http.get("/api/identity/me", headers={"X-Nostr-Token": token})
        assert (answer.status_code, "ended" in answer.json()["error"]) == (401, True)
