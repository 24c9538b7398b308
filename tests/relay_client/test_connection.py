"""A session on a real socket: it comes back, it bounds, it pushes back, it does not forget."""

import asyncio
import itertools

import pytest

from relay_client import connection as connection_module
from relay_client.connection import (
    BACKOFF_FIRST_S,
    BACKOFF_MAX_S,
    PENALTY_S,
    RelayConnection,
    RelayState,
)
from relay_client.conversation import MAX_OUTGOING
from relay_client.dial import CUT_FRAME_BYTES, MAX_FRAME_BYTES, DialOptions, Outside, PublishState
from relay_client.happenings import CaughtUp, EventHeard, Misbehaved, Misbehaviour, SubscriptionClosed
from relay_client.local_relay import LocalRelay
from relay_client.session import Session
from relay_client.wire import Prefix
from tests.faults import FaultProxy, ScriptedRelay, until
from tests.relay_client.kit import JOBS, KEYS, Naps, Recorder, connected, signed

IMPATIENT = DialOptions(ping_interval_s=0.05, ping_timeout_s=0.05)


async def wait_connected(connection):
    await until(lambda: connection.state is RelayState.CONNECTED)


async def test_what_is_published_is_heard_again():
    recorder, event = Recorder(), signed()
    async with LocalRelay() as relay, connected(relay.url, recorder) as connection:
        await until(lambda: recorder.of(CaughtUp))
        assert (await connection.publish(event, 5)).state is PublishState.ACCEPTED
        await until(lambda: recorder.of(EventHeard))
        assert recorder.of(EventHeard)[0].event.id == event.id
        assert recorder.states[:2] == [RelayState.CONNECTING, RelayState.CONNECTED]


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_either_compression_works(compression):
    options = DialOptions(compression=compression)
    async with LocalRelay() as relay, connected(relay.url, Recorder(), options=options) as connection:
        await wait_connected(connection)
        assert (await connection.publish(signed("a" * 10_000), 5)).is_accepted


async def test_a_cut_connection_is_made_again_and_asks_from_the_new_since():
    recorder, old, new = Recorder(), signed("old", created_at=1_700_000_000), signed("new")
    async with LocalRelay() as relay, FaultProxy(relay.url) as proxy, connected(proxy.url, recorder) as connection:
        await wait_connected(connection)
        for event in (old, new):
            await connection.publish(event, 5)
        await until(lambda: len(recorder.of(EventHeard)) == 2)
        recorder.happenings.clear()
        recorder.since_of["jobs"] = new.created_at
        proxy.cut()
        await until(lambda: recorder.of(CaughtUp))
        assert [heard.event.id for heard in recorder.of(EventHeard)] == [new.id]
        assert connection.reconnects == 1
        assert "connection lost" in connection.last_error


async def test_a_half_open_connection_is_found_out_and_replaced():
    recorder = Recorder()
    async with (
        LocalRelay() as relay,
        FaultProxy(relay.url) as proxy,
        connected(proxy.url, recorder, options=IMPATIENT) as connection,
    ):
        await wait_connected(connection)
        proxy.stall()
        await until(lambda: connection.state is not RelayState.CONNECTED)
        proxy.pass_on()
        await until(lambda: connection.reconnects >= 1)
        assert (await connection.publish(signed(), 5)).is_accepted


async def test_a_relay_that_stays_away_is_tried_for_ever_ever_more_slowly_and_never_in_step():
    naps, dice = Naps(), itertools.cycle([0.0, 0.999])
    outside = Outside(sleep=naps, jitter=lambda: next(dice))
    async with connected("ws://127.0.0.1:1", Recorder(), outside=outside) as connection:
        await until(lambda: len(naps.asked) >= 30)
        assert "cannot be reached" in connection.last_error
    assert min(naps.asked) >= BACKOFF_FIRST_S / 2
    assert max(naps.asked) <= BACKOFF_MAX_S
    assert naps.asked[0] == BACKOFF_FIRST_S
    assert naps.asked[-1] >= BACKOFF_MAX_S / 2
    assert naps.asked[-2] / naps.asked[-1] in (pytest.approx(0.5, abs=0.01), pytest.approx(2, abs=0.01))


async def test_a_relay_that_accepts_and_hangs_up_is_not_hammered():
    naps = Naps()

    async def hang_up(client):
        await client.ws.close()

    async with (
        ScriptedRelay(hang_up) as relay,
        connected(relay.url, Recorder(), outside=Outside(sleep=naps, jitter=lambda: 0.0)),
    ):
        await until(lambda: len(naps.asked) >= 5)
    assert naps.asked[:4] == [BACKOFF_FIRST_S * 2**n for n in range(4)]


async def test_a_connection_that_was_stable_is_made_again_quickly():
    naps, now = Naps(), [0.0]
    outside = Outside(sleep=naps, jitter=lambda: 0.0, monotonic=lambda: now[0])
    recorder = Recorder()
    async with LocalRelay() as relay, FaultProxy(relay.url) as proxy:
        proxy.refuse()
        async with connected(proxy.url, recorder, outside=outside) as connection:
            await until(lambda: len(naps.asked) >= 8)
            proxy.accept()
            await wait_connected(connection)
            naps.asked.clear()
            now[0] += connection_module.STABLE_AFTER_S
            proxy.cut()
            await until(lambda: naps.asked)
            assert naps.asked[0] == BACKOFF_FIRST_S / 2


async def test_a_frame_too_long_for_an_event_is_not_looked_into_and_does_not_cut_us_off():
    """JOB-05: Else whoever stores one big event on a relay cuts us off from it at each reconnect."""
    recorder, event = Recorder(), signed()

    async def big_then_good(client):
        sub_id = (await client.hear("REQ"))[1]
        await client.ws.send("[" * (MAX_FRAME_BYTES + 1))
        await client.ws.send(f'["EVENT","{sub_id}",{event.to_json()}]')

    async with ScriptedRelay(big_then_good) as relay, connected(relay.url, recorder) as connection:
        await until(lambda: recorder.of(EventHeard))
        assert recorder.of(Misbehaved) == [Misbehaved(Misbehaviour.OVERSIZED_FRAME)]
        assert connection.reconnects == 0


async def test_a_huge_frame_ends_the_connection():
    async def huge(client):
        await client.ws.send("x" * (5 * CUT_FRAME_BYTES))

    async with ScriptedRelay(huge) as relay, connected(relay.url, Recorder()) as connection:
        await until(lambda: relay.connections >= 2)
        assert "exceeds limit" in connection.last_error


async def test_a_relay_that_misbehaves_too_much_is_left_alone_for_a_while_and_then_gets_a_fresh_start():
    naps, recorder = Naps(), Recorder()

    async def shout_the_first_time(client):
        if relay.connections == 1:
            for _ in range(100):
                await client.say("EVENT", "nobody", {})
        else:
            await client.say("EOSE", (await client.hear("REQ"))[1])

    async with (
        ScriptedRelay(shout_the_first_time) as relay,
        connected(relay.url, recorder, outside=Outside(sleep=naps, monotonic=lambda: 1.0)) as connection,
    ):
        await until(lambda: recorder.of(CaughtUp))
        assert recorder.states.count(RelayState.PENALISED) == 1
        assert naps.asked == [PENALTY_S]
        assert connection.points == 0
        assert connection.last_error == "dropped for misbehaviour"
    assert set(recorder.of(Misbehaved)) == {Misbehaved(Misbehaviour.UNKNOWN_SUBSCRIPTION)}


async def test_blame_from_outside_counts_too():
    async with LocalRelay() as relay, connected(relay.url, Recorder()) as connection:
        await wait_connected(connection)
        for _ in range(6):
            connection.blame(Misbehaviour.FORGED_EVENT)
        await connection.publish(signed(), 5)
        await until(lambda: connection.last_error == "dropped for misbehaviour")


async def test_a_slow_listener_makes_the_relay_wait_and_loses_nothing():
    recorder, count = Recorder(), 300
    sent, held_back = [], asyncio.Event()

    async def pour(client):
        sub_id = (await client.hear("REQ"))[1]
        for n in range(count):
            event = signed(str(n) + "x" * 60_000)
            sending = asyncio.create_task(client.ws.send(f'["EVENT","{sub_id}",{event.to_json()}]'))
            _, slow = await asyncio.wait({sending}, timeout=0.3)
            if slow:
                held_back.set()
            await sending
            sent.append(event.id)

    async with ScriptedRelay(pour) as relay, connected(relay.url, recorder):
        recorder.gate.clear()
        async with asyncio.timeout(20):
            await held_back.wait()
        assert len(sent) < count
        assert len(recorder.happenings) == 0
        recorder.gate.set()
        await until(lambda: len(recorder.of(EventHeard)) == count, timeout_s=20)
        assert [heard.event.id for heard in recorder.of(EventHeard)] == sent


async def test_an_unanswered_publish_times_out_and_one_under_way_ends_with_the_connection():
    async def silence(client):
        await client.hear("never")

    async with (
        ScriptedRelay(silence) as relay,
        FaultProxy(relay.url) as proxy,
        connected(proxy.url, Recorder()) as connection,
    ):
        await wait_connected(connection)
        assert (await connection.publish(signed(), 0.05)).state is PublishState.NO_ANSWER
        waiting = asyncio.create_task(connection.publish(signed(), 60))
        await until(lambda: connection._session._publishes)
        proxy.cut()
        outcome = await waiting
    assert (outcome.state, outcome.text) == (
        PublishState.NO_ANSWER,
        "the connection was lost before an answer",
    )


async def test_a_publish_without_a_connection_says_so_at_once():
    async with connected("ws://127.0.0.1:1", Recorder()) as connection:
        await until(lambda: connection.last_error)
        outcome = await connection.publish(signed(), 60)
    assert outcome.state is PublishState.NOT_CONNECTED
    assert "cannot be reached" in outcome.text


async def test_two_who_publish_the_same_event_get_the_same_answer():
    event = signed()
    async with LocalRelay() as relay, connected(relay.url, Recorder()) as connection:
        await wait_connected(connection)
        outcomes = await asyncio.gather(*(connection.publish(event, 5) for _ in range(3)))
        assert all(outcome.state is PublishState.ACCEPTED for outcome in outcomes)
        assert len(relay) == 1


async def test_a_cancelled_publish_leaves_nothing_behind():
    async def silence(client):
        await client.hear("never")

    async with ScriptedRelay(silence) as relay, connected(relay.url, Recorder()) as connection:
        await wait_connected(connection)
        waiting = asyncio.create_task(connection.publish(signed(), 60))
        await until(lambda: connection.publishing._answers)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert not connection.publishing._answers
        assert not connection._session._publishes


async def test_many_publishes_at_once_all_arrive():
    """More than may be in flight, more than the socket takes at once."""
    events = [signed("x" * 2_000 + str(n)) for n in range(1_500)]
    async with LocalRelay() as relay, connected(relay.url, Recorder(), subscribe=False) as connection:
        await wait_connected(connection)
        outcomes = await asyncio.gather(*(connection.publish(event, 30) for event in events))
        assert all(outcome.is_accepted for outcome in outcomes)
        assert len(relay) == len(events)


async def test_a_relay_that_reads_nothing_cannot_make_us_hold_without_end():
    async def deaf(client):
        client.ws.transport.pause_reading()

    big = signed("x" * 100_000)
    async with ScriptedRelay(deaf) as relay, connected(relay.url, Recorder()) as connection:
        await wait_connected(connection)
        for n in range(MAX_OUTGOING + 600):
            outcome = await connection.publish(signed(str(n)) if n > 100 else big, 0.0005)
            assert len(connection._conversation._outgoing) <= MAX_OUTGOING
        assert outcome.state in (PublishState.NO_ANSWER, PublishState.NOT_CONNECTED)


async def test_a_subscription_the_relay_closed_is_asked_for_again_unless_that_is_final():
    recorder, naps = Recorder(), Naps()
    requests = []

    async def close_subscriptions(client):
        while True:
            sub_id = (await client.hear("REQ"))[1]
            requests.append(sub_id)
            await client.say("CLOSED", sub_id, "restricted: no" if sub_id == "barred" else "error: idle")

    async with (
        ScriptedRelay(close_subscriptions) as relay,
        connected(relay.url, recorder, outside=Outside(sleep=naps)) as connection,
    ):
        connection.subscribe("barred", [JOBS])
        await until(lambda: requests.count("jobs") >= 4)
    assert requests.count("barred") == 1
    assert SubscriptionClosed("barred", Prefix.RESTRICTED, "no") in recorder.happenings
    assert naps.asked[1] > naps.asked[0] / 2


async def test_unsubscribing_tells_the_relay():
    heard = []

    async def listen(client):
        heard.append(await client.hear("CLOSE"))

    async with ScriptedRelay(listen) as relay, connected(relay.url, Recorder()) as connection:
        await wait_connected(connection)
        connection.unsubscribe("jobs")
        await until(lambda: heard)
    assert heard == [["CLOSE", "jobs"]]


async def test_a_relay_that_wants_to_know_who_we_are_is_told():
    recorder, event = Recorder(), signed()
    async with LocalRelay(require_auth=True) as relay, connected(relay.url, recorder, keys=KEYS) as connection:
        await until(lambda: recorder.of(CaughtUp))
        assert (await connection.publish(event, 5)).is_accepted
        await until(lambda: recorder.of(EventHeard))


async def test_a_relay_that_never_answers_auth_is_asked_again_after_the_grace():
    recorder = Recorder()

    async def no_answer_to_auth(client):
        sub_id = (await client.hear("REQ"))[1]
        await client.say("CLOSED", sub_id, "auth-required: log in")
        await client.say("AUTH", "challenge")
        await client.hear("AUTH")
        assert (await client.hear("REQ"))[1] == sub_id
        await client.say("EOSE", sub_id)

    async with (
        ScriptedRelay(no_answer_to_auth) as relay,
        connected(relay.url, recorder, keys=KEYS, outside=Outside()),
    ):
        await until(lambda: recorder.of(CaughtUp))


async def test_stopping_while_the_relay_says_nothing_takes_no_longer_than_its_goodbye_may():
    async with LocalRelay() as relay, FaultProxy(relay.url) as proxy:
        connection = RelayConnection(Session(proxy.url), Recorder(), Outside(), DialOptions())
        running = asyncio.create_task(connection.run())
        await wait_connected(connection)
        proxy.stall()
        running.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([running])
        assert running.cancelled()
        assert connection.state is RelayState.STOPPED
