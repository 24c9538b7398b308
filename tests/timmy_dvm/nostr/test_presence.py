"""The Workshop on relays (WLD-10): word for word, no oftener than relays like, and never in anybody's way."""

import asyncio
import contextlib

import pytest

from tests.timmy_dvm.nostr.kit import NOW, TIMMY
from timmy_dvm.clock import ManualClock, SeededRandomness
from timmy_dvm.nostr.presence import (
    KIND_AGENT_STATE,
    KIND_WORLD_STATE,
    STATES_SAVED_UP,
    WORLD_EVERY_S,
    WORLD_LIFE_S,
    Presence,
)

FRAME = '{"type":"agent_state","agentId":"gamma","state":"working","doing":"thinks"}'
PICTURE = '{"type":"world_state","agents":[]}'


class Outlet:
    def __init__(self):
        self.has_room = True
        self.events = []

    async def publish_spare(self, event):
        self.events.append(event)

    def kinds(self):
        return [event.kind for event in self.events]


class World:
    def __init__(self):
        self.clock, self.outlet = ManualClock(NOW), Outlet()
        self.presence = Presence(self.outlet, lambda: PICTURE, TIMMY, self.clock, SeededRandomness(1))

    async def waits(self, seconds):
        await self.clock.advance(0)
        await self.clock.advance(seconds)


@pytest.fixture
async def world():
    made = World()
    running = asyncio.create_task(made.presence.run())
    await made.waits(0)
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_the_whole_picture_is_told_first_and_ends_by_itself(world):
    (event,) = world.outlet.events
    assert (event.kind, event.content, event.pubkey) == (KIND_WORLD_STATE, PICTURE, TIMMY.public_key)
    assert event.tags == (("d", "timmy-workshop"), ("expiration", str(NOW + WORLD_LIFE_S)))


async def test_who_works_is_told_at_once_as_watchers_hear_it(world):
    world.presence.hear(FRAME)
    await world.waits(0)
    event = world.outlet.events[-1]
    assert (event.kind, event.tags, event.content) == (KIND_AGENT_STATE, (), FRAME)
    assert 20_000 <= event.kind < 30_000  # ephemeral: nobody keeps it


async def test_the_picture_is_told_anew_once_a_minute_and_only_where_something_happened(world):
    await world.waits(10 * WORLD_EVERY_S)
    assert world.outlet.kinds() == [KIND_WORLD_STATE]
    world.presence.hear(FRAME)
    await world.waits(1)
    assert world.outlet.kinds().count(KIND_WORLD_STATE) == 2
    world.presence.hear(FRAME)
    await world.waits(WORLD_EVERY_S - 2)
    assert world.outlet.kinds().count(KIND_WORLD_STATE) == 2
    await world.waits(2)
    assert world.outlet.kinds().count(KIND_WORLD_STATE) == 3


async def test_a_storm_is_left_out(world):
    for _ in range(10_000):
        world.presence.hear(FRAME)
    await world.waits(0)
    assert world.outlet.kinds().count(KIND_AGENT_STATE) == STATES_SAVED_UP


async def test_nothing_is_told_while_what_must_arrive_is_on_its_way(world):
    world.outlet.has_room = False
    world.presence.hear(FRAME)
    await world.waits(2 * WORLD_EVERY_S)
    assert world.outlet.kinds() == [KIND_WORLD_STATE]
