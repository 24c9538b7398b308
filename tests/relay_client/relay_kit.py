"""The embedded relay as a plain client sees it."""

import contextlib
import json

from websockets.asyncio.client import connect

from relay_client.filter import Filter
from relay_client.local_relay import RelayLimits
from relay_client.wire import close_message, event_message, req_message
from tests.faults import Scripted

LIMITS = RelayLimits(subscriptions=2, filters=2, frame_bytes=20_000, connections=2, limit=3)
ALL = Filter()


@contextlib.asynccontextmanager
async def client_of(relay, **options):
    async with connect(relay.url, compression=None, max_size=None, close_timeout=0.2, **options) as ws:
        yield Scripted(ws)


async def publish(client, event):
    """The relay's answer to an event: accepted, and its words."""
    await client.ws.send(event_message(event))
    _, event_id, accepted, words = await client.hear("OK")
    assert event_id == event.id
    return accepted, words


async def stored(client, *filters):
    """The ids of what the relay has stored, in the order it sends them."""
    await client.ws.send(req_message("q", filters or [ALL]))
    found = []
    while (message := json.loads(await client.ws.recv()))[0] == "EVENT":
        found.append(message[2]["id"])
    assert message == ["EOSE", "q"]
    await client.ws.send(close_message("q"))
    return found
