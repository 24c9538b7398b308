"""The bitcoin price: fixed, or asked of sources that a real server on loopback plays (PRI-01..04)."""

import asyncio
import contextlib
import json

import pytest

from ledger.store import StoreUnavailable
from timmy_dvm.clock import ManualClock
from timmy_dvm.core.pricing import BtcPrice, Freshness
from timmy_dvm.price_quotes import NoPrice
from timmy_dvm.prices import FixedPrice, HttpFetch, LivePrice, PriceSource

FALLBACK = BtcPrice.from_usd(100_000, source="configuration", freshness=Freshness.FALLBACK, at=0)
SOURCES = ("http://first", "http://second", "http://third")
TIMEOUT_S = 20


def test_a_fixed_price_answers_at_once_with_what_it_was_given():
    price = BtcPrice.from_usd(100_000, source="configuration", freshness=Freshness.FIXED, at=0)
    source: PriceSource = FixedPrice(price)
    assert source.current() is source.current() is price
    assert source.current().freshness == "fixed"


class Memory(dict):
    async def setting(self, key):
        if self.get("broken"):
            raise StoreUnavailable("away")
        return self.get(key)

    async def remember(self, key, value):
        if self.get("broken"):
            raise StoreUnavailable("away")
        self[key] = value


class Feed:
    """Sources by hand: what each says, and who was asked."""

    def __init__(self, urls=SOURCES, memory=None, **says):
        self.says, self.asked = says, []
        self.clock = ManualClock()
        self.memory = Memory() if memory is None else memory
        self.live = LivePrice(urls, FALLBACK, fetch=self._fetch, memory=self.memory, clock=self.clock, every_s=60)

    async def _fetch(self, url):
        name = url.removeprefix("http://")
        self.asked.append(name)
        usd = self.says.get(name)
        if usd is None:
            raise NoPrice("silent")
        return json.dumps({"bitcoin": {"usd": usd}}).encode()

    async def __aenter__(self):
        self._running = asyncio.create_task(self.live.run())
        await self.turn()
        return self

    async def __aexit__(self, *_):
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running

    async def turn(self):
        """Return when a turn has ended and the feed sleeps."""
        async with asyncio.timeout(TIMEOUT_S):
            await self.clock.wait_for_sleepers(1)

    async def after(self, seconds):
        self.asked = []
        await self.clock.advance(seconds)
        await self.turn()
        return self.asked

    @property
    def price(self):
        now = self.live.current()
        return now.micro_usd // 1_000_000, now.freshness


async def test_the_first_source_alone_is_asked_while_it_answers():
    async with Feed(first=97_000, second=1, third=1) as feed:
        assert feed.asked == ["first"]
        assert feed.price == (97_000, "fresh")
        assert feed.live.current().source == "first"


async def test_a_price_is_used_for_60_seconds_and_then_asked_again():
    """PRI-02."""
    async with Feed(first=97_000) as feed:
        assert await feed.after(59) == []
        feed.says["first"] = 98_000
        assert await feed.after(2) == ["first"]
        assert feed.price == (98_000, "fresh")


async def test_when_the_first_fails_the_others_are_asked_and_their_median_counts():
    async with Feed(second=97_000, third=97_200) as feed:
        assert feed.asked == ["first", "second", "third"]
        assert feed.price == (97_100, "fresh")


async def test_before_any_source_has_answered_the_fallback_is_used_and_marked():
    """PRI-04, ENV-03."""
    async with Feed() as feed:
        assert feed.price == (100_000, "fallback")


async def test_after_failures_sources_are_asked_less_and_less_often():
    async with Feed() as feed:
        for pause in (5, 10, 20, 40, 80, 160, 300, 300):
            assert await feed.after(pause - 1) == []
            assert len(await feed.after(1)) == 3


async def test_an_old_price_is_called_stale_after_10_minutes_and_dropped_after_a_day():
    async with Feed(first=97_000) as feed:
        feed.says.clear()
        await feed.after(600)
        assert feed.price == (97_000, "fresh")
        await feed.after(1)
        assert feed.price == (97_000, "stale")
        await feed.after(86_400 - 601)
        assert feed.price == (97_000, "stale")
        await feed.after(1)
        assert feed.price == (100_000, "fallback")


async def test_a_jump_is_believed_when_a_second_source_tells_of_it():
    async with Feed(first=97_000) as feed:
        feed.says["first"] = 9_700
        await feed.after(60)
        assert feed.price == (97_000, "fresh")
        feed.says["second"] = 9_710
        await feed.after(5)
        assert feed.price == (9_705, "fresh")


async def test_a_jump_needs_no_second_source_once_the_last_good_price_is_a_day_old():
    async with Feed(first=97_000) as feed:
        feed.says.clear()
        await feed.after(86_401)
        feed.says["first"] = 50_000
        await feed.after(300)
        assert feed.price == (50_000, "fresh")


async def test_the_last_good_price_outlives_a_restart():
    async with Feed(first=97_000) as before:
        pass
    async with Feed(memory=before.memory) as after:
        assert after.price == (97_000, "fresh")


@pytest.mark.parametrize(
    "text", ["", "{", '{"usd":"-1","source":"x","at":1}', '{"usd":"97000","source":"x","at":9999999999}']
)
async def test_a_remembered_price_that_can_not_be_read_or_is_of_the_future_is_not_used(text):
    async with Feed(memory=Memory(btc_usd=text)) as feed:
        assert feed.price == (100_000, "fallback")


async def test_a_ledger_that_is_away_costs_the_memory_only():
    async with Feed(memory=Memory(broken=True), first=97_000) as feed:
        assert feed.price == (97_000, "fresh")


async def test_without_sources_the_fallback_is_used():
    async with Feed(urls=()) as feed:
        assert feed.price == (100_000, "fallback")


# Over real sockets.


class Source:
    """A price server on loopback that answers every request with these bytes, then does `after`."""

    def __init__(self, answer, *, stays_open=False):
        self._answer, self._stays_open = answer, stays_open
        self.requests = []
        self._over = asyncio.Event()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/price?x=1"
        return self

    async def __aexit__(self, *_):
        self._over.set()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
            writer.write(self._answer)
            await writer.drain()
            if self._stays_open:
                await self._over.wait()
        writer.close()


def http(body, status="200 OK", head=""):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


@contextlib.asynccontextmanager
async def fetching(source):
    fetch = HttpFetch()
    try:
        async with asyncio.timeout(TIMEOUT_S), source:
            yield fetch
    finally:
        await fetch.aclose()


async def test_one_get_brings_the_body():
    source = Source(http(b'{"bitcoin":{"usd":97000}}'))
    async with fetching(source) as fetch:
        assert await fetch(source.url) == b'{"bitcoin":{"usd":97000}}'
    assert source.requests == [b"GET /price?x=1 HTTP/1.1"]


@pytest.mark.parametrize(
    "answer",
    [
        http(b"slow down", "429 Too Many Requests"),
        http(b"", "503 Service Unavailable"),
        http(b"", "302 Found", "Location: http://127.0.0.1:1/\r\n"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut",
        b"no http at all\r\n\r\n",
        b"",
        http(b" " * 20_000),
    ],
)
async def test_a_source_that_fails_in_any_way_is_no_price(answer):
    source = Source(answer)
    async with fetching(source) as fetch:
        with pytest.raises(NoPrice):
            await fetch(source.url)
    assert len(source.requests) == 1


async def test_a_source_that_hangs_is_given_up(monkeypatch):
    """PRI-03."""
    monkeypatch.setattr("timmy_dvm.prices.TIMEOUT_S", 0.2)
    source = Source(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", stays_open=True)
    async with fetching(source) as fetch:
        with pytest.raises(NoPrice):
            await fetch(source.url)


async def test_an_address_where_nobody_listens_is_no_price():
    source = Source(b"")
    async with source:
        pass
    fetch = HttpFetch()
    with pytest.raises(NoPrice):
        await fetch(source.url)
    await fetch.aclose()
