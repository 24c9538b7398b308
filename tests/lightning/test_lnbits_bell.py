"""When to look: after a push, after a gap, by the clock; and what a flood of pushes costs."""

import asyncio
import contextlib
import http
import logging

import pytest
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.http11 import Response

from lightning.lnbits_bell import FIRST_LOOK_S, LnbitsBell
from tests.lnbits_server import free_port

KEY = "0123456789abcdef0123456789abcdef"
NEVER = 600.0


class Channel:
    """LNbits' websocket, by hand."""

    def __init__(self) -> None:
        self.port = 0
        self.sockets: asyncio.Queue = asyncio.Queue()
        self.paths: list[str] = []

    async def __aenter__(self):
        self._server = await serve(self._take, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _take(self, socket) -> None:
        self.paths.append(socket.request.path)
        self.sockets.put_nowait(socket)
        await socket.wait_closed()

    def bell(self, **changes) -> LnbitsBell:
        uri = f"ws://127.0.0.1:{self.port}/api/v1/ws/{KEY}"
        return LnbitsBell(uri, None, **{"poll_s": NEVER, "idle_poll_s": NEVER, "backoff_s": 0.01, **changes})


async def looks_until_quiet(bell: LnbitsBell) -> None:
    """Drop what connecting rang."""
    bell._rung.clear()
    bell._in_doubt = False


@pytest.fixture
async def channel():
    async with Channel() as made:
        yield made


async def test_connecting_rings_for_what_was_missed(channel):
    async with asyncio.timeout(5), channel.bell() as bell:
        await bell.next_look(found=False)
    assert channel.paths == [f"/api/v1/ws/{KEY}"]


@pytest.mark.parametrize(
    "text", ['{"wallet_balance":1,"payment":{"amount":1000}}', "", "nonsense", "[" * 9_000, b"\xff"]
)
async def test_money_that_came_in_rings_and_so_does_what_cannot_be_read(channel, text):
    async with asyncio.timeout(5), channel.bell() as bell:
        socket = await channel.sockets.get()
        await bell.next_look(found=False)
        await looks_until_quiet(bell)
        await socket.send(text)
        await bell.next_look(found=True)


async def test_a_payment_of_our_own_does_not_ring(channel):
    async with asyncio.timeout(5), channel.bell() as bell:
        socket = await channel.sockets.get()
        await bell.next_look(found=False)
        await looks_until_quiet(bell)
        look = asyncio.create_task(bell.next_look(found=True))
        await socket.send('{"payment":{"amount":-1000}}')
        await (await socket.ping())  # it has been read by now
        assert not bell._rung.is_set()
        await socket.send('{"payment":{"amount":1000}}')
        await look


async def test_a_cut_push_comes_back_and_rings(channel):
    async with asyncio.timeout(5), channel.bell() as bell:
        for _ in range(3):
            socket = await channel.sockets.get()
            await bell.next_look(found=True)
            await socket.close()


async def test_a_cut_push_rings_though_nobody_is_there_to_come_back_to():
    """Whoever waits counted on the push; the clock of a wallet without push is the quicker one."""
    async with asyncio.timeout(5), contextlib.AsyncExitStack() as stack:
        channel = Channel()
        async with channel:
            bell = await stack.enter_async_context(channel.bell())
            await channel.sockets.get()
            await bell.next_look(found=False)
            await looks_until_quiet(bell)
            look = asyncio.create_task(bell.next_look(found=True))
            await asyncio.sleep(0)
        await look
        assert not bell._connected


async def test_a_message_too_long_only_costs_the_connection(channel):
    async with asyncio.timeout(5), channel.bell() as bell:
        socket = await channel.sockets.get()
        await socket.send("x" * 100_000)
        await channel.sockets.get()
        await bell.next_look(found=True)


async def test_without_anybody_there_it_looks_by_the_clock():
    uri = f"ws://127.0.0.1:{free_port()}/api/v1/ws/{KEY}"
    bell = LnbitsBell(uri, None, poll_s=0.01, idle_poll_s=NEVER, backoff_s=0.01)
    async with asyncio.timeout(5), bell:
        for _ in range(3):
            await bell.next_look(found=False)


async def test_closing_ends_the_wait(channel):
    async with asyncio.timeout(5), channel.bell() as bell:
        await channel.sockets.get()
        await bell.next_look(found=False)
        await looks_until_quiet(bell)
        look = asyncio.create_task(bell.next_look(found=True))
        await bell.aclose()
        await look
        assert bell.closed


async def test_a_redirect_is_not_followed():
    """The key is in the path: it is for our LNbits alone."""
    async with Channel() as elsewhere:
        tried = asyncio.Event()

        def away(_, request):
            tried.set()
            headers = Headers(Location=f"ws://127.0.0.1:{elsewhere.port}{request.path}")
            return Response(http.HTTPStatus.FOUND, "Found", headers)

        async with serve(lambda _: None, "127.0.0.1", 0, process_request=away) as server:
            port = server.sockets[0].getsockname()[1]
            uri = f"ws://127.0.0.1:{port}/api/v1/ws/{KEY}"
            async with asyncio.timeout(5), LnbitsBell(uri, None, poll_s=1, idle_poll_s=1, backoff_s=0.001):
                for _ in range(3):
                    tried.clear()
                    await tried.wait()
        assert elsewhere.paths == []


async def test_the_key_is_in_no_log(channel, caplog):
    caplog.set_level(logging.DEBUG)
    async with asyncio.timeout(5), channel.bell() as bell:
        socket = await channel.sockets.get()
        await socket.close()
        await channel.sockets.get()
        await bell.next_look(found=False)
    server_side = [record for record in caplog.records if not record.name.startswith("websockets.server")]
    assert KEY not in "".join(record.getMessage() for record in server_side)
    assert any("push is cut" in record.getMessage() for record in server_side)


class TestHowOften:
    """The waits asked for, without waiting: (for the bell or not, seconds)."""

    @pytest.fixture
    def waits(self, monkeypatch):
        asked: list[tuple[bool, float]] = []
        self.rings = True

        async def either(bell, event, seconds) -> bool:
            asked.append((event is not None, seconds))
            return event is not None and self.rings

        monkeypatch.setattr(LnbitsBell, "_either", either)
        return asked

    def bell(self):
        return LnbitsBell("ws://127.0.0.1:1/", None, poll_s=5.0, idle_poll_s=30.0, backoff_s=1.0)

    async def test_pushes_about_nothing_cost_less_and_less_down_to_polling(self, waits):
        bell = self.bell()
        for _ in range(40):
            await bell.next_look(found=False)
        pauses = [seconds for for_bell, seconds in waits if not for_bell]
        doubling = [FIRST_LOOK_S * 2**power for power in range(7)]
        assert pauses[:7] == pytest.approx(doubling)
        assert set(pauses[7:]) == {5.0}

    async def test_news_makes_it_quick_again(self, waits):
        bell = self.bell()
        for _ in range(12):
            await bell.next_look(found=False)
        await bell.next_look(found=True)
        assert waits[-1] == (False, FIRST_LOOK_S)

    async def test_quiet_makes_it_quick_again_too(self, waits):
        bell = self.bell()
        for _ in range(12):
            await bell.next_look(found=False)
        self.rings = False
        await bell.next_look(found=False)
        self.rings = True
        await bell.next_look(found=False)
        assert waits[-1] == (False, FIRST_LOOK_S)

    async def test_the_clock_is_slower_while_there_is_push(self, waits):
        bell = self.bell()
        self.rings = False
        await bell.next_look(found=False)
        bell._connected = True
        await bell.next_look(found=False)
        assert waits == [(True, 5.0), (True, 30.0)]
