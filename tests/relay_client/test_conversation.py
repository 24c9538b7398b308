"""One session on one open socket: it ends when it should, and leaves nothing behind."""

import asyncio
import contextlib

import pytest

from relay_client.conversation import DROPPED, HUNG_UP, Conversation
from relay_client.dial import DialOptions, Outside, open_socket
from relay_client.happenings import Misbehaved, NoticeHeard, Score
from relay_client.session import Session
from tests.faults import FaultProxy, ScriptedRelay, until
from tests.relay_client.kit import JOBS, signed


@contextlib.asynccontextmanager
async def talking_to(url, heard=None):
    """A conversation on an open socket that has not begun, and what is heard in it."""
    session, happenings = Session(url), []
    session.subscribe("jobs", [JOBS])

    async def write_down(happening):
        happenings.append(happening)
        if heard is not None:
            await heard(conversation, happening)

    async with open_socket(url, DialOptions()) as ws:
        conversation = Conversation(session, ws, Score(), Outside(), write_down)
        session.opened()
        yield conversation, happenings


async def three_notices(client):
    for n in range(3):
        await client.say("NOTICE", str(n))


async def test_it_ends_when_the_listener_has_heard_enough():
    async def enough(conversation, happening):
        if isinstance(happening, NoticeHeard):
            conversation.end()

    async with ScriptedRelay(three_notices) as relay, talking_to(relay.url, enough) as (conversation, happenings):
        async with asyncio.timeout(5):
            assert await conversation.run() == HUNG_UP
        assert [one for one in happenings if isinstance(one, NoticeHeard)] == [NoticeHeard("0")]
        assert not conversation._session.is_open


async def test_it_ends_when_the_connection_does_and_says_why():
    async def goodbye(client):
        await client.ws.close(4000, "so long")

    async with ScriptedRelay(goodbye) as relay, talking_to(relay.url) as (conversation, _):
        assert "so long" in await conversation.run()


async def test_it_ends_when_the_relay_has_misbehaved_too_much():
    async def shout(client):
        for _ in range(30):
            await client.say("nonsense")

    async with ScriptedRelay(shout) as relay, talking_to(relay.url) as (conversation, happenings):
        assert await conversation.run() == DROPPED
        assert all(isinstance(one, Misbehaved) for one in happenings)


async def test_what_comes_after_the_session_was_given_up_is_not_looked_at():
    async def lose(conversation, happening):
        conversation._session.lost()

    async with ScriptedRelay(three_notices) as relay, talking_to(relay.url, lose) as (conversation, happenings):
        assert await conversation.run() == HUNG_UP
        assert len(happenings) == 2  # the first notice, and that it is one


async def test_helpers_live_as_long_as_it_does_and_no_longer():
    ended = []

    async def help_():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def silence(client):
        await client.hear("never")

    async with ScriptedRelay(silence) as relay, talking_to(relay.url) as (conversation, _):
        running = asyncio.create_task(conversation.run(help_()))
        await until(lambda: conversation._tasks)
        running.cancel()
        await asyncio.wait([running])
        assert ended == [True]
        work = help_()
        with pytest.raises(RuntimeError, match="while the conversation runs"):
            conversation.help(work)
        work.close()


async def test_what_the_socket_does_not_take_waits_and_goes_out_in_order():
    heard = []

    async def listen(client):
        while True:
            heard.append((await client.hear("EVENT"))[1]["id"])

    events = [signed("x" * 100_000 + str(n)) for n in range(100)]
    async with (
        ScriptedRelay(listen) as relay,
        FaultProxy(relay.url) as proxy,
        talking_to(proxy.url) as (conversation, _),
    ):
        proxy.stall()
        running = asyncio.create_task(conversation.run())
        for event in events:
            conversation._session.publish(event)
        conversation.flush()
        assert conversation._outgoing
        assert not conversation.is_congested
        proxy.pass_on()
        await until(lambda: len(heard) == len(events), timeout_s=20)
        running.cancel()
        await asyncio.wait([running])
    assert heard == [event.id for event in events]


async def test_a_connection_that_ends_while_something_waits_to_be_sent_ends_it():
    async def deaf(client):
        client.ws.transport.pause_reading()

    async with (
        ScriptedRelay(deaf) as relay,
        FaultProxy(relay.url) as proxy,
        talking_to(proxy.url) as (conversation, _),
    ):
        for n in range(100):
            conversation._session.publish(signed("x" * 100_000 + str(n)))
        conversation.flush()
        running = asyncio.create_task(conversation.run())
        await until(lambda: len(conversation._outgoing) < 100)
        proxy.cut()
        async with asyncio.timeout(5):
            assert "connection lost" in await running
