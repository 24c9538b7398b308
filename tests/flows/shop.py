"""A serving Timmy in this process, strangers who hand its relays whatever they like, and its books afterwards."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx
from websockets.asyncio.client import ClientConnection, connect

from ledger.audit import audit
from ledger.sqlite import open_ledger
from ledger.store import Story
from relay_client.event import Event
from relay_client.keys import Keys
from tests.flows.live import PATIENCE_S, until
from timmy_dvm.agent.runner import Agent
from timmy_dvm.app import App, Ready
from timmy_dvm.clock import SystemClock
from timmy_dvm.config import load
from timmy_dvm.purse import SimulatedPurse

TIMMY = Keys.from_bytes(b"\x07" * 32)
FEEDBACK = 7000


class Shifted(SystemClock):
    """A clock that is ahead of the machine's, or behind, by a number of seconds that may be changed."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def now(self) -> float:
        return super().now() + self.seconds


class Hasty(SystemClock):
    """A clock on which everything takes a part of the time it would: a minute is over in so many times less."""

    def __init__(self, times: int) -> None:
        self._times = times
        self._began, self._began_at = super().now(), super().monotonic()

    def now(self) -> float:
        return self._began + self.monotonic()

    def monotonic(self) -> float:
        return (super().monotonic() - self._began_at) * self._times

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self._times)


@dataclass(frozen=True, slots=True)
class Shop:
    """A ready Timmy and the folder of its ledger."""

    ready: Ready
    folder: Path

    async def pay(self, bolt11: str) -> None:
        await SimulatedPurse(self.ready.http).pay(bolt11)

    async def relays(self) -> Mapping[str, str]:
        """How Timmy says that it stands with each relay."""
        async with httpx.AsyncClient(trust_env=False) as http:
            health = (await http.get(f"{self.ready.http}/api/healthz")).json()
        return {relay["url"]: relay["state"] for relay in health["relays"]}

    async def is_connected(self, *urls: str) -> None:
        async def all_are() -> bool:
            states = await self.relays()
            return all(states[url] == "connected" for url in urls)

        await until(all_are)

    async def is_cut_off_from(self, url: str) -> None:
        async def it_is() -> bool:
            return (await self.relays())[url] != "connected"

        await until(it_is)


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    *relays: str,
    clock: SystemClock | None = None,
    agent: Agent | None = None,
    limits: Mapping[str, int] = MappingProxyType({}),
    more: Mapping[str, str] | None = None,
    **nostr: str,
) -> AsyncIterator[Shop]:
    """`timmy run` in this process; without relays it brings its own. At the end it has stopped in order.

    `limits` and more names set keys of `[limits]` and `[nostr]`, as the environment does; `more` is that itself.
    """
    environ = {"TIMMY_HTTP__PORT": "0", "TIMMY_NOSTR__RELAY_PORT": "0", "TIMMY_NOSTR__SECRET_KEY": TIMMY.to_nsec()}
    environ |= {f"TIMMY_NOSTR__{name.upper()}": value for name, value in nostr.items()}
    environ |= {f"TIMMY_LIMITS__{name.upper()}": str(value) for name, value in limits.items()}
    environ |= dict(more or {})
    if relays:
        environ["TIMMY_NOSTR__RELAYS"] = ",".join(relays)
    app = App(load(None, environ, folder), clock=clock, agent=agent)
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(app.run(ready.set_result))
    await asyncio.wait((ready, running), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    try:
        yield Shop(ready.result(), folder)
    finally:
        app.stop()
        await running


async def books(folder: Path, limit: int = 100) -> list[Story]:
    """The newest jobs, oldest first, after checking that the whole ledger is in order."""
    assert not audit(folder / "timmy.db")
    store = open_ledger(f"sqlite:///{folder / 'timmy.db'}", read_only=True)
    try:
        stories = [await store.story(job.id) for job in await store.jobs(limit=limit)]
        assert sum((await store.balances()).values()) == 0
    finally:
        await store.close()
    return [story for story in reversed(stories) if story is not None]


def fresh_keys() -> Keys:
    return Keys.from_bytes(os.urandom(32))


def signed(
    keys: Keys,
    kind: int,
    tags: Sequence[Sequence[str]],
    content: str = "",
    *,
    ago_s: int = 0,
    to: str | None = None,
) -> Event:
    """An event of now, or of some seconds ago; with `to` it names that key in a `p` tag."""
    every = [tuple(tag) for tag in tags] + ([("p", to)] if to else [])
    at = int(time.time()) - ago_s
    return keys.sign(kind=kind, created_at=at, tags=every, content=content, aux=os.urandom(32))


@contextlib.asynccontextmanager
async def line_to(url: str) -> AsyncIterator[ClientConnection]:
    async with asyncio.timeout(PATIENCE_S), connect(url, proxy=None, close_timeout=0.5, max_size=None) as ws:
        yield ws


async def publish(url: str, *events: Event | str) -> None:
    """Hand events, or texts that look like events, to a relay in one go; it must take each of them."""
    async with line_to(url) as ws:
        for event in events:
            await ws.send(f'["EVENT",{event if isinstance(event, str) else event.to_json()}]')
        for _ in events:
            answer = json.loads(await ws.recv())
            assert answer[0] == "OK", answer
            assert answer[2] is True, answer


async def heard(url: str, request: Event, status: str) -> Event:
    """Timmy's first answer to that request with that status (`result` for a result), however long it takes."""
    async with line_to(url) as ws:
        await ws.send(json.dumps(["REQ", "one", {"authors": [TIMMY.public_key], "#e": [request.id]}]))
        while True:
            message = json.loads(await ws.recv())
            # A relay may send what nobody asked for, and lies besides.
            if message[0] == "EVENT" and message[2]["pubkey"] == TIMMY.public_key:
                event = Event.from_wire(json.dumps(message[2], ensure_ascii=False))
                if is_answer(event, request) and status_of(event) == status:
                    return event


async def said(url: str) -> list[Event]:
    """All of Timmy's answers that the relay has: feedback and results."""
    events: list[Event] = []
    async with line_to(url) as ws:
        await ws.send(json.dumps(["REQ", "all", {"authors": [TIMMY.public_key]}]))
        while (message := json.loads(await ws.recv()))[0] == "EVENT":
            if message[2]["pubkey"] == TIMMY.public_key and 6_000 <= message[2]["kind"] <= FEEDBACK:
                events.append(Event.from_wire(json.dumps(message[2], ensure_ascii=False)))
    return events


def is_answer(event: Event, request: Event) -> bool:
    return event.pubkey == TIMMY.public_key and request.id in event.tag_values("e")


def status_of(event: Event) -> str:
    return (event.tag("status") or ("", ""))[1] if event.kind == FEEDBACK else "result"


def invoice_of(price: Event) -> str:
    amount = price.tag("amount")
    assert amount is not None
    return amount[2]
