"""A Workshop with a whole Timmy behind it, on a manual clock: what watchers are told, as parsed frames."""

import asyncio
import contextlib
import json

from ledger.money import msats_from_sats
from tests.flows.house import BTC, a_house
from timmy_dvm.agent.runner import Answer, Usage
from timmy_dvm.clock import SeededRandomness
from timmy_dvm.core.policy import Policy
from timmy_dvm.free_answers import FreeAnswers
from timmy_dvm.prices import FixedPrice
from timmy_dvm.world.chat import Chat
from timmy_dvm.world.diary import Diary
from timmy_dvm.world.scene import Scene
from timmy_dvm.world.watchers import Watchers
from timmy_dvm.world.workshop import Workshop

ANNE, BOB = "192.0.2.1", "192.0.2.2"
CLEAR, SEALED = '{"door":"nostr","scheme":"none"}', '{"door":"nostr","scheme":"nip44"}'


class Script:
    """Thinks of replies as a test says: a text, or an error."""

    def __init__(self, *replies):
        self.replies = list(replies) or ["Hello to you."]
        self.heard = []
        self.may = asyncio.Event()
        self.may.set()

    async def talk(self, said):
        self.heard.append(said)
        await self.may.wait()
        reply = self.replies[(len(self.heard) - 1) % len(self.replies)]
        if isinstance(reply, BaseException):
            raise reply
        return Answer(reply, Usage("haiku", 1, 1), truncated=False)


class Shop:
    def __init__(self, house, talker=None, *, at_most=20, limit_sats=100):
        self.house, self.clock, self.store = house, house.clock, house.store
        self.diary = Diary(house.store, house.clock)
        self.scene = Scene(b"salt")
        self.watchers = Watchers(at_most)
        self.workshop = Workshop(self.scene, self.watchers, self.diary, house.clock)
        self.free = FreeAnswers(
            house.agent,
            house.store,
            house.engine,
            price_list=Policy().prices,
            btc=FixedPrice(BTC),
            clock=house.clock,
            randomness=SeededRandomness("free"),
            limit=msats_from_sats(limit_sats),
        )
        self.chat = Chat(self.workshop, talker or self.free, house.clock)
        house.engine.listen(self.workshop.committed)

    def watch(self, address=ANNE):
        """Somebody looks on; the snapshot is read already."""
        watcher = self.workshop.join(address)
        told(watcher)
        return watcher


@contextlib.asynccontextmanager
async def a_shop(talker=None, *, at_most=20, limit_sats=100, **parts):
    async with a_house(**parts) as house:
        shop = Shop(house, talker, at_most=at_most, limit_sats=limit_sats)
        running = asyncio.create_task(shop.workshop.run())
        try:
            yield shop
        finally:
            running.cancel()
            await shop.chat.aclose()
            await shop.free.settled()


def told(watcher):
    """What waits for a watcher, taken out."""
    queue = watcher._queue
    return [json.loads(queue.get_nowait()) for _ in range(queue.qsize())]


async def turns(count=30):
    for _ in range(count):
        await asyncio.sleep(0)


def short(frames):
    """Frames as a line each: the type and what matters."""
    lines = []
    for frame in frames:
        match frame["type"]:
            case "agent_state":
                lines.append(f"{frame['agentId']}={frame['state']}")
            case "chat":
                lines.append(f"{frame['agentId']}: {frame['text']}")
            case "world_event":
                lines.append(f"({frame['event']})")
            case "parcel":
                lines.append(f"parcel {frame['at']} {frame['how']}")
            case other:
                lines.append(other)
    return lines
