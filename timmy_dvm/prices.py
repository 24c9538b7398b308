"""BTC/USD: where a quote gets its bitcoin price from."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol

import httpx
import msgspec

from ledger.store import StoreUnavailable
from timmy_dvm.clock import Clock
from timmy_dvm.core.pricing import BtcPrice, Freshness
from timmy_dvm.log import get_logger
from timmy_dvm.outbound import TooLong, read_capped
from timmy_dvm.price_quotes import NoPrice, Told, agree, read

TIMEOUT_S: Final = 5
MAX_ANSWER_BYTES: Final = 16_384
FRESH_S: Final = 600
"""Sources may miss a few turns before a price is called stale."""
STALE_S: Final = 86_400
"""A price older than this is not used at all."""
FIRST_PAUSE_S: Final = 5
LONGEST_PAUSE_S: Final = 300
_LAST_GOOD: Final = "btc_usd"
log = get_logger("prices")


class PriceSource(Protocol):
    """Answers at once with the best bitcoin price known, and never fails.

    Fetching happens elsewhere, in the background. A customer's quote must not wait for a price feed or
    die with it, so an implementation holds a price at all times: fetched, last good, or the configured
    fallback; ``BtcPrice.freshness`` says which, and whoever shows the price shows that too.
    Each call may answer differently; a job keeps the price it was first quoted with.
    """

    def current(self) -> BtcPrice:
        """The price to use now."""
        ...


class FixedPrice:
    """The same price for ever: for the simulated wallet, for tests, and while no feed is configured."""

    def __init__(self, price: BtcPrice) -> None:
        self._price = price

    def current(self) -> BtcPrice:
        """The price given at construction."""
        return self._price


class Memory(Protocol):
    """Where the last good price outlives a restart (`ledger.store.Store`)."""

    async def setting(self, key: str) -> str | None:
        """A remembered value, or None."""

    async def remember(self, key: str, value: str) -> None:
        """Remember a value."""


Fetch = Callable[[str], Awaitable[bytes]]
"""GET an address: the body of a 200, else `NoPrice`. The one seam all sources are asked through."""


@dataclass(frozen=True, slots=True)
class LastGood:
    """The last price that was believed, and when."""

    usd: Decimal
    source: str
    at: int


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(LastGood).decode


class LivePrice:
    """The price as sources tell it, asked in the background: the first alone, the others when it fails or jumps.

    Args:
        urls: whom to ask, in this order.
        fallback: used while no price is known that is younger than a day.
        fetch: how they are asked; :class:`HttpFetch` in real life.
        memory: keeps the last good price over restarts.
        clock: what time it is.
        every_s: how long a price is used before it is asked again.
    """

    def __init__(
        self,
        urls: Sequence[str],
        fallback: BtcPrice,
        *,
        fetch: Fetch,
        memory: Memory,
        clock: Clock,
        every_s: int = 60,
    ) -> None:
        self._urls = tuple(urls)
        self._fallback = fallback
        self._fetch = fetch
        self._memory = memory
        self._clock = clock
        self._every_s = every_s
        self._last: LastGood | None = None

    def current(self) -> BtcPrice:
        """See :class:`PriceSource`."""
        if self._last is None:
            return self._fallback
        age = int(self._clock.now()) - self._last.at
        if age > STALE_S:
            return self._fallback
        freshness = Freshness.FRESH if age <= max(FRESH_S, 2 * self._every_s) else Freshness.STALE
        return BtcPrice.from_usd(self._last.usd, source=self._last.source, freshness=freshness, at=self._last.at)

    async def run(self) -> None:
        """Ask until cancelled: each `every_s`; after a failure sooner, then less and less often."""
        await self._recall()
        pause = FIRST_PAUSE_S
        while True:
            if await self._ask():
                pause = FIRST_PAUSE_S
                await self._clock.sleep(self._every_s)
            else:
                await self._clock.sleep(pause)
                pause = min(LONGEST_PAUSE_S, 2 * pause)

    async def _ask(self) -> bool:
        """One turn; whether there is a new price."""
        if not self._urls:
            return False
        now = int(self._clock.now())
        last_usd = None if self._last is None or now - self._last.at > STALE_S else self._last.usd
        told = await self._of(self._urls[:1])
        price = agree(told, last_usd)
        if price is None:
            told += await self._of(self._urls[1:])
            price = agree(told, last_usd)
        if price is None:
            log.warning("no bitcoin price could be had", action="price_unknown", answered=len(told))
            return False
        self._last = LastGood(price.usd, price.source, int(self._clock.now()))
        with contextlib.suppress(StoreUnavailable):  # it is asked again in a minute
            await self._memory.remember(_LAST_GOOD, _encode(self._last).decode())
        return True

    async def _of(self, urls: Sequence[str]) -> list[Told]:
        """What these say, asked at the same time."""
        answers = await asyncio.gather(*map(self._one, urls))
        return [told for told in answers if told is not None]

    async def _one(self, url: str) -> Told | None:
        try:
            return read(url, await self._fetch(url), int(self._clock.now()))
        except NoPrice as error:
            log.info("a price source did not help", action="price_source", url=url, why=str(error))
            return None

    async def _recall(self) -> None:
        try:
            text = await self._memory.setting(_LAST_GOOD)
            last = None if text is None else _decode(text)
        except (StoreUnavailable, msgspec.MsgspecError) as error:
            log.warning("the last bitcoin price can't be read", action="price_unread", error=str(error))
            return
        if last is not None and last.usd > 0 and last.at <= self._clock.now():
            self._last = last


class HttpFetch:
    """Asks sources over HTTP (see :data:`Fetch`), each within :data:`TIMEOUT_S` and :data:`MAX_ANSWER_BYTES`.

    Redirects are not followed: a source is who was configured.
    """

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, url: str) -> bytes:
        """Ask one source.

        Raises:
            NoPrice: it did not answer, or not with a 200.
        """
        if self._client is None:  # made at the first question: a bot with a fixed price has none
            self._client = httpx.AsyncClient(timeout=TIMEOUT_S)
        try:
            async with asyncio.timeout(TIMEOUT_S), self._client.stream("GET", url) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise NoPrice(f"it answered {answer.status_code}")
                return await read_capped(answer.aiter_bytes(), MAX_ANSWER_BYTES)
        except (TimeoutError, httpx.HTTPError, TooLong) as error:
            raise NoPrice(str(error) or type(error).__name__) from None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
