"""Signed events out to the relays (`dispatch.Publisher`)."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from typing import Final, Protocol

import msgspec

from ledger.store import ACCEPTED
from relay_client.dial import PublishOutcome, PublishState
from relay_client.errors import InvalidEvent
from relay_client.event import Event
from timmy_dvm.log import get_logger

FIRST_DIALS_S: Final = 3.0
"""How long the first events to be published wait for all relays to be connected."""
STRAGGLERS_S: Final = 2.0
"""Once a relay has taken an event, the others have this long to say what they make of it. A relay that is silent
would otherwise keep everything that is said in hand for as long as any answer may take."""

_UNKNOWN: Final = PublishOutcome(PublishState.NO_ANSWER).word
_targets: Final = msgspec.json.Decoder(tuple[str, ...])
log = get_logger("nostr")


class Outlet(Protocol):
    """Where events leave (`relay_client.pool.RelayPool`)."""

    @property
    def urls(self) -> tuple[str, ...]:
        """The configured relays."""

    async def publish(self, event: Event, urls: Collection[str] | None = None) -> Mapping[str, PublishOutcome]:
        """Send an event; an outcome for each relay."""

    async def wait_connected(self, count: int = 1, timeout_s: float = 10.0) -> None:
        """Wait until that many relays are connected; TimeoutError if they are not, in time."""


class NostrPublisher:
    """Offers events to relays.

    Args:
        pool: the relays; somebody else runs it.
    """

    def __init__(self, pool: Outlet) -> None:
        self._pool = pool
        self._had_first_dials = False

    async def publish(self, event_json: str, targets: str) -> Mapping[str, str]:
        """See `dispatch.Publisher`. Only configured relays are sent to; with no `targets` all of them are."""
        try:
            event = Event.from_wire(event_json)
            named = _targets.decode(targets or "[]")
        except (InvalidEvent, msgspec.MsgspecError) as error:
            # Written by ourselves, so it can't happen; and a broken event is better kept than sent.
            log.warning("an event of ours can't be published", action="event_broken", error=str(error))
            return {}
        urls = [url for url in self._pool.urls if url in named] or self._pool.urls
        await self._first_dials()
        return await self._offer(event, urls)

    async def _offer(self, event: Event, urls: Collection[str]) -> dict[str, str]:
        """What each relay made of it: when all have answered, or one has it and the stragglers' time is up."""
        sends = {url: asyncio.create_task(self._send(event, url)) for url in urls}
        try:
            for answer in asyncio.as_completed(sends.values()):
                if await answer == ACCEPTED:
                    await asyncio.wait(sends.values(), timeout=STRAGGLERS_S)
                    break
            return {url: send.result() if send.done() else _UNKNOWN for url, send in sends.items()}
        finally:
            for send in sends.values():
                send.cancel()

    async def _send(self, event: Event, url: str) -> str:
        return (await self._pool.publish(event, (url,)))[url].word

    async def _first_dials(self) -> None:
        """At the start, let every relay be reached: one acceptance is enough, so the others would never get it."""
        if not self._had_first_dials:
            with contextlib.suppress(TimeoutError):
                await self._pool.wait_connected(len(self._pool.urls), FIRST_DIALS_S)
            self._had_first_dials = True
