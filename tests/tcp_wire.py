"""A wire between a client and a server on loopback that a test can cut, in parts or whole."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class TcpWire:
    """Forwards connections to ``port``. What it does to one depends on how the requests on it begin."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = 0
        self.url = ""
        self.push_works = True
        self.lose_answers_to: bytes | None = None
        """Requests that begin so are carried out, and the connection then breaks in place of an answer."""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pushes: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Let connections through; again on the same port after `close`."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def close(self) -> None:
        """As if the other side were switched off: connections break, new ones are refused."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    def cut_push(self) -> None:
        """Break the websockets there are and let none through; other calls work."""
        self.push_works = False
        for writer in list(self._pushes):
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            first = await reader.read(65_536)
            if b"/api/v1/ws/" in first:
                if not self.push_works:
                    return
                self._pushes.add(writer)
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
            self._writers.add(back)
            lost = asyncio.Event()
            one = asyncio.create_task(self._ask(first, reader, back, lost))
            other = asyncio.create_task(_answer(there, writer, lost))
            await asyncio.wait((one, other), return_when=asyncio.FIRST_COMPLETED)
            for task in (one, other):
                task.cancel()
            await asyncio.gather(one, other, return_exceptions=True)
            back.close()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            self._pushes.discard(writer)
            writer.close()

    async def _ask(
        self, chunk: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        while chunk:
            if self.lose_answers_to is not None and chunk.startswith(self.lose_answers_to):
                lost.set()
            writer.write(chunk)
            await writer.drain()
            chunk = await reader.read(65_536)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
    while chunk := await reader.read(65_536):
        if lost.is_set():
            return
        writer.write(chunk)
        await writer.drain()


@asynccontextmanager
async def tcp_wire(port: int) -> AsyncIterator[TcpWire]:
    wire = TcpWire(port)
    await wire.open()
    try:
        yield wire
    finally:
        await wire.close()
