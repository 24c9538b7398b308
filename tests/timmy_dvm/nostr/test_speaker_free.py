"""What the speaker says of a job of the free tier: in words, and in tags where programs look (JOB-13)."""

import json

import pytest

from ledger.money import Msats
from tests.timmy_dvm.nostr.test_speaker import DELIVERED, MESSAGES, PRICE, encrypted, opened, say
from timmy_dvm.core.actions import FreeUse, Working
from timmy_dvm.nostr.privacy import Scheme

FREE = Working(
    covered_by="pool",
    credit=Msats(0),
    free=FreeUse(absorbed=Msats(12_000), used=Msats(12_000), budget=Msats(50_000)),
)
TAGS = [("free_tier", "true"), ("absorbed_sats", "12")]


def test_served_from_the_pool_there_is_no_invoice_and_it_is_said_how_much_of_the_day_is_used():
    _, (event,) = say(FREE, absorbed=12)
    words = "free: 12 of 50 sats used today."
    assert (event.kind, event.content) == (7000, words)
    assert event.tag("status") == ("status", "processing", words)
    assert event.tag("amount") is None
    assert event.tag("free_tier") == TAGS[0]
    assert event.tag("absorbed_sats") == TAGS[1]


def test_what_of_the_request_changes_nothing_is_said_there_for_no_price_was_told_before():
    _, (event,) = say(FREE, absorbed=12, ignored=("top_k",))
    assert event.content == "free: 12 of 50 sats used today. Not used here: top_k."


@pytest.mark.parametrize("message", [PRICE, FREE, *MESSAGES.values()])
def test_every_feedback_of_such_a_job_has_both_tags_and_of_no_other_job(message):
    for absorbed, expected in ((12, TAGS), (0, [TAGS[0], ("absorbed_sats", "0")]), (None, [])):
        _, events = say(message, absorbed=absorbed)
        for event in events:
            found = [tag for tag in event.tags if tag[0] in ("free_tier", "absorbed_sats")]
            assert found == (expected if event.kind == 7000 else [])


@pytest.mark.parametrize("scheme", [Scheme.NIP04, Scheme.NIP44])
def test_in_private_the_tags_are_inside(scheme):
    for message in (FREE, DELIVERED):
        _, events = say(message, encrypted(scheme), scheme, absorbed=12)
        feedback = events[-1]
        assert feedback.tag("free_tier") is None
        assert [tuple(tag) for tag in json.loads(opened(feedback.content)) if tag[0] in dict(TAGS)] == TAGS
