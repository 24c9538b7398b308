"""Events of ours on their way out, with a scripted pool."""

import asyncio

import pytest

from relay_client.dial import PublishOutcome, PublishState
from relay_client.wire import Prefix
from tests.timmy_dvm.nostr.door import OTHER, TIMEOUT_S, ScriptedPool, job
from tests.timmy_dvm.nostr.kit import RELAY
from timmy_dvm.nostr.publishing import NostrPublisher


def outcome(state, prefix=Prefix.NONE):
    return PublishOutcome(state, prefix, "words")


async def test_publish_reports_one_word_for_each_relay():
    pool = ScriptedPool("abcde")
    pool.outcomes = {
        "a": outcome(PublishState.ACCEPTED, Prefix.DUPLICATE),
        "b": outcome(PublishState.REFUSED, Prefix.RATE_LIMITED),
        "c": outcome(PublishState.REFUSED),
        "d": outcome(PublishState.NO_ANSWER),
        "e": outcome(PublishState.NOT_CONNECTED),
    }
    words = await NostrPublisher(pool).publish(job().to_json(), "[]")
    assert words == {
        "a": "accepted", "b": "rate-limited", "c": "refused", "d": "no_answer", "e": "not_connected"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("targets", "urls"),
    [
        ("[]", [RELAY, OTHER]),
        ("", [RELAY, OTHER]),
        (f'["{OTHER}"]', [OTHER]),
        (f'["wss://strange.example","{OTHER}"]', [OTHER]),
        ('["wss://strange.example"]', [RELAY, OTHER]),
    ],
)
async def test_only_configured_relays_are_published_to(targets, urls):
    pool = ScriptedPool()
    event = job()
    await NostrPublisher(pool).publish(event.to_json(), targets)
    assert pool.published == [(event.id, url) for url in urls]


async def test_a_relay_that_never_answers_is_not_waited_for_once_another_has_taken_the_event(monkeypatch):
    monkeypatch.setattr("timmy_dvm.nostr.publishing.STRAGGLERS_S", 0.01)
    pool = ScriptedPool("abc")
    pool.gates = {"a": asyncio.Event()}
    pool.outcomes = {"b": outcome(PublishState.REFUSED, Prefix.RATE_LIMITED)}
    async with asyncio.timeout(TIMEOUT_S):
        words = await NostrPublisher(pool).publish(job().to_json(), "[]")
    assert words == {"a": "no_answer", "b": "rate-limited", "c": "accepted"}


async def test_while_no_relay_has_taken_an_event_each_is_waited_for(monkeypatch):
    monkeypatch.setattr("timmy_dvm.nostr.publishing.STRAGGLERS_S", 0)
    pool = ScriptedPool("abc")
    gate, refused = asyncio.Event(), outcome(PublishState.REFUSED, Prefix.RATE_LIMITED)
    pool.outcomes, pool.gates = {"b": refused, "c": refused}, {"a": gate}
    publishing = asyncio.create_task(NostrPublisher(pool).publish(job().to_json(), "[]"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not publishing.done()
    gate.set()
    assert await publishing == {"a": "accepted", "b": "rate-limited", "c": "rate-limited"}


@pytest.mark.parametrize(("event", "targets"), [("{}", "[]"), (job().to_json(), "{")])
async def test_what_cannot_be_an_event_of_ours_is_not_published(event, targets):
    pool = ScriptedPool()
    assert await NostrPublisher(pool).publish(event, targets) == {}
    assert not pool.published
