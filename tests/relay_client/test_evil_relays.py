"""An evil relay beside a good one: it delivers nothing, it is blamed, and it costs the good one nothing."""

import pytest

from relay_client.connection import RelayState
from relay_client.event import UnverifiedEvent
from relay_client.happenings import CaughtUp
from relay_client.keys import Keys
from relay_client.local_relay import LocalRelay
from tests.faults import FaultProxy, ScriptedRelay, until
from tests.relay_client.kit import KEYS, plant, pooled, signed

STRANGER = Keys.from_bytes(b"\x02" * 32)


async def wrong_subscription(client):
    await client.hear("REQ")
    for n in range(100):
        await client.ws.send(f'["EVENT","nobody",{signed(str(n), keys=STRANGER).to_json()}]')


async def foreign_events(client):
    sub_id = (await client.hear("REQ"))[1]
    for n in range(100):
        await client.ws.send(f'["EVENT","{sub_id}",{signed(str(n), kind=1, keys=STRANGER).to_json()}]')


def altered(**fields):
    async def script(client):
        sub_id = (await client.hear("REQ"))[1]
        for n in range(30):
            text = signed(str(n), keys=STRANGER).to_json()
            event = UnverifiedEvent.from_wire(text)
            values = {name: fields.get(name, getattr(event, name)) for name in event.__struct_fields__}
            await client.ws.send(f'["EVENT","{sub_id}",{UnverifiedEvent(**values).to_json()}]')

    return script


# The floods end after a while, for in a test they come from the loop that must also withstand them.
async def auth_loop(client):
    for n in range(1_000):
        await client.say("AUTH", f"challenge {n}")


async def long_auth(client):
    for _ in range(1_000):
        await client.say("AUTH", "c" * 10_000)


async def notice_flood(client):
    for _ in range(1_000):
        await client.say("NOTICE", "\x1b[31m" * 100)


async def huge_frames(client):
    for _ in range(3):
        await client.ws.send("[" * 5_000_000)


async def large_frames(client):
    for _ in range(20):
        await client.ws.send("[" * 500_000)


async def endless_eose(client):
    sub_id = (await client.hear("REQ"))[1]
    for _ in range(1_000):
        await client.say("EOSE", sub_id)


async def garbage(client):
    for n in range(1_000):
        await client.ws.send(bytes([n % 256] * n))


async def deep_nesting(client):
    for _ in range(50):
        await client.ws.send("[" * 100_000)


async def closed_loop(client):
    while True:
        await client.say("CLOSED", (await client.hear("REQ"))[1], "error: go away")


async def silence(client):
    await client.hear("never")


EVIL = [
    wrong_subscription,
    foreign_events,
    altered(id="ab" * 32),
    altered(sig="ab" * 64),
    altered(pubkey="ab" * 32),
    altered(content="altered"),
    auth_loop,
    long_auth,
    notice_flood,
    huge_frames,
    large_frames,
    endless_eose,
    garbage,
    deep_nesting,
    closed_loop,
    silence,
]
BLAMELESS = {closed_loop, silence}


@pytest.mark.parametrize("script", EVIL, ids=lambda script: script.__name__)
async def test_an_evil_relay_delivers_nothing_and_the_good_one_beside_it_everything(script):
    events = [signed(str(n)) for n in range(20)]
    async with (
        LocalRelay() as good,
        ScriptedRelay(script) as evil,
        pooled(evil.url, good.url, keys=KEYS) as (pool, received),
    ):
        await pool.wait_connected(1)
        await until(lambda: evil.connections >= 1)
        for event in events:
            await plant(good, event)
        await until(lambda: len(received) == len(events))
        if script not in BLAMELESS:
            await until(lambda: pool.status()[0].misbehaviour > 0 or evil.connections > 1)
        assert (await pool.publish(signed(), [good.url]))[good.url].is_accepted
    assert {item.url for item in received} == {good.url}
    assert {item.event.pubkey for item in received} == {KEYS.public_key}


async def test_an_evil_relay_cannot_announce_that_another_has_caught_up():
    async with LocalRelay() as good, ScriptedRelay(endless_eose) as evil, FaultProxy(good.url) as proxy:
        proxy.stall()
        async with pooled(evil.url, proxy.url) as (pool, _):
            assert await pool.wait_caught_up("jobs") == {evil.url}
            await pool._hearing.heard(pool._connections[evil.url], CaughtUp("nobody asked"))
            proxy.pass_on()
            await until(lambda: pool.status()[1].state is RelayState.CONNECTED)
