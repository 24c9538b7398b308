"""One question to many relays: answered whatever some of them do, and in nobody's way."""

import asyncio

import pytest

from relay_client.asker import IDLE_S
from relay_client.connection import RelayState
from relay_client.dial import Outside
from relay_client.errors import DialRefused
from relay_client.filter import Filter
from relay_client.local_relay import LocalRelay, RelayLimits
from relay_client.pool import MAX_STRANGERS_ASKED, RelayPool
from tests.faults import FaultProxy, ScriptedRelay, until
from tests.relay_client.kit import JOBS, KEYS, Naps, plant, pooled, signed

NOTES = Filter(kinds=frozenset({1}))


async def dial_anything(url):
    return "127.0.0.1", int(url.rpartition(":")[2])


async def silence(client):
    await client.hear("never")


async def test_what_relays_have_stored_is_found_once_and_comes_out_of_no_stream():
    both, one_only, job = signed("both", kind=1), signed("one", kind=1), signed("a job")
    async with LocalRelay() as one, LocalRelay() as two:
        await plant(one, both, one_only, job)
        await plant(two, both)
        async with pooled(one.url, two.url) as (pool, received):
            await pool.wait_caught_up("jobs", 2)
            found = await pool.query([NOTES])
            assert {event.id for event in found} == {both.id, one_only.id}
            assert await pool.query([NOTES], urls=[two.url.upper() + "/"]) == [both]
            assert await pool.query([NOTES], urls=[]) == []
            assert [item.event.id for item in received] == [job.id]


async def test_a_relay_that_says_nothing_costs_the_time_and_no_answer():
    note = signed(kind=1)
    async with LocalRelay() as good, ScriptedRelay(silence) as silent, RelayPool([good.url, silent.url]) as pool:
        await pool.wait_connected(2)
        await plant(good, note)
        assert await pool.query([NOTES], timeout_s=0.3) == [note]
        async with asyncio.timeout(5):
            assert await pool.query([NOTES], timeout_s=600, enough=1) == [note]


async def test_relays_that_are_away_are_not_waited_for():
    async with asyncio.timeout(5), RelayPool(["ws://127.0.0.1:1"]) as pool:
        assert await pool.query([NOTES], timeout_s=600) == []
    assert await pool.query([NOTES], timeout_s=600) == []


async def test_it_may_be_asked_by_the_very_reader_of_a_stream_that_is_full():
    note = signed(kind=1)
    async with LocalRelay() as relay:
        await plant(relay, note, *(signed(str(n)) for n in range(50)))
        async with RelayPool([relay.url], stream_size=2) as pool, asyncio.timeout(10):
            pool.subscribe("jobs", [JOBS])
            await until(lambda: len(pool._hearing._stream) == 2)
            read = 0
            async for _ in pool.events():
                read += 1
                assert await pool.query([NOTES], timeout_s=600) == [note]
                if read == 50:
                    break


async def test_the_long_lived_subscription_and_its_cursor_are_left_alone():
    """Even by a relay that allows a connection one subscription."""
    asked, caught_up = [], []
    async with LocalRelay(limits=RelayLimits(subscriptions=1)) as relay, pooled(relay.url) as (pool, received):
        pool.subscribe("jobs", [JOBS], since=asked.append, on_caught_up=caught_up.append)
        await pool.wait_caught_up("jobs")
        before = list(asked), list(caught_up)
        for n in range(30):
            assert await pool.query([Filter(ids=frozenset({signed(str(n)).id}))]) == []
        assert (asked, caught_up) == before
        job = signed()
        await plant(relay, job)
        await until(lambda: received)
        assert pool.status()[0].reconnects == 0


async def test_many_questions_at_once_share_one_connection_and_wait_their_turn():
    notes = [signed(str(n), kind=1) for n in range(40)]
    async with LocalRelay(limits=RelayLimits(connections=3)) as relay:
        await plant(relay, *notes)
        async with RelayPool([relay.url]) as pool:
            await pool.wait_connected()
            found = await asyncio.gather(*(pool.query([Filter(ids=frozenset({note.id}))]) for note in notes))
            assert len(relay._clients) == 2
    assert found == [[note] for note in notes]


async def test_a_question_after_the_connection_was_lost_dials_anew():
    note = signed(kind=1)
    async with LocalRelay() as relay, FaultProxy(relay.url) as proxy, RelayPool([proxy.url]) as pool:
        await plant(relay, note)
        for _ in range(3):
            await pool.wait_connected()
            assert await pool.query([NOTES]) == [note]
            proxy.cut()
            await until(lambda: pool.status()[0].state is not RelayState.CONNECTED)


async def test_an_idle_connection_is_hung_up_and_no_question_is_lost_by_it():
    """With naps that take no time the asker is for ever hanging up."""
    note = signed(kind=1)
    async with LocalRelay() as relay:
        await plant(relay, note)
        async with RelayPool([relay.url], outside=Outside(sleep=Naps())) as pool:
            await pool.wait_connected()
            for n in range(40):
                assert await pool.query([NOTES]) == [note]
                await asyncio.sleep(0.001 * (n % 5))
            await until(lambda: len(relay._clients) == 1)


async def test_when_the_last_question_is_answered_nobody_is_dialled_again():
    async with (
        LocalRelay() as relay,
        FaultProxy(relay.url) as proxy,
        RelayPool([proxy.url], outside=Outside(sleep=Naps())) as pool,
    ):
        await pool.wait_connected()
        await pool.query([NOTES])
        await until(lambda: len(relay._clients) == 1)
        dialled = proxy.connections
        await plant(relay, *(signed(str(n)) for n in range(20)))  # in which time it would be
        assert proxy.connections == dialled


async def test_while_an_answer_is_waited_for_the_connection_is_not_idle():
    naps = Naps()
    async with ScriptedRelay(silence) as relay, RelayPool([relay.url], outside=Outside(sleep=naps)) as pool:
        await pool.wait_connected()
        waiting = asyncio.create_task(pool.query([NOTES], timeout_s=600))
        await until(lambda: naps.asked.count(IDLE_S) >= 10)
        assert relay.connections == 2
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_a_relay_that_wants_to_know_who_we_are_is_told_before_it_answers():
    note = signed(kind=1)
    async with LocalRelay(require_auth=True) as relay, RelayPool([relay.url], keys=KEYS) as pool:
        await pool.wait_connected()
        assert (await pool.publish(note))[relay.url].is_accepted
        assert await pool.query([NOTES]) == [note]


async def test_what_no_filter_asked_for_is_left_out_and_blamed():
    job, note = signed(), signed(kind=1)

    async def everything(client):
        while True:
            sub_id = (await client.hear("REQ"))[1]
            for event in (job, note):
                await client.ws.send(f'["EVENT","{sub_id}",{event.to_json()}]')
            await client.say("EOSE", sub_id)

    async with ScriptedRelay(everything) as relay, RelayPool([relay.url]) as pool:
        await pool.wait_connected()
        assert await pool.query([NOTES]) == [note]
        assert pool.status()[0].misbehaviour > 0


async def test_a_liar_is_asked_no_more():
    async def lie(client):
        for _ in range(100):
            await client.say("EVENT", "nobody", {})

    async with ScriptedRelay(lie) as relay, RelayPool([relay.url], outside=Outside(monotonic=lambda: 1.0)) as pool:
        await until(lambda: pool.status()[0].misbehaviour > 0)
        async with asyncio.timeout(5):
            assert await pool.query([NOTES], timeout_s=600) == []
        assert relay.connections == 1


async def test_a_strangers_relay_is_asked_where_the_dialler_says_and_never_told_who_we_are():
    note, heard = signed(kind=1), []

    async def curious(client):
        await client.say("AUTH", "challenge")
        sub_id = (await client.hear("REQ"))[1]
        await client.ws.send(f'["EVENT","{sub_id}",{note.to_json()}]')
        await client.say("EOSE", sub_id)
        heard.extend([frame async for frame in client.ws])

    async with ScriptedRelay(curious) as stranger, RelayPool([], keys=KEYS, dialler=dial_anything) as pool:
        async with asyncio.timeout(5):
            assert await pool.query([NOTES], urls=[stranger.url], timeout_s=600) == [note]
        await until(lambda: stranger.connections == 1)
        assert pool.status() == []
    assert [frame for frame in heard if "AUTH" in frame] == []


@pytest.mark.parametrize("error", [DialRefused("that address is private"), OSError("no such host")])
async def test_strangers_that_may_not_be_dialled_are_left_out(error):
    note = signed(kind=1)

    async def dialler(url):
        raise error

    async with LocalRelay() as relay, RelayPool([relay.url], dialler=dialler) as pool:
        await plant(relay, note)
        await pool.wait_connected()
        urls = ["wss://relay.example", "not a url", relay.url]
        assert await pool.query([NOTES], urls=urls) == [note]


async def test_a_long_list_of_strangers_does_not_make_us_dial_them_all():
    dialled = []

    async def dialler(url):
        dialled.append(url)
        raise DialRefused("not today")

    async with RelayPool([], dialler=dialler) as pool:
        await pool.query([NOTES], urls=[f"wss://{n}.example" for n in range(1_000)])
    assert len(dialled) == MAX_STRANGERS_ASKED


async def test_a_stranger_who_hangs_ends_with_the_time_or_with_the_pool():
    async with ScriptedRelay(silence) as stranger, RelayPool([], dialler=dial_anything) as pool:
        assert await pool.query([NOTES], urls=[stranger.url], timeout_s=0.05) == []
        waiting = asyncio.create_task(pool.query([NOTES], urls=[stranger.url], timeout_s=600))
        await until(lambda: stranger.connections == 2)
        await pool.__aexit__(None, None, None)
        async with asyncio.timeout(5):
            assert await waiting == []
