"""Scripts for evil relays, each with what a pool's status says of it afterwards.

The floods end after a while, for in a test they come from the loop that must also withstand them.
"""

import asyncio
from dataclasses import dataclass

from relay_client.event import UnverifiedEvent
from relay_client.keys import Keys
from tests.faults import Script
from tests.relay_client.kit import signed

STRANGER = Keys.from_bytes(b"\x02" * 32)


async def wrong_subscription(client):
    await client.hear("REQ")
    for n in range(100):
        await client.ws.send(f'["EVENT","nobody",{signed(str(n), keys=STRANGER).to_json()}]')


async def foreign_events(client):
    sub_id = (await client.hear("REQ"))[1]
    for n in range(100):
        await client.ws.send(f'["EVENT","{sub_id}",{signed(str(n), kind=7, keys=STRANGER).to_json()}]')


def altered(**fields):
    async def script(client):
        sub_id = (await client.hear("REQ"))[1]
        for n in range(30):
            event = UnverifiedEvent.from_wire(signed(str(n), keys=STRANGER).to_json())
            values = {name: fields.get(name, getattr(event, name)) for name in event.__struct_fields__}
            await client.ws.send(f'["EVENT","{sub_id}",{UnverifiedEvent(**values).to_json()}]')

    return script


async def half_events(client):
    sub_id = (await client.hear("REQ"))[1]
    for n in range(100):
        await client.say("EVENT", sub_id, {"id": "ab" * 32, "kind": n})


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


async def broken_protocol(client):
    client.ws.transport.write(b"\xff" * 1_000)


async def closed_loop(client):
    while True:
        await client.say("CLOSED", (await client.hear("REQ"))[1], "error: go away")


async def silence(client):
    await client.hear("never")


async def slow_drip(client):
    """One message that never ends, a byte at a time; pings are answered between its pieces."""

    async def pieces():
        while True:
            yield "["
            await asyncio.sleep(0.01)

    await client.ws.send(pieces())


async def slow_frame(client):
    """One frame that never ends, so that no pong can come either."""
    client.ws.transport.write(b"\x81\x7f" + (1_000_000).to_bytes(8, "big"))
    while True:
        client.ws.transport.write(b"[")
        await asyncio.sleep(0.01)


async def answers_to_nothing(client):
    for n in range(1_000):
        await client.say("OK", f"{n:064x}", True, "")


async def repetition(client):
    """The same true event, again and again."""
    sub_id = (await client.hear("REQ"))[1]
    text = signed("again", kind=5050, keys=STRANGER).to_json()
    for _ in range(2_000):
        await client.ws.send(f'["EVENT","{sub_id}",{text}]')


@dataclass(frozen=True)
class Evil:
    """A script, and the word for it in `RelayStatus.faults`; None where it is none."""

    name: str
    script: Script
    fault: str | None


EVILS = [
    Evil("wrong subscription", wrong_subscription, "unknown_subscription"),
    Evil("events that no filter asked for", foreign_events, "outside_filter"),
    Evil("false ids", altered(id="ab" * 32), "forged_event"),
    Evil("false signatures", altered(sig="ab" * 64), "forged_event"),
    Evil("false authors", altered(pubkey="ab" * 32), "forged_event"),
    Evil("altered contents", altered(content="altered"), "forged_event"),
    Evil("half events", half_events, "malformed_event"),
    Evil("AUTH loop", auth_loop, "auth_flood"),
    Evil("long AUTH", long_auth, "overlong_challenge"),
    Evil("NOTICE flood", notice_flood, "notice"),
    Evil("frames of 5 MB", huge_frames, "oversized_frame"),
    Evil("frames of 500 kB", large_frames, "oversized_frame"),
    Evil("endless EOSE", endless_eose, "repeated_eose"),
    Evil("garbage", garbage, "unreadable_frame"),
    Evil("deep nesting", deep_nesting, "unreadable_frame"),
    Evil("broken protocol", broken_protocol, "unreadable_frame"),
    Evil("silence", silence, "unanswered"),
    Evil("slow drip", slow_drip, "unanswered"),
    Evil("slow frame", slow_frame, "unanswered"),
    Evil("CLOSED loop", closed_loop, None),
    Evil("answers to nothing", answers_to_nothing, None),
    Evil("repetition", repetition, None),
]
