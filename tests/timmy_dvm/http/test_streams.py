"""Streams leave room for others: a bounded number is open at once, and each is counted out however it ends."""

import asyncio
import contextlib

import pytest

from tests.timmy_dvm.http.door import a_door
from timmy_dvm.http.streams import EventStream, Streams

TIMEOUT_S = 20


@pytest.mark.parametrize(("connections", "most"), [(100, 30), (10, 3), (1, 1)])
def test_three_tenths_of_all_connections_and_at_least_one(connections, most):
    assert Streams(connections).most == most


async def test_beyond_that_a_stream_is_refused_while_everything_else_is_served():
    """A door with room for one stream; who can't have one is told to look instead."""
    async with a_door(connections=4) as door:
        asked = await door.ask(pay="once")
        path = f"/api/jobs/{asked['jobId']}"
        following = asyncio.create_task(door.http.get(f"{path}/events"))
        await door.house.until(lambda: door.services.streams.open)
        refused = await door.http.get(f"{path}/events")
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
        assert refused.json()["retryAfterSeconds"] == int(refused.headers["retry-after"])
        assert (await door.http.get(path)).status_code == 200
        await door.pay(asked["evalInvoice"])
        async with asyncio.timeout(TIMEOUT_S):
            await following
        assert door.services.streams.open == 0
        assert (await door.http.get(f"{path}/events")).status_code == 200


async def test_one_that_breaks_or_is_hung_up_on_makes_room():
    streams = Streams(1)

    async def breaks():
        yield b"data: 1\n\n"
        raise ConnectionError

    async def never_ends():
        yield b"data: 1\n\n"
        await asyncio.Event().wait()

    async def hangs_up():
        return {"type": "http.disconnect"}

    async def hears(_):
        pass

    scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
    for events in (breaks, never_ends, never_ends):
        with contextlib.suppress(ConnectionError, ExceptionGroup):
            async with asyncio.timeout(TIMEOUT_S):
                await EventStream(events(), streams)(scope, hangs_up, hears)
        assert streams.open == 0
