"""On a real socket: too large a head or body is refused with a sentence, what is just within is served."""

import asyncio
import contextlib
import json

import pytest
from fastapi import FastAPI, Request

from timmy_dvm.http.limits import Limits
from timmy_dvm.http.server import Gate, bind, make_server

TIMEOUT_S = 20
HEADER_BYTES = 1_000
BODY_BYTES = 100
HEAD_REFUSAL = {"error": "The head may have 1000 bytes.", "code": "head_too_large", "trust_tier": "anonymous"}
BODY_REFUSAL = {"error": "The body may have 100 bytes.", "code": "body_too_large", "trust_tier": "anonymous"}


def routes(read):
    """An application: each route says how many bytes of body it saw; ``read`` notes what came through."""
    app = FastAPI()

    @app.post("/counted")
    async def counted(request: Request):
        read.append(len(await request.body()))
        return read[-1]

    @app.post("/parsed")
    async def parsed(words: list[str]):
        read.append(len(words))
        return read[-1]

    @app.post("/unread")
    async def unread():
        read.append(0)
        return 0

    return app


class Client:
    """One connection, raw bytes both ways."""

    def __init__(self, port):
        self._port = port
        self.read = []

    async def __aenter__(self):
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_):
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def asks(self, head, *bodies):
        """Send a request; the status, the headers and the JSON of the answer."""
        self._writer.write(head)
        for body in bodies:
            self._writer.write(body)
        async with asyncio.timeout(TIMEOUT_S):
            await self._writer.drain()
            answer = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            status, *lines = answer.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = await self._reader.readexactly(int(headers["content-length"]))
        return int(status.split()[1]), headers, json.loads(body)

    async def is_hung_up_on(self):
        async with asyncio.timeout(TIMEOUT_S):
            with contextlib.suppress(ConnectionError):
                while await self._reader.read(1_000):
                    pass


@contextlib.asynccontextmanager
async def serving():
    read, listening = [], bind("127.0.0.1", 0)
    limits = Limits(routes(read), header_bytes=HEADER_BYTES, body_bytes=BODY_BYTES)
    # As large a buffer as uvicorn's own: what is under test is the layer, not how much one read may bring.
    server = make_server(limits, Gate(read_s=600, connections=10, per_address=10), header_bytes=65_536)
    running = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        async with Client(listening.getsockname()[1]) as client:
            client.read = read
            yield client
    finally:
        server.should_exit = True
        async with asyncio.timeout(TIMEOUT_S):
            await running
        listening.close()


def posted(path, *headers):
    lines = [f"POST {path} HTTP/1.1", "host: timmy", "content-type: application/json", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunked(*parts):
    """Bodies as they come without a length told before."""
    return [b"%x\r\n%s\r\n" % (len(part), part) for part in parts] + [b"0\r\n\r\n"]


def head_of(count):
    """A request whose header names and values come to so many bytes."""
    names = "hosttimmycontent-typeapplication/jsoncontent-length0x"
    return posted("/unread", "content-length: 0", f"x: {'y' * (count - len(names))}")


async def test_a_head_may_have_so_many_bytes_and_not_one_more():
    async with serving() as client:
        assert (await client.asks(head_of(HEADER_BYTES)))[0] == 200
        status, headers, answer = await client.asks(head_of(HEADER_BYTES + 1))
        assert (status, answer, headers["connection"]) == (431, HEAD_REFUSAL, "close")
        await client.is_hung_up_on()
        assert client.read == [0]


async def test_an_address_may_have_as_many_bytes_as_a_head_and_not_one_more():
    async with serving() as client:
        path = "/unread?" + "a" * (HEADER_BYTES - len("/unread?"))
        assert (await client.asks(posted(path, "content-length: 0")))[0] == 200
        status, headers, answer = await client.asks(posted(f"{path}a", "content-length: 0"))
        assert (status, answer["code"], headers["connection"]) == (414, "address_too_long", "close")
        assert answer["error"] == "The address may have 1000 bytes."
        assert client.read == [0]


async def test_many_small_headers_are_as_large_as_one():
    async with serving() as client:
        many = [f"x-{number}: {'y' * 10}" for number in range(100)]
        status, _, answer = await client.asks(posted("/unread", "content-length: 0", *many))
        assert (status, answer) == (431, HEAD_REFUSAL)
        assert client.read == []


@pytest.mark.parametrize("length", [0, 1, BODY_BYTES])
async def test_a_body_within_its_bound_is_read_whole(length):
    async with serving() as client:
        told = await client.asks(posted("/counted", f"content-length: {length}"), b"x" * length)
        assert (told[0], told[2]) == (200, length)
        untold = await client.asks(posted("/counted", "transfer-encoding: chunked"), *chunked(*[b"x"] * length))
        assert (untold[0], untold[2]) == (200, length)
        assert client.read == [length, length]


@pytest.mark.parametrize("path", ["/counted", "/parsed", "/unread", "/nowhere"])
@pytest.mark.parametrize("length", [str(BODY_BYTES + 1), "9" * 20, f"{'0' * 17}101"])
async def test_a_body_that_tells_a_length_beyond_its_bound_is_refused_before_it_comes(path, length):
    """JOB-05."""
    async with serving() as client:
        status, headers, answer = await client.asks(posted(path, f"content-length: {length}"))
        assert (status, answer, headers["connection"]) == (413, BODY_REFUSAL, "close")
        await client.is_hung_up_on()
        assert client.read == []


@pytest.mark.parametrize("path", ["/counted", "/parsed"])
@pytest.mark.parametrize("parts", [[b"x" * 101], [b"x" * 60, b"x" * 41], [b"x"] * 101, [b'["a"]', b" " * 5_000]])
async def test_a_body_that_grows_beyond_its_bound_is_refused_in_the_same_words(path, parts):
    """Whatever the route makes of a body that breaks off: its own error must not be the answer."""
    async with serving() as client:
        head = posted(path, "transfer-encoding: chunked")
        status, headers, answer = await client.asks(head, *chunked(*parts))
        assert (status, answer, headers["connection"]) == (413, BODY_REFUSAL, "close")
        assert client.read == []


async def test_a_body_without_end_is_refused_while_it_comes():
    async with serving() as client:
        endless = chunked(*[b"x" * 50] * 10)[:-1]
        status, _, answer = await client.asks(posted("/counted", "transfer-encoding: chunked"), *endless)
        assert (status, answer) == (413, BODY_REFUSAL)
        await client.is_hung_up_on()


async def test_after_a_refusal_others_are_served():
    async with serving() as client:
        await client.asks(posted("/counted", "content-length: 101"))
        async with Client(client._port) as another:
            assert (await another.asks(posted("/counted", "content-length: 3"), b"abc"))[2] == 3


async def run(app, scope, *messages):
    """Call the layer by hand: what it sends."""
    sent, waiting = [], list(messages)

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    await Limits(app, header_bytes=HEADER_BYTES, body_bytes=BODY_BYTES)(scope, receive, send)
    return sent


def part(length, *, more):
    return {"type": "http.request", "body": b"x" * length, "more_body": more}


async def test_an_answer_that_has_begun_is_not_begun_again():
    async def early(_scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["more_body"]:
            pass

    sent = await run(early, {"type": "http", "headers": []}, part(60, more=True), part(60, more=False))
    assert [message.get("status") for message in sent] == [200]


async def test_a_route_that_hides_the_error_does_not_answer_twice():
    async def hides(_scope, receive, send):
        with contextlib.suppress(Exception):
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    sent = await run(hides, {"type": "http", "headers": []}, part(101, more=False))
    assert [message["status"] for message in sent if "status" in message] == [413]
    assert json.loads(sent[-1]["body"]) == BODY_REFUSAL


async def test_errors_that_are_none_of_ours_pass():
    async def breaks(*_):
        raise LookupError("a fault of the routes")

    with pytest.raises(LookupError, match="of the routes"):
        await run(breaks, {"type": "http", "headers": []})


async def test_what_is_no_http_request_passes_untouched():
    async def seen(scope, _receive, send):
        await send(scope)

    scope = {"type": "lifespan"}
    assert await run(seen, scope) == [scope]


@pytest.mark.parametrize("length", [b"", b"-1", b"ten", "²".encode("latin-1")])
async def test_a_length_that_is_none_is_refused(length):
    async def never(*_):
        raise AssertionError("served")

    sent = await run(never, {"type": "http", "headers": [(b"content-length", length)]})
    assert sent[0]["status"] == 413


async def test_who_sends_a_whole_body_before_listening_still_reads_why_it_was_refused():
    """Else what is left unread breaks the connection, and the sentence with it."""
    size = 200_000  # more than the buffers of two sockets and of uvicorn hold unread
    async with serving() as client:
        status, headers, refusal = await client.asks(posted("/counted", f"content-length: {size}"), b"x" * size)
        assert (status, refusal, headers["connection"]) == (413, BODY_REFUSAL, "close")
        async with asyncio.timeout(TIMEOUT_S):
            assert await client._reader.read() == b""  # an orderly end, not a reset
    async with serving() as client:
        status, _, refusal = await client.asks(
            posted("/counted", "transfer-encoding: chunked"), *chunked(*[b"x" * 20_000] * 10)
        )
        assert (status, refusal) == (413, BODY_REFUSAL)
        async with asyncio.timeout(TIMEOUT_S):
            assert await client._reader.read() == b""


async def test_a_body_that_was_announced_and_is_asked_for_is_refused_before_it_is_sent():
    async with serving() as client:
        status, _, refusal = await client.asks(
            posted("/counted", "content-length: 200000", "expect: 100-continue")
        )
    assert (status, refusal) == (413, BODY_REFUSAL)


@pytest.mark.parametrize("packed", ["gzip", "br", "gzip, identity"])
async def test_a_packed_body_is_not_unpacked_and_one_that_is_not_may_say_so(packed):
    """A few bytes can be made to unfold into megabytes."""
    async with serving() as client:
        lengths = ("content-length: 5",)
        assert (await client.asks(posted("/counted", *lengths, "content-encoding: identity"), b'["x"]'))[0] == 200
        status, _, answer = await client.asks(
            posted("/counted", *lengths, f"content-encoding: {packed}"), b'["x"]'
        )
        assert (status, answer["code"], client.read) == (415, "packed_body", [5])
