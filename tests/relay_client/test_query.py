"""What one query gathers: proved, once, and no more than its bounds, whoever sends it."""

import asyncio
import dataclasses

import pytest

from relay_client import query
from relay_client.event import UnverifiedEvent
from relay_client.filter import Filter
from relay_client.happenings import CaughtUp, EventHeard, NoticeHeard, Score, SubscriptionClosed
from relay_client.query import MAX_FOUND, Findings, Share
from relay_client.wire import Prefix
from tests.relay_client.kit import JOBS, signed


def told(event):
    return EventHeard("q1", UnverifiedEvent.from_wire(event.to_json()))


def take(share, event, score=None):
    return share.take(told(event), score or Score(), 0.0)


async def test_what_two_relays_send_is_found_once_newest_first():
    findings = Findings([JOBS])
    old, new = signed("old", created_at=1_700_000_000), signed("new", created_at=1_700_000_001)
    twins = sorted((signed(str(n), created_at=1_600_000_000) for n in range(5)), key=lambda event: event.id)
    for events in ((old, new), (new, *reversed(twins), old)):
        share = Share(findings)
        assert all(take(share, event) for event in events)
    assert findings.newest_first() == [new, old, *twins]


async def test_a_false_event_is_left_out_and_scored_and_does_not_hide_the_true_one():
    findings, score, true = Findings([JOBS]), Score(), signed("true")
    fields = {name: getattr(true, name) for name in true.__struct_fields__}
    forged = EventHeard("q1", UnverifiedEvent(**{**fields, "content": "forged"}))
    assert Share(findings).take(forged, score, 0.0)
    assert score.points(0.0) > 0
    assert findings.newest_first() == []
    take(Share(findings), true)
    assert findings.newest_first() == [true]


@pytest.mark.parametrize("happening", [CaughtUp("q1"), SubscriptionClosed("q1", Prefix.RATE_LIMITED, "")])
async def test_a_relay_has_answered_when_it_says_so_or_refuses(happening):
    share = Share(Findings([JOBS]))
    assert share.take(NoticeHeard("busy"), Score(), 0.0)
    assert not share.take(happening, Score(), 0.0)


@pytest.mark.parametrize(
    ("limits", "count"), [([1], 1), ([2, 3], 5), ([0], 0), ([None], MAX_FOUND), ([10_000, None], MAX_FOUND)]
)
async def test_a_relay_may_send_as_many_events_as_were_asked_for(limits, count):
    findings = Findings([Filter(limit=limit) for limit in limits])
    share = Share(findings)
    for n in range(1, count):
        assert take(share, signed(str(n)))
    for _ in range(3):
        assert not take(share, signed("the last, or too many"))
    assert len(findings.newest_first()) == count


async def test_a_relay_may_send_only_so_many_bytes_and_another_still_its_own(monkeypatch):
    big = [signed("x" * 10_000 + str(n)) for n in range(10)]
    monkeypatch.setattr(query, "MAX_FOUND_BYTES", 35_000)
    findings = Findings([JOBS])
    flooder, honest = Share(findings), Share(findings)
    assert [take(flooder, event) for event in big] == [True] * 3 + [False] * 7
    assert take(honest, true := signed("true"))
    assert findings.newest_first()[0] in (true, *big)
    assert len(findings.newest_first()) == 4


async def test_doubles_and_forgeries_use_up_a_share_too():
    findings = Findings([Filter(limit=3)])
    share, event = Share(findings), signed()
    assert [take(share, event) for _ in range(4)] == [True, True, False, False]


def test_every_filter_that_is_sent_has_a_limit():
    filters = Findings([JOBS, Filter(limit=3), Filter(limit=99_999)]).filters
    assert [filter_.limit for filter_ in filters] == [MAX_FOUND, 3, MAX_FOUND]
    assert dataclasses.replace(filters[0], limit=None) == JOBS


def test_a_query_for_nothing_is_refused():
    with pytest.raises(ValueError, match="filter"):
        Findings([])


async def test_enough_ends_it_and_so_do_the_end_the_time_and_that_all_have_answered():
    event = signed()

    async def find(findings):
        take(Share(findings), event)
        await asyncio.Event().wait()

    async def end(findings):
        findings.end()
        await asyncio.Event().wait()

    async def answer(findings):
        take(Share(findings), event)

    for ask, enough, timeout_s in ((find, 1, 600), (end, None, 600), (find, 2, 0.01), (answer, None, 600)):
        findings = Findings([JOBS], enough)
        async with asyncio.timeout(5):
            await findings.gather([ask(findings)], timeout_s)
        assert findings.newest_first() == ([] if ask is end else [event])
        findings.end()  # once more is nothing to do


async def test_a_cancelled_query_is_cancelled():
    findings = Findings([JOBS])
    waiting = asyncio.create_task(findings.gather([asyncio.Event().wait()], 600))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
