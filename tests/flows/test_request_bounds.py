"""Bounds, over real sockets: how long an invoice lives, how often nonsense is answered, what a log shows."""

import time

import pytest

from lightning import bolt11
from relay_client.local_relay import LocalRelay
from tests.flows.live import PATIENCE_S
from tests.flows.shop import TIMMY, books, fresh_keys, heard, invoice_of, publish, said, serving, signed
from timmy_dvm.log import OURS

TEXT = 5050
ASK = (("i", "What does a data vending machine do for me?", "text"),)
HALF_AN_HOUR_S = 1_800


def request(*more, keys=None, ago_s=0):
    return signed(keys or fresh_keys(), TEXT, (*ASK, *more), ago_s=ago_s, to=TIMMY.public_key)


@pytest.fixture
async def relay():
    async with LocalRelay() as made:
        yield made


async def test_an_invoice_ends_with_the_request_it_is_for(relay, tmp_path):
    ends_at = int(time.time()) + 300
    asked, endless = request(("expiration", str(ends_at))), request()
    async with serving(tmp_path, relay.url):
        await publish(relay.url, asked, endless)
        ends = bolt11.decode(invoice_of(await heard(relay.url, asked, "payment-required"))).expires_at
        later = bolt11.decode(invoice_of(await heard(relay.url, endless, "payment-required"))).expires_at
    assert ends_at - PATIENCE_S <= ends <= ends_at + PATIENCE_S
    assert later > ends_at + HALF_AN_HOUR_S


async def test_who_asks_three_hundred_times_for_nothing_hears_twenty_errors_and_others_are_served(relay, tmp_path):
    keys, honest = fresh_keys(), request()
    nonsense = [request(("bid", "1"), keys=keys, ago_s=seconds) for seconds in range(300)]
    async with serving(tmp_path, relay.url):
        await publish(relay.url, *nonsense, honest)
        await heard(relay.url, honest, "payment-required")
    named = {event.id for event in nonsense}
    errors = [event for event in await said(relay.url) if named & set(event.tag_values("e"))]
    # A key's patience comes back within a minute, and what is begun at the start may take some seconds.
    assert 20 <= len(errors) <= 20 + PATIENCE_S // 3
    assert [story.job.event_id for story in await books(tmp_path)] == [honest.id]


async def test_no_log_shows_more_of_a_jobs_or_a_refunds_id_than_finds_it(relay, tmp_path, caplog):
    """Whole, it opens the job's page: who may read it there is told it, and whoever reads the log is not."""
    caplog.set_level("DEBUG")
    asked = request()
    async with serving(tmp_path, relay.url) as shop:
        await publish(relay.url, asked)
        await shop.pay(invoice_of(await heard(relay.url, asked, "payment-required")))
        await heard(relay.url, asked, "success")
    (story,) = await books(tmp_path)
    # With the library's own debugging on, the frames that go out are in the log, and the page's address in them.
    ours = [record for record in caplog.records if record.name.startswith(OURS)]
    shown = "\n".join(str(record.__dict__) for record in ours)
    assert story.job.id[:8] in shown
    for secret in (story.job.id, *(refund.id for refund in story.refunds)):
        assert secret[:9] not in shown
