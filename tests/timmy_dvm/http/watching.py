"""The Workshop on a real socket, for tests that look on with a real WebSocket client."""

import asyncio
import contextlib
import json

from fastapi import FastAPI
from websockets.asyncio.client import connect

from tests.timmy_dvm.world.shop import a_shop
from timmy_dvm.http import tower, world
from timmy_dvm.http.server import Gate, bind, make_server

TIMEOUT_S = 20
ALLOWED = "https://app.example"


class Served:
    def __init__(self, shop, port, gate):
        self.shop, self.port, self.gate = shop, port, gate
        self.base = f"http://127.0.0.1:{port}"

    def look_on(self, **more):
        return connect(f"ws://127.0.0.1:{self.port}/api/ws", proxy=None, open_timeout=TIMEOUT_S, **more)

    async def until(self, condition):
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def served(talker=None, *, read_s=600, connections=100, per_address=50, at_most=20, **parts):
    async with a_shop(talker, at_most=at_most, **parts) as shop:
        listening = bind("127.0.0.1", 0)
        app = FastAPI()
        app.include_router(
            world.routes(
                shop.workshop,
                shop.chat,
                shop.clock,
                address_of=lambda asking: asking.client.host,
                origins=frozenset({ALLOWED}),
            )
        )
        app.include_router(tower.routes())
        gate = Gate(read_s=read_s, connections=connections, per_address=per_address)
        server = make_server(app, gate, header_bytes=8_192)
        task = asyncio.create_task(server.serve([listening]))
        try:
            yield Served(shop, listening.getsockname()[1], gate)
        finally:
            server.should_exit = True
            await task
            listening.close()


async def frames_until(watcher, kind, **values):
    """What a watcher is told, up to the first frame of this type and these values."""
    frames, wanted = [], {"type": kind, **values}
    async with asyncio.timeout(TIMEOUT_S):
        while not frames or any(frames[-1].get(name) != value for name, value in wanted.items()):
            frames.append(json.loads(await watcher.recv()))
    return frames


async def hears_nothing_more(watcher):
    """Read until the connection ends."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            await watcher.recv()


async def says_too_much(watcher):
    """Send frames until the connection ends."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            await watcher.send("{}")
            await asyncio.sleep(0)
