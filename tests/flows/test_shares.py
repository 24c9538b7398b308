"""A crowd of newcomers takes its share of what is bounded, and leaves the rest to keys that have paid before."""

import asyncio
from collections import Counter

import pytest

from ledger.records import JobState
from relay_client.local_relay import LocalRelay
from tests.flows.live import until
from tests.flows.shop import Hasty, books, fresh_keys, publish, serving
from tests.flows.storm import SERVED, crowd, request
from timmy_dvm.agent.offline import OfflineAgent

NEWCOMERS = 6_000
INVOICES_FOR_NEWCOMERS = 500
"""Half of `limits.open_invoices`."""
KNOWN_JOBS = 20
PAID_WITH_CREDIT = SERVED[1:]
"""The change of some jobs pays for the next one."""
AT_ONCE = 3
"""`limits.open_jobs_per_key`."""


@pytest.fixture
async def relay():
    async with LocalRelay() as made:
        yield made


async def test_a_key_that_has_paid_is_served_while_six_thousand_new_ones_ask_and_each_of_those_hears_why_not(
    relay, tmp_path
):
    payer = fresh_keys()
    first = request(keys=payer, ago_s=60)
    jobs = [request(("n", str(number)), keys=payer) for number in range(KNOWN_JOBS)]
    newcomers = [request() for _ in range(NEWCOMERS)]
    ours = {event.id for event in (first, *jobs)}
    async with (
        serving(tmp_path, relay.url, clock=Hasty(10), limits={"jobs_per_key_minute": 1 + KNOWN_JOBS}) as shop,
        crowd(shop, relay.url, pays=ours.__contains__) as customers,
    ):
        await publish(relay.url, first)
        await customers.are_all([first])
        await publish(relay.url, *newcomers)
        for start in range(0, KNOWN_JOBS, AT_ONCE):
            await publish(relay.url, *jobs[start : start + AT_ONCE])
            await customers.are_all(jobs[start : start + AT_ONCE], PAID_WITH_CREDIT)
            if not start:
                # The crowd was there before, and is not through yet.
                assert any(not customers.answers[each.id] for each in newcomers)
        assert {customers.statuses(each) for each in jobs} <= {SERVED, PAID_WITH_CREDIT}
        await until(lambda: all(customers.answers[each.id] for each in newcomers), timeout_s=300)
    told = Counter(customers.statuses(each) for each in newcomers)
    assert told.keys() == {("payment-required",), ("error",)}
    assert INVOICES_FOR_NEWCOMERS - AT_ONCE <= told["payment-required",] <= INVOICES_FOR_NEWCOMERS
    answers = [customers.answers[each.id][0] for each in newcomers if customers.statuses(each) == ("error",)]
    assert {(each.tag("code")[1], each.content) for each in answers} == {
        ("busy", "Too many requests wait for payment just now: ask again in 10 minutes.")
    }


class Patient(OfflineAgent):
    """A model that begins what newcomers ask, and ends it when it may."""

    def __init__(self):
        super().__init__()
        self.may_end = asyncio.Event()
        self.at_work = 0

    async def evaluate(self, task, *, deadline_s):
        if task.text.startswith("Slowly: "):
            self.at_work += 1
            await self.may_end.wait()
        return await super().evaluate(task, deadline_s=deadline_s)


async def test_newcomers_who_paid_hold_half_of_the_places_at_the_model_and_are_all_served_in_the_end(
    relay, tmp_path
):
    payer, model = fresh_keys(), Patient()
    first, known = request(keys=payer, ago_s=60), request(keys=payer)
    newcomers = [request(text=f"Slowly: {number}") for number in range(10)]
    async with (
        serving(tmp_path, relay.url, agent=model, limits={"in_flight": 4}) as shop,
        crowd(shop, relay.url) as customers,
    ):
        await publish(relay.url, first)
        await customers.are_all([first])
        await publish(relay.url, *newcomers)
        await customers.are_all(newcomers, ("payment-required", "processing"))
        await until(lambda: model.at_work == 2)
        await publish(relay.url, known)
        await customers.are_all([known])
        assert model.at_work == 2
        model.may_end.set()
        await customers.are_all(newcomers)
    assert {story.job.state for story in await books(tmp_path)} == {JobState.COMPLETE}


async def test_one_key_with_many_paid_jobs_leaves_places_at_the_model_to_others(relay, tmp_path):
    busy, model = fresh_keys(), Patient()
    first, other = request(keys=busy, ago_s=60), request()
    slow = [request(text=f"Slowly: {number}", keys=busy) for number in range(5)]
    async with (
        serving(tmp_path, relay.url, agent=model, limits={"in_flight": 4, "open_jobs_per_key": 5}) as shop,
        crowd(shop, relay.url) as customers,
    ):
        await publish(relay.url, first)
        await customers.are_all([first])
        await publish(relay.url, *slow)
        await customers.are_all(slow, ("payment-required", "processing"))
        await until(lambda: model.at_work == 2)
        await publish(relay.url, other)
        await customers.are_all([other])
        model.may_end.set()
        await customers.are_all(slow)
