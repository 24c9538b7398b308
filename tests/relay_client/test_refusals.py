"""What relays refuse, in every word of NIP-01 and NIP-42: told, shown, and asked again where that can help."""

import json

import pytest

from relay_client.connection import RelayState
from relay_client.dial import Outside, PublishState
from relay_client.local_relay import LocalRelay
from relay_client.pool import RelayPool
from relay_client.wire import Prefix
from tests.faults import ScriptedRelay, until
from tests.relay_client.kit import KEYS, Clock, pooled, refusing, signed

# Words

REFUSALS = [
    ("pow: difficulty 25 is less than 30", Prefix.POW, "pow"),
    ("blocked: you are banned", Prefix.BLOCKED, "blocked"),
    ("rate-limited: slow down", Prefix.RATE_LIMITED, "rate-limited"),
    ("invalid: event creation date is too far off", Prefix.INVALID, "invalid"),
    ("restricted: only members", Prefix.RESTRICTED, "restricted"),
    ("mute: no one was listening", Prefix.MUTE, "mute"),
    ("error: could not connect to the database", Prefix.ERROR, "error"),
    ("auth-required: we only accept events from registered users", Prefix.AUTH_REQUIRED, "auth-required"),
    ("no prefix at all", Prefix.NONE, "refused"),
]


@pytest.mark.parametrize(("words", "prefix", "word"), REFUSALS)
async def test_every_word_of_refusal_comes_back_and_the_connection_lives_on(words, prefix, word):
    script, _ = refusing(words, 1)
    clock = Clock()
    async with ScriptedRelay(script) as relay, RelayPool([relay.url], outside=clock.outside()) as pool:
        await pool.wait_connected()
        outcome = (await pool.publish(signed()))[relay.url]
        again = (await pool.publish(signed("again")))[relay.url]
        told = pool.status()[0]
    assert (outcome.state, outcome.prefix, outcome.word) == (PublishState.REFUSED, prefix, word)
    assert again.is_accepted == (prefix is not Prefix.RATE_LIMITED)
    assert told.last_refusal == words
    assert (told.state, told.reconnects, told.faults) == (RelayState.CONNECTED, 0, {})


@pytest.mark.parametrize("accepted", [True, False])
async def test_an_event_the_relay_has_already_is_accepted(accepted):
    async def knows(client):
        event = (await client.hear("EVENT"))[1]
        await client.say("OK", event["id"], accepted, "duplicate: already have this event")

    async with ScriptedRelay(knows) as relay, RelayPool([relay.url]) as pool:
        await pool.wait_connected()
        outcome = (await pool.publish(signed()))[relay.url]
        assert (outcome.is_accepted, outcome.word, outcome.prefix) == (True, "accepted", Prefix.DUPLICATE)
        assert (pool.status()[0].accepted, pool.status()[0].refused) == (1, 0)


@pytest.mark.parametrize(
    ("words", "is_final"),
    [
        ("duplicate: subscription already open", False),
        ("pow: difficulty 25 is less than 30", False),
        ("blocked: you are banned", True),
        ("rate-limited: slow down", False),
        ("invalid: filter", True),
        ("restricted: only members", True),
        ("mute: you are ignored", False),
        ("error: shutting down idle subscription", False),
        ("auth-required: who are you?", True),  # we have no keys here
        ("unsupported: filter contains unknown elements", True),
        ("", False),
    ],
)
async def test_a_subscription_is_asked_for_again_where_that_can_help_and_else_shown_as_unserved(words, is_final):
    requests = []

    async def close(client):
        while True:
            sub_id = (await client.hear("REQ"))[1]
            requests.append(sub_id)
            await client.say("CLOSED", sub_id, words)

    async with ScriptedRelay(close) as relay, pooled(relay.url) as (pool, _):
        if is_final:
            await until(lambda: pool.status()[0].unserved)
            assert (await pool.publish(signed(), timeout_s=0.05))[relay.url].state is PublishState.NO_ANSWER
            assert pool.status()[0].unserved == {"jobs": words}
        else:
            await until(lambda: len(requests) >= 3)
        assert (len(requests) == 1) == is_final
        assert pool.status()[0].reconnects == 0


# Who we are


async def test_a_configured_relay_is_told_who_we_are_and_gets_the_event_and_the_question_again():
    event = signed()
    async with LocalRelay(require_auth=True) as relay, pooled(relay.url, keys=KEYS) as (pool, received):
        await pool.wait_connected()
        assert (await pool.publish(event))[relay.url].is_accepted
        await pool.wait_caught_up("jobs")
        await until(lambda: received)
        assert pool.status()[0].unserved == {}


async def test_a_relay_that_wants_to_know_for_ever_gets_few_answers_and_one_retry():
    proofs, offers = [], []

    async def never_content(client):
        await client.say("AUTH", "challenge 0")
        while True:
            name, *rest = json.loads(await client.ws.recv())
            if name == "AUTH":
                proofs.append(rest[0])
                await client.say("OK", rest[0]["id"], True, "")
                await client.say("AUTH", f"challenge {len(proofs)}")
            elif name == "EVENT":
                offers.append(rest[0]["id"])
                await client.say("OK", rest[0]["id"], False, "auth-required: who are you?")

    async with (
        ScriptedRelay(never_content) as relay,
        RelayPool([relay.url], keys=KEYS, outside=Outside(monotonic=lambda: 1.0)) as pool,
    ):
        await pool.wait_connected()
        outcome = (await pool.publish(signed()))[relay.url]
        await until(lambda: pool.status()[0].faults)
        assert pool.status()[0].faults == {"auth_flood": 1}
    assert (outcome.state, outcome.word) == (PublishState.REFUSED, "auth-required")
    assert len(offers) <= 2
    assert len(proofs) == 4
    assert {tuple(proof["tags"][0]) for proof in proofs} == {("relay", relay.url)}
