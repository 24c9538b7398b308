"""Every evil relay there is beside one good: jobs on the good one are served while the others do what they can.

Timmy is a process of its own here, so that its memory can be read, and what floods it takes none of its time.
"""

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest

from ledger.records import JobState
from relay_client.local_relay import LocalRelay
from tests.faults import Scripted, ScriptedRelay
from tests.flows.live import running, until
from tests.flows.shop import TIMMY, Shop, books, publish
from tests.flows.storm import SERVED, crowd, request
from tests.relay_client.evil import EVILS

pytestmark = pytest.mark.crash

JOBS = 10
MAX_GROWTH_BYTES = 64 * 2**20
# Silence takes a while to be told from a quiet hour.
SOON = {evil.name: evil.fault for evil in EVILS if evil.fault not in (None, "unanswered")}
ONE_FAULT_A_CONNECTION = {"frames of 5 MB", "broken protocol"}
"""These end their connections themselves, and the pauses before the next ones grow."""


class Untiring(Scripted):
    """What the client said first is heard by whoever asks later, so that a script can be played again."""

    def __init__(self, ws):
        super().__init__(ws)
        self._heard = {}

    async def hear(self, name):
        if name not in self._heard:
            self._heard[name] = await super().hear(name)
        return self._heard[name]


class Storm:
    """The evil relays, by name. Each begins when told to, and goes on for as long as it is listened to."""

    def __init__(self):
        self.may_begin = asyncio.Event()
        self.urls = {}

    async def __aenter__(self):
        self._stack = contextlib.AsyncExitStack()
        for evil in EVILS:
            relay = await self._stack.enter_async_context(ScriptedRelay(self._untiring(evil.script)))
            self.urls[evil.name] = relay.url
        return self

    async def __aexit__(self, *_):
        await self._stack.aclose()

    def _untiring(self, script):
        async def play(client):
            await self.may_begin.wait()
            untiring = Untiring(client.ws)
            while True:
                await script(untiring)
                await asyncio.sleep(0)

        async def play_while_listened_to(client):
            playing = asyncio.create_task(play(client))
            await client.ws.wait_closed()
            playing.cancel()
            await asyncio.wait((playing,))

        return play_while_listened_to


def resident_bytes(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1_024


async def relays_of(ready):
    async with httpx.AsyncClient(trust_env=False) as http:
        health = (await http.get(f"{ready.http}/api/healthz")).json()
    return {relay["url"]: relay for relay in health["relays"]}


async def test_jobs_on_a_good_relay_are_served_while_every_evil_one_does_what_it_can(tmp_path):
    ours: set[str] = set()
    async with LocalRelay() as good, Storm() as storm:
        urls = ",".join([*storm.urls.values(), good.url])
        environ = {
            "TIMMY_NOSTR__RELAYS": urls,
            "TIMMY_NOSTR__SECRET_KEY": TIMMY.to_nsec(),
            "TIMMY_HTTP__PORT": "0",
        }
        async with (
            running(tmp_path, **environ) as bot,
            crowd(Shop(bot.ready, tmp_path), good.url, pays=ours.__contains__) as customers,
        ):
            asked = [request() for _ in range(JOBS)]
            ours.update(each.id for each in asked)
            before = resident_bytes(bot.process.pid)
            storm.may_begin.set()
            most = before
            for each in asked:
                await publish(good.url, each)
                await customers.are_all([each])
                most = max(most, resident_bytes(bot.process.pid))

            async def are_named():
                seen = await relays_of(bot.ready)
                return all(fault in seen[storm.urls[name]]["faults"] for name, fault in SOON.items())

            async def are_dropped():
                seen = await relays_of(bot.ready)
                dropped = {name for name, url in storm.urls.items() if seen[url]["state"] == "penalised"}
                return set(SOON) - ONE_FAULT_A_CONNECTION <= dropped

            await until(are_named)
            await until(are_dropped)
            seen = await relays_of(bot.ready)
            most = max(most, resident_bytes(bot.process.pid))
            assert await bot.stop() == 0
    assert {customers.statuses(each) for each in asked} == {SERVED}
    assert most - before <= MAX_GROWTH_BYTES, bot.log
    assert seen[good.url]["state"] == "connected"
    assert not seen[good.url]["faults"]
    done = [
        story.job.event_id
        for story in await books(tmp_path / "home/.timmy")
        if story.job.state is JobState.COMPLETE
    ]
    assert sorted(done) == sorted(ours)
