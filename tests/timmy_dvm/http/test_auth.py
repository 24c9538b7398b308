"""NIP-98 at the door: a signed event is good for one request to one address, for a minute (IDN-23, threat 25)."""

import base64
import hashlib
import json
import random

import pytest

from relay_client.keys import Keys
from tests.timmy_dvm.http.door import ALICE, URL, a_door
from timmy_dvm.http import auth, identity
from timmy_dvm.http.addresses import Addresses
from timmy_dvm.http.auth import Callers
from timmy_dvm.http.once import Once
from timmy_dvm.http.tokens import SigningKey, Tokens

BOB = Keys.from_bytes(b"\x0b" * 32)
ME = f"{URL}/api/identity/me"
JOBS = f"{URL}/api/jobs"
BODY = json.dumps({"request": "What is a data vending machine?"}).encode()
HASH = hashlib.sha256(BODY).hexdigest()
AGED_S = 300
"""So long the server has run: what was signed before it started is a case of its own."""


@pytest.fixture
async def door():
    async with a_door(more=lambda services: [identity.routes(services)]) as opened:
        await opened.house.clock.advance(AGED_S)
        yield opened


def event(door, *tags, kind=27_235, age=0, keys=ALICE, content=""):
    at = door.services.now() - age
    return keys.sign(kind=kind, created_at=at, tags=tags, content=content, aux=b"\x01" * 32).to_json()


def header(text):
    return {"Authorization": f"Nostr {base64.b64encode(text.encode()).decode()}"}


def reading(door, u=ME, method="GET", *more, **other):
    return header(event(door, ("u", u), ("method", method), *more, **other))


def posting(door, *more, **other):
    return header(event(door, ("u", JOBS), ("method", "POST"), ("payload", HASH), *more, **other))


async def look(door, headers, target="/api/identity/me"):
    return await door.http.get(target, headers=headers)


async def post(door, headers, body=BODY):
    return await door.http.post("/api/jobs", content=body, headers={**headers, "content-type": "application/json"})


async def test_idn_23_a_signed_request_is_its_signers(door):
    answer = await post(door, posting(door))
    assert answer.status_code == 201
    assert (await door.house.job(answer.json()["jobId"])).pubkey == ALICE.public_key
    assert (await look(door, reading(door))).json()["pubkey"] == ALICE.public_key


@pytest.mark.parametrize("age", [60, -60])
async def test_a_minute_of_clock_error_is_forgiven(door, age):
    assert (await look(door, reading(door, age=age))).status_code == 200
    assert (await post(door, posting(door, age=age))).status_code == 201


async def test_the_query_is_signed_as_it_is_sent(door):
    target = "/api/estimate?request=What%20is%20it%3F"
    answer = await look(door, reading(door, f"{URL}{target}"), target)
    assert (answer.status_code, answer.json()["trust_tier"]) == (200, "new")
    for other in ("/api/estimate?request=What+is+it%3F", "/api/estimate", f"{target}&x=1"):
        assert (await look(door, reading(door, f"{URL}{target}"), other)).status_code == 401


def forged(door, **changes):
    """A request of Alice's that was altered after she signed it."""
    text = json.loads(event(door, ("u", ME), ("method", "GET")))
    return header(json.dumps(text | changes))


READS = {
    "another kind": lambda door: reading(door, kind=22_242),
    "a false id": lambda door: forged(door, id="00" * 32),
    "a false signature": lambda door: forged(door, sig="00" * 64),
    "another key": lambda door: forged(door, pubkey=BOB.public_key),
    "another host": lambda door: reading(door, "https://evil.example/api/identity/me"),
    "another path": lambda door: reading(door, f"{URL}/api/identity/you"),
    "a query that is not there": lambda door: reading(door, f"{ME}?x=1"),
    "another scheme": lambda door: reading(door, ME.replace("https", "http")),
    "a slash more": lambda door: reading(door, f"{ME}/"),
    "no address": lambda door: header(event(door, ("method", "GET"))),
    "another method": lambda door: reading(door, ME, "POST"),
    "no method": lambda door: header(event(door, ("u", ME))),
    "signed 61 s ago": lambda door: reading(door, age=61),
    "signed 61 s ahead": lambda door: reading(door, age=-61),
    "the hash of a body that is not there": lambda door: reading(door, ME, "GET", ("payload", HASH)),
    "the hash of nothing": lambda door: reading(door, ME, "GET", ("payload", hashlib.sha256(b"").hexdigest())),
    "two addresses": lambda door: reading(door, ME, "GET", ("u", "https://evil.example")),
    "the address twice": lambda door: reading(door, ME, "GET", ("u", ME)),
    "two methods": lambda door: reading(door, ME, "GET", ("method", "POST")),
    "no base64": lambda door: {"Authorization": "Nostr {}"},
    "nothing": lambda door: {"Authorization": "Nostr"},
    "base64 of something else": lambda door: header("{}"),
    "far too long": lambda door: reading(door, content="x" * 2_000),
    "another scheme of credentials": lambda door: {"Authorization": "Basic YTpi"},
    "a bearer": lambda door: {"Authorization": f"Bearer {door.token()}"},
}
POSTS = {
    "no hash of the body": lambda door: header(event(door, ("u", JOBS), ("method", "POST"))),
    "the hash of another body": lambda door: header(
        event(door, ("u", JOBS), ("method", "POST"), ("payload", "00" * 32))
    ),
    "two hashes": lambda door: posting(door, ("payload", "00" * 32)),
    "the hash twice": lambda door: posting(door, ("payload", HASH)),
    "signed 61 s ago": lambda door: posting(door, age=61),
}


@pytest.mark.parametrize("what", READS)
async def test_any_other_credential_is_a_401_and_never_a_stranger(door, what):
    answer = await look(door, READS[what](door))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), what
    assert answer.headers["www-authenticate"] == "Nostr"
    # Nor is it one where strangers are served.
    assert (await look(door, READS[what](door), "/api/estimate?request=x")).status_code == 401


@pytest.mark.parametrize("what", POSTS)
async def test_a_body_belongs_to_its_signature(door, what):
    assert (await post(door, POSTS[what](door))).status_code == 401
    assert len(await door.house.store.jobs(limit=10)) == 0


async def test_a_body_that_was_exchanged_is_not_its_signers(door):
    assert (await post(door, posting(door), BODY.replace(b"data", b"free"))).status_code == 401


async def test_two_authorizations_are_none(door):
    headers = [*reading(door).items(), *reading(door).items()]
    assert (await look(door, headers)).status_code == 401


async def test_a_signature_and_a_token_must_be_of_one_key(door):
    mine = {**reading(door), "X-Nostr-Token": door.token()}
    assert (await look(door, mine)).status_code == 200
    assert (await look(door, {**reading(door), "X-Nostr-Token": door.token(BOB)})).status_code == 401


async def test_a_request_that_changes_something_can_not_be_sent_again(door):
    """Whoever sees it on its way would have work done in its signer's name."""
    once = posting(door)
    assert (await post(door, once)).status_code == 201
    for _ in range(3):
        answer = await post(door, once)
        assert (answer.status_code, "used" in answer.json()["error"]) == (401, True)
    await door.house.clock.advance(30)
    assert (await post(door, once)).status_code == 401
    assert (await post(door, posting(door))).status_code == 201
    assert len(await door.house.store.jobs(limit=10)) == 2


async def test_a_look_may_be_repeated(door):
    again = reading(door)
    assert [(await look(door, again)).status_code for _ in range(3)] == [200] * 3


async def test_what_was_signed_before_the_server_started_changes_nothing(door):
    """What was used then is forgotten."""
    door.services.callers._began = door.services.now()
    answer = await post(door, posting(door, age=1))
    assert (answer.status_code, "before this server started" in answer.json()["error"]) == (401, True)
    assert (await look(door, reading(door, age=1))).status_code == 200
    assert (await post(door, posting(door))).status_code == 201


async def test_a_memory_that_is_full_refuses_what_it_could_not_remember(door, monkeypatch):
    monkeypatch.setattr(door.services.callers, "_used", Once(1))
    assert (await post(door, posting(door))).status_code == 201
    answer = await post(door, posting(door, ("n", "2")))
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "busy", "60")
    await door.house.clock.advance(61)
    assert (await post(door, posting(door, ("n", "3")))).status_code == 201


async def test_one_address_that_signs_much_leaves_room_for_others(door, monkeypatch):
    monkeypatch.setattr(door.services.callers, "_used", Once(100, per_address=1))
    assert (await post(door, posting(door))).status_code == 201
    answer = await post(door, posting(door, ("n", "2")))
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (
        429,
        "rate_limited",
        "60",
    )


@pytest.mark.parametrize("host", ["evil.example", "timmy.example/api/identity/me?", "", "[", "a@b"])
async def test_no_address_is_made_of_what_the_client_calls_us(door, host):
    """The Host header is the client's own word: a signature for another host must not count by it."""
    for u, status in ((ME, 200), (f"https://{host}/api/identity/me", 401)):
        answer = await look(door, {**reading(door, u), "Host": host})
        assert (answer.status_code, host != "" and host in answer.text) == (status, False)


async def test_ten_thousand_changed_credentials_are_all_refused(door):
    text = event(door, ("u", ME), ("method", "GET"))
    good = base64.b64encode(text.encode()).decode()
    callers = Callers(Tokens([SigningKey(b"s" * 32)], URL), URL, door.house.clock, Addresses())
    dice = random.Random(5)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= "

    async def is_taken(credential):
        headers = [(b"authorization", f"Nostr {credential}".encode())]
        scope = {"type": "http", "method": "GET", "headers": headers, "query_string": b""}
        request = auth.Request({**scope, "path": "/api/identity/me", "raw_path": b"/api/identity/me"}, _nothing)
        try:
            return await callers.key_of(request) is not None
        except auth.Fault as fault:
            return fault.status != 401

    assert await is_taken(good)
    for _ in range(10_000):
        # Not the last place: what stands behind the credential as a space is no part of it.
        place = dice.randrange(len(good) - 1)
        wrong = dice.choice([character for character in alphabet if character != good[place]])
        changed = good[:place] + ("", wrong, wrong + good[place])[dice.randrange(3)] + good[place + 1 :]
        assert changed.strip() == good or not await is_taken(changed), changed


async def _nothing():
    return {"type": "http.request", "body": b"", "more_body": False}
