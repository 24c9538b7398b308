"""The server on a real socket, and clients that hold on to it: silent, slow, too many, or with too much to say."""

import asyncio
import contextlib
import json
import socket

import pytest
from fastapi import FastAPI

from timmy_dvm.config import ConfigError
from timmy_dvm.http.server import Gate, bind, make_server

TIMEOUT_S = 20
LONG_S = 600
SHORT_S = 0.2
REQUEST = b"GET / HTTP/1.1\r\nhost: timmy\r\n\r\n"


class House:
    """A served application of two routes: one answers at once, one when it is let."""

    def __init__(self, port):
        self.port = port
        self.entered = asyncio.Event()
        self.let = asyncio.Event()

    @contextlib.asynccontextmanager
    async def client(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


class Client:
    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer

    async def sends(self, data):
        self._writer.write(data)
        await self._writer.drain()

    async def reads(self):
        """The status and the body of one answer; a body without a length ends with the connection."""
        async with asyncio.timeout(TIMEOUT_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            _, _, length = head.partition("content-length: ")
            body = self._reader.readexactly(int(length.split("\r\n")[0])) if length else self._reader.read()
            return int(head.split()[1]), await body

    async def is_hung_up_on(self):
        """Wait until the other side ends the connection, with or without a word."""
        async with asyncio.timeout(TIMEOUT_S):
            with contextlib.suppress(ConnectionError):
                while await self._reader.read(1_000):
                    pass


@contextlib.asynccontextmanager
async def serving(*, read_s=LONG_S, connections=100, per_address=10, wait_s=SHORT_S, header_bytes=8_192):
    listening = bind("127.0.0.1", 0)
    house = House(listening.getsockname()[1])
    app = FastAPI()

    @app.get("/")
    async def hello():
        return "hello"

    @app.get("/slow")
    async def slow():
        house.entered.set()
        await house.let.wait()
        return "at last"

    gate = Gate(read_s=read_s, connections=connections, per_address=per_address, wait_s=wait_s)
    server = make_server(app, gate, header_bytes=header_bytes)
    task = asyncio.create_task(server.serve([listening]))
    try:
        yield house
    finally:
        server.should_exit = True
        await task
        listening.close()


async def test_one_connection_carries_many_requests():
    async with serving() as house, house.client() as client:
        for _ in range(3):
            await client.sends(REQUEST)
            assert await client.reads() == (200, b'"hello"')


@pytest.mark.parametrize("said", [b"", b"GET / HTT", REQUEST[:-2]])
async def test_whoever_does_not_finish_a_request_is_hung_up_on(said):
    async with serving(read_s=SHORT_S) as house, house.client() as client:
        await client.sends(said)
        await client.is_hung_up_on()


async def test_a_body_that_never_ends_is_not_waited_for():
    async with serving(read_s=SHORT_S) as house, house.client() as client:
        await client.sends(b"POST / HTTP/1.1\r\nhost: timmy\r\ncontent-length: 9\r\n\r\nhalf")
        await client.is_hung_up_on()


@pytest.mark.parametrize("said", [b"G", REQUEST[:-2]])
async def test_a_second_request_has_no_more_time_than_the_first(said):
    """The first one being complete must not stop the watch over the next."""
    async with serving(read_s=SHORT_S) as house, house.client() as client:
        await client.sends(REQUEST)
        assert await client.reads() == (200, b'"hello"')
        await client.sends(said)
        await client.is_hung_up_on()


async def test_a_slow_answer_is_our_affair_and_not_the_clients():
    async with serving(read_s=SHORT_S) as house, house.client() as client, house.client() as idle:
        await client.sends(b"GET /slow HTTP/1.1\r\nhost: timmy\r\n\r\n")
        async with asyncio.timeout(TIMEOUT_S):
            await house.entered.wait()
        # Whoever came later and said nothing has been hung up on: our own time is over too, if it counted.
        await idle.is_hung_up_on()
        house.let.set()
        assert await client.reads() == (200, b'"at last"')


async def test_pipelined_requests_are_answered_each_in_turn_and_a_slow_answer_is_not_cut_short():
    async with serving(read_s=SHORT_S) as house, house.client() as client:
        await client.sends(REQUEST + b"GET /slow HTTP/1.1\r\nhost: timmy\r\n\r\n")
        assert await client.reads() == (200, b'"hello"')
        async with asyncio.timeout(TIMEOUT_S), house.client() as idle:
            await house.entered.wait()
            await idle.is_hung_up_on()
        house.let.set()
        assert await client.reads() == (200, b'"at last"')


async def test_one_address_may_hold_so_many_connections_and_no_more():
    async with serving(per_address=2) as house, house.client() as first, house.client() as second:
        for client in (first, second):
            await client.sends(REQUEST)
            assert (await client.reads())[0] == 200
        async with house.client() as third:
            await third.is_hung_up_on()
        await first.sends(REQUEST)
        assert (await first.reads())[0] == 200


async def test_twenty_that_ask_at_once_are_served_ten_at_a_time():
    """SES-21 asks for as many in parallel: none of them is hung up on."""
    async with serving(wait_s=LONG_S) as house, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(house.client()) for _ in range(20)]
        for client in clients:
            await client.sends(b"GET /slow HTTP/1.1\r\nhost: timmy\r\n\r\n")
        async with asyncio.timeout(TIMEOUT_S):
            await house.entered.wait()
        async with house.client() as one_too_many:
            await one_too_many.is_hung_up_on()
        house.let.set()
        assert [await client.reads() for client in clients] == 20 * [(200, b'"at last"')]


async def test_while_nobody_waits_an_answered_connection_stays():
    async with serving(per_address=1, wait_s=LONG_S) as house, house.client() as first:
        await first.sends(REQUEST)
        assert (await first.reads())[0] == 200
        await first.sends(REQUEST)
        assert (await first.reads())[0] == 200
        async with house.client() as second:
            await second.sends(REQUEST)
            await first.sends(REQUEST)
            assert (await first.reads())[0] == 200
            await first.is_hung_up_on()
            assert (await second.reads())[0] == 200


def test_who_waits_before_the_gate_is_let_in_by_one_of_its_own_address_and_in_turn():
    gate, said = Gate(read_s=1, connections=3, per_address=1), []
    waiting = {name: lambda name=name: said.append(name) for name in ("a2", "b2", "a3")}
    assert gate.enter("a")
    assert gate.enter("b")
    assert gate.waits("a", waiting["a2"])
    assert gate.waits("b", waiting["b2"])
    assert not gate.waits("a", waiting["a3"]), "as many may wait as may be in"
    assert gate.is_wanted("a")
    gate.leave("a")
    assert (said, gate.is_wanted("a"), gate.is_wanted("b")) == (["a2"], False, True)
    gate.gives_up(waiting["b2"])
    gate.leave("b")
    assert said == ["a2"]


def crowd_at(gate, held):
    """Callbacks of connections of an address: one that waits is let in, one that is silent is hung up on."""

    def let_in(address):
        return lambda: held.append(address) if gate.enter(address) else None

    def hang_up(address):
        def leave():
            held.remove(address)
            gate.leave(address)

        return leave

    return let_in, hang_up


def test_the_place_that_a_silent_connection_leaves_is_the_newcomers_and_nobody_elses():
    """Else who waits takes it too, and there are more connections than there may be."""
    gate, held = Gate(read_s=1, connections=2, per_address=1), ["a", "b"]
    let_in, hang_up = crowd_at(gate, held)
    assert gate.enter("a")
    assert gate.enter("b")
    assert gate.waits("a", let_in("a"))
    gate.idles(hang_up("a"))
    assert gate.enter("c")
    assert held == ["b"]
    gate.leave("b")
    assert held == ["b", "a"], "the next place is for who waits"


def test_where_all_places_are_taken_who_waits_is_let_in_by_whoever_leaves():
    gate, held = Gate(read_s=1, connections=2, per_address=2), []
    let_in, _ = crowd_at(gate, held)
    assert gate.enter("a")
    assert gate.enter("a")
    assert not gate.enter("b")
    assert gate.waits("b", let_in("b"))
    assert gate.is_wanted("a"), "an answered connection of another address makes room as well"
    gate.leave("a")
    assert held == ["b"]
    assert not gate.is_wanted("a")


def test_who_waited_and_is_gone_keeps_nobody_behind_it_out():
    gate, held = Gate(read_s=1, connections=2, per_address=2), []
    let_in, _ = crowd_at(gate, held)
    assert gate.enter("a")
    assert gate.enter("a")
    assert gate.waits("a", lambda: None)
    assert gate.waits("a", let_in("a"))
    gate.leave("a")
    assert held == ["a"]


def test_behind_a_proxy_nobody_waits_before_the_gate():
    assert not Gate(read_s=1, connections=1, per_address=1, bucket=lambda _: None).waits("proxy", list)


async def test_who_is_one_too_many_hears_why_and_when_to_come_back():
    """Also who has sent a request already, and who comes when all places are taken by others that are served."""
    async with serving(per_address=1) as house, house.client() as first, house.client() as second:
        await second.sends(REQUEST)
        status, body = await second.reads()
        assert (status, json.loads(body)["code"]) == (429, "too_many_connections")
        assert json.loads(body)["retryAfterSeconds"] > 0
        await second.is_hung_up_on()
        await first.sends(REQUEST)
        assert (await first.reads())[0] == 200
    async with serving(connections=1) as house, house.client() as first:
        await first.sends(REQUEST.replace(b"/", b"/slow", 1))
        await house.entered.wait()
        async with house.client() as second:
            status, body = await second.reads()
            assert (status, json.loads(body)["code"]) == (503, "busy")
        house.let.set()
        assert (await first.reads())[0] == 200


def test_in_a_flood_only_so_many_are_told_why():
    gate = Gate(read_s=1, connections=1, per_address=1)
    assert [gate.parts() for _ in range(21)] == [True] * 20 + [False]
    gate.parted()
    assert gate.parts()


def test_a_connection_that_is_gone_makes_room_for_its_own_address_and_for_all():
    gate = Gate(read_s=1, connections=2, per_address=1)
    assert gate.enter("a")
    assert not gate.enter("a")
    assert gate.enter("b")
    assert not gate.enter("c")
    gate.leave("a")
    assert gate.enter("c")
    assert not gate.enter("a")


def test_a_whole_network_counts_as_one_address_and_a_proxy_holds_the_connections_of_many():
    buckets = {"v6 a": "v6", "v6 b": "v6", "proxy": None, "c": "c"}
    gate = Gate(read_s=1, connections=4, per_address=1, bucket=buckets.get)
    assert gate.enter("v6 a")
    assert not gate.enter("v6 b")
    assert [gate.enter("proxy") for _ in range(4)] == [True, True, True, False]
    gate.leave("proxy")
    assert gate.enter("c")
    assert not gate.enter("proxy")
    gate.leave("v6 a")
    assert gate.enter("v6 b")


def test_where_all_places_are_taken_the_longest_silence_makes_room():
    gate = Gate(read_s=1, connections=2, per_address=1)
    gone = []

    def hanging_up(address):
        def hang_up():
            gone.append(address)
            gate.leave(address)

        return hang_up

    silent = {address: hanging_up(address) for address in "abcd"}
    for address in "ab":
        assert gate.enter(address)
        gate.idles(silent[address])
    gate.idles(silent["a"])  # it was answered, and waits anew: now b has been silent for longer
    assert gate.enter("c")
    assert gone == ["b"]
    gate.works(silent["a"])
    assert not gate.enter("d"), "nobody is silent: what is being served is not cut short"
    assert gone == ["b"]


async def test_a_head_that_is_too_long_is_refused():
    async with serving(header_bytes=1_024) as house, house.client() as client:
        await client.sends(b"GET / HTTP/1.1\r\nhost: timmy\r\nx: " + b"x" * 2_000)
        await client.is_hung_up_on()
    async with serving(header_bytes=1_024) as house, house.client() as client:
        await client.sends(b"GET / HTTP/1.1\r\nhost: timmy\r\nx: " + b"x" * 500 + b"\r\n\r\n")
        assert (await client.reads())[0] == 200


async def test_what_is_no_http_is_answered_with_a_400_and_the_end():
    async with serving() as house, house.client() as client:
        await client.sends(b"\x16\x03\x01 hello\r\n\r\n")
        assert await client.reads() == (400, b"Invalid HTTP request received.")


def test_a_port_that_is_taken_is_found_out_at_once_and_the_sentence_names_the_key():
    with contextlib.closing(bind("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"http\.port: can't listen on 127\.0\.0\.1:{port}.*TIMMY_HTTP__PORT"
        ):
            bind("127.0.0.1", port)


def test_an_address_with_colons_is_ipv6():
    with contextlib.closing(bind("::1", 0)) as listening:
        assert listening.family is socket.AF_INET6
