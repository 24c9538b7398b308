"""Questions to one relay: when it can't be reached, when nobody waits any more, and when it fails halfway."""

import asyncio
import contextlib

from relay_client.asker import MAX_QUESTIONS, Asker
from relay_client.dial import DialOptions, Outside
from relay_client.happenings import Score
from relay_client.information import Information
from relay_client.local_relay import LocalRelay
from relay_client.query import Findings, Share
from relay_client.session import Session
from tests.faults import ScriptedRelay, until
from tests.relay_client.kit import JOBS, plant, signed


@contextlib.asynccontextmanager
async def asking(url, *, run=True):
    """An asker that runs until the block ends."""
    outside, options = Outside(), DialOptions()
    asker = Asker(Session(url), Score(), Information(url, None, outside, options), outside, options)
    running = asyncio.create_task(asker.run() if run else asyncio.Event().wait())
    await asyncio.sleep(0)
    try:
        yield asker
    finally:
        running.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([running])


async def ask(asker):
    findings = Findings([JOBS])
    async with asyncio.timeout(5):
        await asker.ask(Share(findings))
    return findings.newest_first()


async def test_nobody_is_dialled_before_there_is_a_question():
    async with LocalRelay() as relay:
        job = signed()
        await plant(relay, job)
        await until(lambda: not relay._clients)
        async with asking(relay.url) as asker:
            await plant(relay, signed(kind=1))  # in which time it would have been
            await until(lambda: not relay._clients)
            assert asker._conversation is None
            assert await ask(asker) == [job]
            assert len(relay._clients) == 1
        await until(lambda: not relay._clients)


async def test_a_relay_that_cannot_be_reached_answers_nothing_at_once_and_again_at_the_next_question():
    async with asking("ws://127.0.0.1:1") as asker:
        assert [await ask(asker) for _ in range(3)] == [[], [], []]


async def test_when_it_does_not_run_nobody_waits():
    async with LocalRelay() as relay, asking(relay.url, run=False) as asker:
        assert await ask(asker) == []


async def test_questions_under_way_end_when_it_stops_and_when_the_relay_hangs_up():
    requests = []

    async def hang_up_on_the_third(client):
        requests.extend([await client.hear("REQ") for _ in range(3)])
        await client.ws.close()

    async def silence(client):
        requests.append(await client.hear("REQ"))
        await client.hear("never")

    for script, count in ((hang_up_on_the_third, 3), (silence, 1)):
        requests.clear()
        async with ScriptedRelay(script) as relay, asyncio.TaskGroup() as group:
            async with asking(relay.url) as asker:
                waiting = [group.create_task(ask(asker)) for _ in range(count)]
                await until(lambda count=count: len(requests) == count)
                if script is hang_up_on_the_third:
                    assert await asyncio.gather(*waiting) == [[]] * 3
            assert [await task for task in waiting] == [[]] * count


async def test_a_question_nobody_waits_for_is_closed_and_makes_room_for_the_next():
    said = []

    async def listen(client):
        while True:
            said.append((await client.ws.recv())[:10])

    async with ScriptedRelay(listen) as relay, asking(relay.url) as asker:
        waiting = [asyncio.create_task(ask(asker)) for _ in range(MAX_QUESTIONS + 1)]
        await until(lambda: len(said) == MAX_QUESTIONS)
        waiting[0].cancel()
        await until(lambda: len(said) == MAX_QUESTIONS + 2)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert asker._questions == {}
    assert said[:MAX_QUESTIONS] == ['["REQ","q1', *(f'["REQ","q{n}' for n in range(2, MAX_QUESTIONS + 1))]
    assert sorted(said[MAX_QUESTIONS : MAX_QUESTIONS + 2]) == ['["CLOSE","', f'["REQ","q{MAX_QUESTIONS + 1}']
