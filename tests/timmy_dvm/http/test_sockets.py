"""WebSockets under those who mean no good: too large, too many, silent, deaf, or with endless pieces."""

import asyncio
import contextlib
import struct

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.timmy_dvm.http.watching import TIMEOUT_S, frames_until, hears_nothing_more, served
from tests.timmy_dvm.world.shop import turns
from timmy_dvm.http.sockets import MAX_FRAME_BYTES
from timmy_dvm.world.frames import Said

HANDSHAKE = (
    b"GET /api/ws HTTP/1.1\r\nhost: timmy\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame(opcode, payload=b"", *, fin=True):
    """A client's frame with a mask of zeros."""
    head = bytes([(0x80 if fin else 0) | opcode])
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return head + length + bytes(4) + payload


@contextlib.asynccontextmanager
async def raw(house):
    """A connection on which a test writes bytes, upgraded already."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    try:
        writer.write(HANDSHAKE)
        async with asyncio.timeout(TIMEOUT_S):
            assert b"101" in await reader.readuntil(b"\r\n\r\n")
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def is_hung_up_on(reader):
    async with asyncio.timeout(TIMEOUT_S):
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                pass


async def gone(house):
    """Nobody looks on, and no connection is counted any more."""
    await house.until(lambda: not len(house.shop.watchers) and not house.gate._counts.total())


async def test_a_frame_that_is_too_large_ends_the_connection():
    async with served() as house, house.look_on() as anne:
        await frames_until(anne, "world_state")
        await anne.send("x" * MAX_FRAME_BYTES)
        await anne.send("x" * (MAX_FRAME_BYTES + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await hears_nothing_more(anne)
        assert closed.value.rcvd.code == 1009
        await gone(house)


async def test_many_small_pieces_are_no_way_around_that():
    async with served() as house, raw(house) as (reader, writer):
        writer.write(frame(1, b"x", fin=False) + 10_000 * frame(0, b"", fin=False))
        await is_hung_up_on(reader)
        await gone(house)


@pytest.mark.parametrize(
    "said",
    [frame(3), frame(15, b"x"), frame(0, b"x"), frame(1, b"\xff\xfe"), b"\x81\x05hello", b"\xf1\x80" + bytes(4),
     frame(9, b"x", fin=False), frame(8, b"x"), b"\x81\xff" + b"\xff" * 12, b"GET / HTTP/1.1\r\n\r\n"],
)  # fmt: skip
async def test_what_is_no_websocket_ends_the_connection(said):
    async with served() as house, raw(house) as (reader, writer):
        writer.write(said)
        await is_hung_up_on(reader)
        await gone(house)


async def test_pings_that_nobody_reads_the_answers_to_fill_no_memory():
    async with served() as house, raw(house) as (_, writer):
        pings = 2_000 * frame(9, bytes(125))
        async with asyncio.timeout(TIMEOUT_S):
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(pings)
                    await writer.drain()
        await gone(house)


async def test_who_does_not_read_is_cut_off_and_the_others_hear_all():
    async with served() as house, raw(house), house.look_on(max_queue=None) as bob:
        await frames_until(bob, "world_state")
        assert len(house.shop.watchers) == 2
        async with asyncio.timeout(TIMEOUT_S):
            while len(house.shop.watchers) == 2:
                house.shop.workshop.tell(Said(agent_id="timmy", text="x" * 60_000))
                await bob.recv()
        await house.until(lambda: house.gate._counts.total() == 1)


async def test_a_websocket_counts_as_a_connection_of_its_address():
    async with served(per_address=2) as house, house.look_on() as anne, house.look_on():
        with pytest.raises((InvalidHandshake, ConnectionError, EOFError)):
            async with house.look_on():
                pass
        await frames_until(anne, "world_state")
        await anne.close()
        await house.until(lambda: house.gate._counts.total() == 1)
        async with house.look_on() as again:
            await frames_until(again, "world_state")


async def test_the_deadline_of_requests_does_not_cut_a_websocket():
    async with served(read_s=0.2) as house, house.look_on() as anne, raw(house) as (reader, _):
        waiting = asyncio.open_connection("127.0.0.1", house.port)
        silent, writer = await waiting
        await is_hung_up_on(silent)  # a request that does not come has its deadline
        writer.close()
        house.shop.workshop.tell(Said(agent_id="timmy", text="still here?"))
        assert (await frames_until(anne, "chat"))[-1]["text"] == "still here?"
        async with asyncio.timeout(TIMEOUT_S):
            await reader.readuntil(b"still here?")


async def test_a_thousand_that_come_at_once_are_bounded_and_who_was_there_stays():
    async with served(per_address=40, at_most=20) as house, house.look_on() as anne:
        await frames_until(anne, "world_state")
        held, most = [], 0
        for _ in range(10):
            coming = [asyncio.open_connection("127.0.0.1", house.port) for _ in range(100)]
            for reader, writer in await asyncio.gather(*coming):
                writer.write(HANDSHAKE)
                held.append((reader, writer))
            await turns(50)
            most = max(most, len(house.shop.watchers), house.gate._counts.total())
            assert len(house.shop.watchers) <= 20
        assert most <= 140  # those of the last hundred that are being hung up on
        house.shop.workshop.tell(Said(agent_id="timmy", text="all well?"))
        assert (await frames_until(anne, "chat"))[-1]["text"] == "all well?"
        for _, writer in held:
            writer.transport.abort()
        await house.until(lambda: len(house.shop.watchers) == 1)


async def test_who_is_there_when_the_server_stops_is_told():
    async with served() as house:
        anne = await house.look_on()
        await frames_until(anne, "world_state")
    with pytest.raises(ConnectionClosed):
        await hears_nothing_more(anne)
