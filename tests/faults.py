"""Trouble on the network, by name: a TCP proxy that can stall and cut, a relay with a script, dead ports."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Self
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


class FaultProxy:
    """A TCP proxy on a port of 127.0.0.1, in front of a server that knows nothing of it.

        async with FaultProxy(relay.url) as proxy:
            ...  # connect to proxy.url
            proxy.stall()

    `stall` makes every connection half-open: both ends believe in it, nothing passes. `pass_on` ends that, and
    what was held back arrives. `cut` resets all connections; `refuse` also turns away new ones until `accept`.
    `delay_s` is waited before each chunk.
    """

    def __init__(self, target_url: str, *, delay_s: float = 0.0) -> None:
        target = urlsplit(target_url)
        self._scheme = target.scheme
        self._target = (target.hostname or "127.0.0.1", target.port or 80)
        self.delay_s = delay_s
        self.port = 0
        self.connections = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def stall(self) -> None:
        self._flowing.clear()

    def pass_on(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def refuse(self) -> None:
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        self._refusing = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._refusing = True
        self._server.close()
        await _last_arrivals()
        self.cut()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        if self._refusing:
            writer.transport.abort()
            far_writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            pump = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(65_536):
                await self._flowing.wait()
                await asyncio.sleep(self.delay_s)
                sink.write(chunk)
                await sink.drain()
        self._writers.discard(sink)
        sink.close()


@contextlib.contextmanager
def refusing_port() -> Iterator[str]:
    """The URL of a port of our own on which nobody listens: who dials it is refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"ws://127.0.0.1:{bound.getsockname()[1]}"


@contextlib.asynccontextmanager
async def tarpit() -> AsyncIterator[str]:
    """The URL of a port where every connection is taken and nothing is ever said, not even a handshake."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await _last_arrivals()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


async def _last_arrivals() -> None:
    """Who was let in at the very moment of closing gets a transport a few turns of the loop later."""
    for _ in range(5):
        await asyncio.sleep(0)


Script = Callable[["Scripted"], Awaitable[None]]


class Scripted:
    """One client's connection, as a script for a relay sees it."""

    def __init__(self, ws: ServerConnection) -> None:
        self.ws = ws

    async def say(self, *message: object) -> None:
        """Send one message, as JSON."""
        await self.ws.send(msgspec.json.encode(message).decode())

    async def hear(self, name: str) -> list:
        """The next message of that name; others are skipped."""
        while True:
            message = msgspec.json.decode(await self.ws.recv(decode=False))
            if message[0] == name:
                return message


class ScriptedRelay:
    """A websocket server that does to each client what a script says, then keeps the connection open.

    async def says_hello(client):
        sub_id = (await client.hear("REQ"))[1]
        await client.say("NOTICE", "hello")

    async with ScriptedRelay(says_hello) as relay:
        ...  # relay.url, relay.connections
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self.connections = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await serve(self._serve, "127.0.0.1", 0, compression=None, close_timeout=0.2, max_size=None)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, ws: ServerConnection) -> None:
        self.connections += 1
        try:
            await self._script(Scripted(ws))
            await ws.wait_closed()
        except ConnectionClosed:
            pass


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait until the condition holds; TimeoutError if it does not in time."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.002)
