"""One relay of five lives: jobs are heard, results arrive, and the books say what each relay made of them."""

import asyncio
import contextlib

import pytest

from relay_client.local_relay import LocalRelay
from tests.faults import ScriptedRelay, refusing_port, tarpit
from tests.flows.live import until
from tests.flows.shop import books, publish, serving
from tests.flows.storm import SERVED, all_were_served_once, crowd, request

JOBS = 5
ACCEPTED, NOT_CONNECTED, NO_ANSWER = "accepted", "not_connected", "no_answer"


async def never_answers(client):
    await client.hear("nothing that a client says")


async def drops_mid_way(client):
    """It looks alive: it takes the subscription, and is gone as soon as it is given an event."""
    sub_id = (await client.hear("REQ"))[1]
    await client.say("EOSE", sub_id)
    await client.hear("EVENT")
    client.ws.transport.abort()


@pytest.fixture
async def relays():
    """Of five kinds; the URL of each."""
    async with contextlib.AsyncExitStack() as stack:
        yield {
            "refuses": stack.enter_context(refusing_port()),
            "takes the connection and hangs": await stack.enter_async_context(tarpit()),
            "never answers": (await stack.enter_async_context(ScriptedRelay(never_answers))).url,
            "drops mid-way": (await stack.enter_async_context(ScriptedRelay(drops_mid_way))).url,
            "lives": (await stack.enter_async_context(LocalRelay())).url,
        }


async def deliveries(folder):
    """For each event of every job, what became of it at each relay."""
    stories = await books(folder)
    return [
        {delivery.relay: delivery.outcome for delivery in told} for story in stories for _, told in story.events
    ]


async def test_with_one_relay_of_five_alive_jobs_are_heard_and_results_arrive(relays, tmp_path):
    async with serving(tmp_path, *relays.values()) as shop, crowd(shop, relays["lives"]) as customers:
        asked = [request() for _ in range(JOBS)]
        await publish(relays["lives"], *asked)
        await customers.are_all(asked)
        assert {customers.statuses(event) for event in asked} == {SERVED}
        assert (await shop.relays())[relays["lives"]] == "connected"
        assert (await shop.relays())[relays["refuses"]] != "connected"
        assert (await shop.relays())[relays["takes the connection and hangs"]] != "connected"
        await are_noted(tmp_path, JOBS * len(SERVED))
    await all_were_served_once(tmp_path, asked)
    told = await deliveries(tmp_path)
    outcomes = {name: {each[url] for each in told} for name, url in relays.items()}
    assert outcomes.pop("drops mid-way") <= {NO_ANSWER, NOT_CONNECTED}
    assert outcomes == {
        "refuses": {NOT_CONNECTED},
        "takes the connection and hangs": {NOT_CONNECTED},
        "never answers": {NO_ANSWER},
        "lives": {ACCEPTED},
    }


async def are_noted(folder, events):
    """What each relay made of an event is written a moment after the first has taken it."""

    async def they_are():
        return sum(map(bool, await deliveries(folder))) == events

    await until(they_are)


async def test_what_only_a_dying_relay_was_asked_is_answered_where_one_lives(relays, tmp_path):
    """A relay that drops every connection still brings what it has stored, and the answer goes elsewhere."""
    request_made = asyncio.get_running_loop().create_future()

    async def dies_after_telling(client):
        sub_id = (await client.hear("REQ"))[1]
        # What was asked before Timmy's first start was asked of nobody, so it is asked when he has started.
        await client.ws.send(f'["EVENT","{sub_id}",{(await request_made).to_json()}]')
        await client.ws.close()

    async with ScriptedRelay(dies_after_telling) as dying:
        urls = [relays["refuses"], dying.url, relays["lives"]]
        async with serving(tmp_path, *urls) as shop, crowd(shop, relays["lives"]) as customers:
            asked = request()
            request_made.set_result(asked)
            await customers.are_all([asked])
            await until(lambda: dying.connections > 1)
            assert customers.statuses(asked) == SERVED
    await all_were_served_once(tmp_path, [asked])
