"""Ten minutes without Timmy, or without a line to him: nothing that was asked meanwhile is lost or done twice."""

import asyncio
import contextlib

import pytest

from relay_client.local_relay import LocalRelay, RelayLimits
from tests.faults import FaultProxy
from tests.flows.live import until
from tests.flows.shop import Shifted, publish, serving
from tests.flows.storm import SERVED, all_were_served_once, crowd, request
from tests.peer_relays import NpmRelay

pytestmark = pytest.mark.peer

GAP_S = 600
JOBS = 200
COPIES = ((0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2))
"""On which of the relays a request is published; each pattern in turn."""
A_FEW = RelayLimits(limit=7)
"""What a relay may tell at once (NIP-11 `max_limit`), far less than it has stored."""


@pytest.fixture
async def relays():
    async with LocalRelay() as one, LocalRelay() as two, NpmRelay() as foreign:
        yield [one.url, two.url, foreign.url]


@pytest.fixture
async def lines(relays):
    """Timmy's lines to the relays, which can be cut; customers have their own."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(FaultProxy(url)) for url in relays]


async def ask_all(relays):
    """As many customers as there are jobs, spread over the gap; their requests."""
    asked = [request(ago_s=GAP_S * n // JOBS) for n in range(JOBS)]
    copies = [[event for n, event in enumerate(asked) if here in COPIES[n % len(COPIES)]] for here in range(3)]
    await asyncio.gather(*(publish(url, *events) for url, events in zip(relays, copies, strict=True)))
    return asked


async def are_served_once(shop, folder, relays, asked):
    async with crowd(shop, *relays) as customers:
        await customers.are_all(asked)
        assert {customers.statuses(event) for event in asked} == {SERVED}
        assert len(customers.answers) == len(asked)


async def test_what_was_asked_while_timmy_was_down_is_served_once_after_the_start(relays, tmp_path):
    async with serving(tmp_path, *relays, clock=Shifted(-GAP_S)) as shop:
        await shop.is_connected(*relays)
    asked = await ask_all(relays)
    async with serving(tmp_path, *relays) as shop:
        await are_served_once(shop, tmp_path, relays, asked)
    await all_were_served_once(tmp_path, asked)


async def test_what_was_asked_while_every_line_was_cut_is_served_once_after_the_reconnect(relays, lines, tmp_path):
    clock = Shifted(-GAP_S)
    urls = [line.url for line in lines]
    async with serving(tmp_path, *urls, clock=clock) as shop:
        await shop.is_connected(*urls)
        for line in lines:
            line.refuse()
        for url in urls:
            await shop.is_cut_off_from(url)
        asked = await ask_all(relays)
        clock.seconds = 0
        for line in lines:
            line.accept()
        await are_served_once(shop, tmp_path, relays, asked)
    await all_were_served_once(tmp_path, asked)


@pytest.mark.parametrize("names", [(True,), (False,), (True, False)], ids=["Timmy", "nobody", "Timmy or nobody"])
async def test_what_a_relay_does_not_tell_at_once_is_asked_for_until_it_has_told_all(names, tmp_path):
    async with LocalRelay(limits=A_FEW) as relay:
        async with serving(tmp_path, relay.url, clock=Shifted(-GAP_S)) as shop:
            await shop.is_connected(relay.url)
        asked = [request(ago_s=GAP_S * n // JOBS, is_named=names[n % len(names)]) for n in range(JOBS)]
        await publish(relay.url, *asked)
        async with serving(tmp_path, relay.url) as shop:
            await are_served_once(shop, tmp_path, [relay.url], asked)
    await all_were_served_once(tmp_path, asked)


async def test_lines_that_are_cut_while_a_relay_is_read_backwards_lose_and_double_nothing(tmp_path):
    async with LocalRelay(limits=A_FEW) as relay, FaultProxy(relay.url) as line:
        async with serving(tmp_path, line.url, clock=Shifted(-GAP_S)) as shop:
            await shop.is_connected(line.url)
        asked = [request(ago_s=GAP_S * n // JOBS, is_named=n % 3 > 0) for n in range(JOBS)]
        await publish(relay.url, *asked)
        async with serving(tmp_path, line.url) as shop, crowd(shop, relay.url) as customers:
            for some in (1, JOBS // 4, JOBS // 2):
                await until(lambda some=some: len(customers.answers) >= some)
                line.refuse()
                await shop.is_cut_off_from(line.url)
                line.accept()
            await customers.are_all(asked)
            assert {customers.statuses(event) for event in asked} == {SERVED}
    await all_were_served_once(tmp_path, asked)
