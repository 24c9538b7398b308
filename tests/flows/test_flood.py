"""A flood of everything that strangers can send: paid jobs are served, nothing hostile becomes a job or work.

What it costs in time and memory is measured by `make bench`.
"""

import json
from collections import Counter, defaultdict

from relay_client.event import Event
from relay_client.local_relay import LocalRelay
from tests.faults import ScriptedRelay
from tests.flows.hostile import LIES, SIGNED, Hostile
from tests.flows.live import until
from tests.flows.shop import TIMMY, fresh_keys, publish, serving, status_of
from tests.flows.storm import SERVED, all_were_served_once, crowd, request
from timmy_dvm.nostr.port import SUBSCRIPTION

EVENTS = 3_000
LIES_A_ROUND = 100
JOBS = 5


class Muddy:
    """An honest relay that strangers use: it passes on what they signed, and notes what Timmy says to them."""

    def __init__(self):
        self._hostile = Hostile(TIMMY.public_key, SIGNED)
        self.sort_of = {}
        self.answers = defaultdict(list)
        self.has_sent_all = False

    async def script(self, client):
        while (await client.hear("REQ"))[1] != SUBSCRIPTION:
            pass
        await client.say("EOSE", SUBSCRIPTION)
        for sort, event in self._hostile.named(EVENTS):
            self.sort_of[event.id] = sort
            await client.ws.send(f'["EVENT","{SUBSCRIPTION}",{event.to_json()}]')
        self.has_sent_all = True
        while True:
            said = Event.from_wire(json.dumps((await client.hear("EVENT"))[1]))
            for asked in said.tag_values("e"):
                self.answers[asked].append(status_of(said))
            await client.say("OK", said.id, True, "")


async def liar(client):
    while (await client.hear("REQ"))[1] != SUBSCRIPTION:
        pass
    hostile = Hostile(TIMMY.public_key, LIES)
    while True:
        for frame in hostile.frames(SUBSCRIPTION, LIES_A_ROUND):
            await client.ws.send(frame)


async def test_paid_jobs_are_served_in_a_flood_and_nothing_hostile_becomes_a_job(tmp_path):
    payer, muddy = fresh_keys(), Muddy()
    async with (
        LocalRelay() as good,
        ScriptedRelay(muddy.script) as passing_on,
        ScriptedRelay(liar) as lying,
        serving(tmp_path, good.url, passing_on.url, lying.url) as shop,
        crowd(shop, good.url) as customers,
    ):
        jobs = [request(("n", str(number)), keys=payer) for number in range(JOBS)] + [request()]
        for job in jobs:
            await publish(good.url, job)
            await customers.are_all([job])
        await until(lambda: muddy.has_sent_all)
        assert {customers.statuses(job) for job in jobs} == {SERVED}
        relays = await shop.relays()
        assert relays[lying.url] == "penalised"
        assert relays[passing_on.url] == "connected"
    await all_were_served_once(tmp_path, jobs)
    told = Counter(
        (muddy.sort_of[asked], *said) for asked, said in muddy.answers.items() if asked in muddy.sort_of
    )
    # Whoever asked in a way that may be answered hears one error, or nothing; the others nothing.
    assert told.keys() <= {("undecryptable", "error"), ("refused", "error")}
    assert told["undecryptable", "error"] > 0
    assert told["refused", "error"] > 0
