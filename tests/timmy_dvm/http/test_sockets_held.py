"""Real sockets against the whole port: who holds connections does not hold up who pays (threat 28)."""

import asyncio
import contextlib
import json
import resource

import pytest

from tests.timmy_dvm.http.door import QUESTION, a_door
from timmy_dvm.http import identity
from timmy_dvm.http.limits import Limits
from timmy_dvm.http.server import Gate, bind, make_server

TIMEOUT_S = 60
LONG_S = 600
CROWD = 1_000
HEAD, BODY = 8_192, 65_536


@pytest.fixture(autouse=True)
def many_files():
    """Both ends of a thousand connections are ours here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * CROWD if hard == resource.RLIM_INFINITY else min(4 * CROWD, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.asynccontextmanager
async def serving(*, read_s=LONG_S, connections=100, per_address=10):
    """A door behind a real socket; yields it with its port."""
    async with asyncio.timeout(TIMEOUT_S), a_door(more=lambda services: [identity.routes(services)]) as door:
        listening = bind("127.0.0.1", 0)
        gate = Gate(read_s=read_s, connections=connections, per_address=per_address)
        server = make_server(Limits(door.app, header_bytes=HEAD, body_bytes=BODY), gate, header_bytes=HEAD)
        task = asyncio.create_task(server.serve([listening]))
        try:
            yield door, listening.getsockname()[1]
        finally:
            server.should_exit = True
            await task
            listening.close()


@contextlib.asynccontextmanager
async def connected(port, address="127.0.0.1"):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def a_crowd(port, addresses, begun=b""):
    """A thousand connections that ask for nothing whole, from so many addresses."""
    async with contextlib.AsyncExitStack() as stack:
        for first in range(0, CROWD, 100):
            numbers = range(first, first + 100)
            opening = (stack.enter_async_context(connected(port, f"127.0.{1 + n % addresses}.1")) for n in numbers)
            for _, writer in await asyncio.gather(*opening):
                with contextlib.suppress(ConnectionError):
                    writer.write(begun)
        yield


def request(method, path, body=b"", **headers):
    told = {"Host": "timmy", "Content-Length": len(body), "Content-Type": "application/json"} | headers
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(line for line in head.lower().splitlines() if line.startswith("content-length:"))
    body = await reader.readexactly(int(length.partition(":")[2]))
    return int(head.split()[1]), json.loads(body)


async def send(port, sent, address="127.0.0.1"):
    async with connected(port, address) as (reader, writer):
        writer.write(sent)
        return await answer(reader)


async def is_hung_up_on(reader):
    with contextlib.suppress(ConnectionError):
        while await reader.read(1_000):
            pass


@pytest.mark.parametrize(
    "begun", [b"", b"POST /api/jobs HTTP/1.1\r\nhost: t", request("POST", "/api/jobs", b"x")[:-1]]
)
@pytest.mark.parametrize("addresses", [1, 200])
async def test_a_thousand_idle_connections_do_not_hold_up_a_paid_job(addresses, begun):
    """From one address ten stay; from two hundred the places are all taken, and the longest silence makes room."""
    async with serving() as (door, port), a_crowd(port, addresses, begun):
        body = json.dumps({"request": QUESTION, "pay": "once"}).encode()
        status, job = await send(port, request("POST", "/api/jobs", body))
        assert status == 201
        await door.pay(job["evalInvoice"])
        await door.house.state_is(job["jobId"], "complete")
        status, done = await send(port, request("GET", f"/api/jobs/{job['jobId']}"))
        assert (status, done["state"]) == (200, "complete")


async def test_a_head_beyond_its_bound_is_refused_with_a_sentence_or_the_end():
    async with serving() as (_, port):
        status, told = await send(
            port, request("GET", "/api/pool", **{"X-Long": "x" * (HEAD - 200), "Y": "y" * 100})
        )
        assert status == 200
        async with connected(port) as (reader, writer):
            writer.write(request("GET", "/api/pool", **{"X-Long": "x" * 4 * HEAD}))
            await is_hung_up_on(reader)
        assert told["trust_tier"] == "anonymous"


async def test_a_body_beyond_its_bound_is_refused_before_it_is_read():
    async with serving() as (_, port):
        big = request("POST", "/api/jobs", b"", **{"Content-Length": BODY + 1})
        status, told = await send(port, big)
        assert (status, told["code"]) == (413, "body_too_large")


async def test_a_body_that_tells_no_length_is_counted_as_it_comes():
    async with serving() as (_, port), connected(port) as (reader, writer):
        writer.write(
            b"POST /api/jobs HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(BODY // 4_096 + 1):
            writer.write(b"1000\r\n" + b"x" * 4_096 + b"\r\n")
        status, told = await answer(reader)
        assert (status, told["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: +4\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length : 4\r\n",
    ],
)
async def test_a_request_that_two_readers_would_end_in_two_places_is_not_served(head):
    """Smuggling: what a proxy takes for one request must not be two here."""
    async with serving() as (door, port), connected(port) as (reader, writer):
        writer.write(b"POST /api/jobs HTTP/1.1\r\nHost: t\r\n" + head + b"\r\n0\r\n\r\n")
        writer.write(request("POST", "/api/identity/challenge"))
        told = await reader.read()
        assert told.split()[1] in {b"400", b"413", b"501"}, told
        assert told.count(b"HTTP/1.1 ") == 1
        assert b"challenge" not in told
        assert len(await door.house.store.jobs(limit=10)) == 0


async def test_pipelined_requests_are_answered_in_turn():
    async with serving() as (_, port), connected(port) as (reader, writer):
        paths = ("/api/pool", "/api/jobs/none", "/api/estimate?request=x", "/nothing")
        writer.write(b"".join(request("GET", path) for path in paths))
        assert [(await answer(reader))[0] for _ in paths] == [200, 404, 200, 404]


async def test_a_body_that_comes_too_slowly_is_not_waited_for_and_leaves_no_job():
    async with serving(read_s=0.2) as (door, port), connected(port) as (reader, writer):
        writer.write(request("POST", "/api/jobs", b'{"request": "x"}')[:-1])
        await is_hung_up_on(reader)
        assert len(await door.house.store.jobs(limit=10)) == 0
