"""One publish to many relays: an outcome for each, and no dial that nobody allowed."""

import asyncio

import pytest

from relay_client import strangers
from relay_client.dial import PublishState
from relay_client.errors import DialRefused
from relay_client.local_relay import LocalRelay
from relay_client.pool import RelayPool
from relay_client.wire import Prefix
from tests.faults import ScriptedRelay, until
from tests.relay_client.kit import signed


async def no_words(client):
    await client.hear("never")


async def refuse(client):
    while True:
        event = (await client.hear("EVENT"))[1]
        await client.say("OK", event["id"], False, "rate-limited: slow down")


async def no_id(client):
    while True:
        await client.hear("EVENT")
        await client.say("OK", "", False, "error: broken")


async def had_it(client):
    while True:
        event = (await client.hear("EVENT"))[1]
        await client.say("OK", event["id"], False, "duplicate: exists")


async def test_a_publish_is_reported_relay_by_relay():
    async with (
        LocalRelay() as good,
        ScriptedRelay(refuse) as refusing,
        ScriptedRelay(no_id) as anonymous,
        ScriptedRelay(had_it) as knowing,
        ScriptedRelay(no_words) as silent,
    ):
        away = "ws://127.0.0.1:1"
        urls = [good.url, refusing.url, anonymous.url, knowing.url, silent.url, away]
        async with RelayPool(urls) as pool:
            await pool.wait_connected(5)
            outcomes = await pool.publish(signed(), timeout_s=0.3)
    assert list(outcomes) == urls
    assert [(outcome.state, outcome.prefix) for outcome in outcomes.values()] == [
        (PublishState.ACCEPTED, Prefix.NONE),
        (PublishState.REFUSED, Prefix.RATE_LIMITED),
        (PublishState.REFUSED, Prefix.ERROR),
        (PublishState.ACCEPTED, Prefix.DUPLICATE),
        (PublishState.NO_ANSWER, Prefix.NONE),
        (PublishState.NOT_CONNECTED, Prefix.NONE),
    ]


async def test_a_publish_can_return_as_soon_as_enough_have_accepted():
    async with LocalRelay() as good, ScriptedRelay(no_words) as silent, RelayPool([silent.url, good.url]) as pool:
        await pool.wait_connected(2)
        async with asyncio.timeout(5):
            outcomes = await pool.publish(signed(), timeout_s=600, enough=1)
    assert outcomes[good.url].is_accepted
    assert outcomes[silent.url].state is PublishState.NO_ANSWER


async def test_after_enough_have_accepted_the_others_may_be_waited_for_a_while():
    may_answer = asyncio.Event()

    async def slow(client):
        events = [(await client.hear("EVENT"))[1] for _ in range(2)]
        await may_answer.wait()
        for event in events:
            await client.say("OK", event["id"], True, "")

    async with (
        LocalRelay() as good,
        ScriptedRelay(slow) as late,
        ScriptedRelay(no_words) as silent,
        RelayPool([good.url, late.url, silent.url]) as pool,
    ):
        await pool.wait_connected(3)
        async with asyncio.timeout(60):
            outcomes = await pool.publish(signed(), timeout_s=600, enough=1, grace_s=0.01)
            assert [outcomes[url].is_accepted for url in pool.urls] == [True, False, False]
            publishing = asyncio.create_task(
                pool.publish(signed("again"), [good.url, late.url], timeout_s=600, enough=1, grace_s=600)
            )
            await until(lambda: len(good) == 2)
            may_answer.set()
            assert all(outcome.is_accepted for outcome in (await publishing).values())


async def test_relays_can_be_named_and_keep_the_spelling_they_were_given():
    async with LocalRelay() as one, LocalRelay() as two, RelayPool([one.url, two.url]) as pool:
        await pool.wait_connected(2)
        given = one.url.upper() + "/"
        outcomes = await pool.publish(signed(), [given])
        assert outcomes[given].is_accepted
        assert (len(one), len(two)) == (1, 0)
        assert await pool.publish(signed(), []) == {}


async def test_relays_that_are_not_configured_are_not_dialled_without_a_dialler():
    async with LocalRelay() as stranger, RelayPool([]) as pool:
        outcomes = await pool.publish(signed(), [stranger.url, "not a url"])
        assert {outcome.state for outcome in outcomes.values()} == {PublishState.NOT_CONNECTED}
        assert len(stranger) == 0


async def dial_anything(url):
    return "127.0.0.1", int(url.rpartition(":")[2])


async def test_a_strangers_relay_is_dialled_at_the_address_the_dialler_gives_and_then_left():
    async with LocalRelay() as stranger, RelayPool([], dialler=dial_anything) as pool:
        outcomes = await pool.publish(signed(), [stranger.url])
        assert outcomes[stranger.url].is_accepted
        assert len(stranger) == 1
        await until(lambda: not stranger._clients)
        assert pool.status() == []


@pytest.mark.parametrize("error", [DialRefused("that address is private"), OSError("no such host")])
async def test_what_the_dialler_refuses_or_cannot_find_is_not_connected(error):
    async def dialler(url):
        raise error

    async with RelayPool([], dialler=dialler) as pool:
        outcomes = await pool.publish(signed(), ["wss://relay.example"])
    assert outcomes["wss://relay.example"].state is PublishState.NOT_CONNECTED


async def test_strangers_relays_are_dialled_one_connection_to_a_host_and_not_too_often():
    dialled, at_once, most = [], 0, 0

    async def dialler(url):
        nonlocal at_once, most
        dialled.append(url)
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.001)
        at_once -= 1
        raise DialRefused("not today")

    async with RelayPool([], dialler=dialler) as pool:
        await pool.publish(signed(), [f"wss://relay.example:{9_000 + n}" for n in range(5)])
        assert most == 1
        await pool.publish(signed(), [f"wss://{n}.example" for n in range(100)])
    assert len(dialled) == strangers.MAX_DIALS_PER_MINUTE
    assert most <= strangers.MAX_DIALS_AT_ONCE


async def test_a_dialler_that_hangs_ends_with_the_timeout():
    async def hang(url):
        await asyncio.Event().wait()

    async with RelayPool([], dialler=hang) as pool:
        outcomes = await pool.publish(signed(), ["wss://relay.example"], timeout_s=0.05)
    assert outcomes["wss://relay.example"].state is PublishState.NO_ANSWER


# What can be left out.


async def test_a_spare_event_is_never_offered_again_and_keeps_nothing_waiting():
    spare, due, late = (signed(text) for text in ("spare", "due", "late"))
    seen = []

    async def script(client):
        while True:
            event = (await client.hear("EVENT"))[1]
            seen.append(event["id"])
            accepted = event["id"] == due.id
            await client.say("OK", event["id"], accepted, "" if accepted else "rate-limited: slow down")

    async with ScriptedRelay(script) as relay, RelayPool([relay.url]) as pool:
        await pool.wait_connected()
        assert (await pool.publish(spare, is_spare=True))[relay.url].word == "rate-limited"
        assert pool.status()[0].pause_s == 0
        assert (await pool.publish(due))[relay.url].is_accepted
        # A refusal of what must arrive begins a pause, and what can be left out is left out of it.
        assert (await pool.publish(late))[relay.url].word == "rate-limited"
        assert pool.status()[0].pause_s > 0
        assert (await pool.publish(spare, is_spare=True))[relay.url].text.startswith("not sent")
        assert list(pool._connections[relay.url].publishing._kept) == [late.id]
    assert seen == [spare.id, due.id, late.id]
