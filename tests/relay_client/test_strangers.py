"""Relays that a stranger named: one errand, at the address that was judged, and nobody says who we are."""

import socket

import pytest

from relay_client.dial import MAX_FRAME_BYTES, DialOptions, Outside, PublishState
from relay_client.local_relay import LocalRelay
from relay_client.strangers import Strangers
from relay_client.wire import Prefix
from tests.faults import ScriptedRelay
from tests.relay_client.kit import signed


def leading_to(url):
    """Errand-runners who find `url` whatever the stranger calls it: only the judged address may matter."""

    async def dialler(_):
        return "127.0.0.1", int(url.rpartition(":")[2])

    return Strangers(dialler, Outside(), DialOptions())


async def send_once(url, event=None, *, timeout_s=5.0, named="ws://relay.example"):
    return await leading_to(url).publish(named, event or signed(), timeout_s)


async def test_an_event_for_a_strangers_relay_goes_to_the_address_that_was_judged():
    async with LocalRelay() as relay:
        assert (await send_once(relay.url)).state is PublishState.ACCEPTED
        assert len(relay) == 1


async def test_a_strangers_relay_is_never_told_who_we_are():
    heard = []

    async def asks_for_auth(client):
        await client.say("AUTH", "challenge")
        event = (await client.hear("EVENT"))[1]
        await client.say("OK", event["id"], False, "auth-required: log in")
        heard.extend([frame async for frame in client.ws])

    async with ScriptedRelay(asks_for_auth) as relay:
        outcome = await send_once(relay.url)
    assert (outcome.state, outcome.prefix) == (PublishState.REFUSED, Prefix.AUTH_REQUIRED)
    assert heard == []


async def silence(client):
    await client.hear("EVENT")


async def hang_up(client):
    await client.hear("EVENT")
    await client.ws.close()


async def shout(client):
    await client.hear("EVENT")
    for _ in range(1_000):
        await client.say("NOTICE", "buy now")


async def overflow(client):
    await client.hear("EVENT")
    await client.ws.send("x" * (MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize("script", [silence, hang_up, shout, overflow])
async def test_a_strangers_relay_that_does_not_answer_leaves_the_outcome_unknown(script):
    async with ScriptedRelay(script) as relay:
        assert (await send_once(relay.url, timeout_s=0.5)).state is PublishState.NO_ANSWER


async def test_a_listener_that_is_no_relay_is_given_up_in_time():
    """One that accepts and says nothing must not hold anybody up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        outcome = await send_once(f"ws://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.1)
    assert outcome.state is PublishState.NO_ANSWER


async def test_a_closed_port_is_not_connected():
    assert (await send_once("ws://127.0.0.1:1")).state is PublishState.NOT_CONNECTED
