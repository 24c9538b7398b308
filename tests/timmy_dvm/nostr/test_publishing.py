"""Events of ours on their way out, with a scripted pool."""

import pytest

from relay_client.dial import PublishOutcome, PublishState
from relay_client.wire import Prefix
from tests.timmy_dvm.nostr.door import OTHER, ScriptedPool, job
from timmy_dvm.nostr.publishing import NostrPublisher


def outcome(state, prefix=Prefix.NONE):
    return PublishOutcome(state, prefix, "words")


async def test_publish_reports_one_word_for_each_relay():
    pool = ScriptedPool()
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
        ("[]", None),
        ("", None),
        (f'["{OTHER}"]', [OTHER]),
        (f'["wss://strange.example","{OTHER}"]', [OTHER]),
        ('["wss://strange.example"]', None),
    ],
)
async def test_only_configured_relays_are_published_to(targets, urls):
    pool = ScriptedPool()
    event = job()
    await NostrPublisher(pool).publish(event.to_json(), targets)
    assert pool.published == [(event.id, urls)]


@pytest.mark.parametrize(("event", "targets"), [("{}", "[]"), (job().to_json(), "{")])
async def test_what_cannot_be_an_event_of_ours_is_not_published(event, targets):
    pool = ScriptedPool()
    assert await NostrPublisher(pool).publish(event, targets) == {}
    assert not pool.published
