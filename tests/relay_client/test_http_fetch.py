"""Fetching a document over HTTP: from relays that serve it, and from those that serve trouble."""

import asyncio
import contextlib
import gzip

import pytest

from relay_client import http_fetch
from relay_client.dial import DialOptions
from relay_client.errors import NotConnected
from relay_client.http_fetch import fetch_document
from relay_client.local_relay import LocalRelay, RelayLimits
from relay_client.nip11 import MAX_DOCUMENT_BYTES, document_url, read_limitation

DIRECT = DialOptions()


@contextlib.asynccontextmanager
async def serving(answer):
    """An HTTP server that writes these bytes to everybody; the address, and what it was asked."""
    asked, serving_now = [], set()

    async def serve(reader, writer):
        serving_now.add(asyncio.current_task())
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            if callable(answer):
                await answer(writer)
            else:
                writer.write(answer)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/path", asked
        finally:
            for task in serving_now:
                task.cancel()
            await asyncio.gather(*serving_now, return_exceptions=True)


def response(body, *headers, status="200 OK"):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_a_relay_is_asked_for_its_document():
    async with LocalRelay(limits=RelayLimits(frame_bytes=20_000)) as relay:
        document = await fetch_document(document_url(relay.url), DIRECT)
    assert read_limitation(document).max_message_length == 20_000


async def test_what_is_asked_is_what_the_nip_says_and_names_nobody():
    async with serving(response(b"{}")) as (url, asked):
        assert await fetch_document(url, DIRECT) == b"{}"
    request = asked[0].lower()
    assert request.startswith(b"get /path http/1.1\r\n")
    assert b"accept: application/nostr+json\r\n" in request
    assert b"accept-encoding: identity\r\n" in request
    assert b"user-agent: timmy\r\n" in request
    assert b"cookie" not in request


async def drip(writer):
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"{")
        await writer.drain()
        await asyncio.sleep(0.01)


async def pour(writer):
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def say_nothing(writer):
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    "answer",
    [
        response(b"", status="404 Not Found"),
        response(gzip.compress(b"{}", mtime=0), "Content-Encoding: gzip"),
        response(b"x" * (MAX_DOCUMENT_BYTES + 1)),
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
        b"no http at all\r\n\r\n",
        b"",
        pour,
        drip,
        say_nothing,
    ],
)
async def test_what_is_no_document_is_none_and_costs_little(answer, monkeypatch):
    monkeypatch.setattr(http_fetch, "FETCH_TIMEOUT_S", 0.3)
    async with serving(answer) as (url, asked):
        with pytest.raises(NotConnected, match="relay information document"):
            await fetch_document(url, DIRECT)
        assert len(asked) == 1


async def test_a_redirect_is_not_followed():
    """Else a public relay could send us to a service on our own machine."""
    async with serving(response(b"{}")) as (inner, asked_inside):
        redirect = response(b"", f"Location: {inner}", status="302 Found")
        async with serving(redirect) as (url, asked):
            with pytest.raises(NotConnected, match="302"):
                await fetch_document(url, DIRECT)
        assert (len(asked), asked_inside) == (1, [])


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://127.0.0.1:1", "http://a..b", "http://" + "a" * 70])
async def test_what_cannot_be_reached_gives_no_document(url):
    with pytest.raises(NotConnected):
        await fetch_document(url, DIRECT)


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "socks5://127.0.0.1:1", "gopher://127.0.0.1:1"])
async def test_nothing_goes_around_a_proxy(proxy):
    """Else a relay dialled through one would learn our address from this."""
    async with serving(response(b"{}")) as (url, asked):
        with pytest.raises(NotConnected):
            await fetch_document(url, DialOptions(proxy=proxy))
        assert asked == []
