"""A relay that wants less gets less, for a while, then longer."""

import pytest

from relay_client.dial import PublishOutcome, PublishState
from relay_client.wire import Prefix
from timmy_dvm.clock import ManualClock
from timmy_dvm.nostr.pauses import FIRST_PAUSE_S, LONGEST_PAUSE_S, Pauses

URL = "wss://relay.example"
LIMITED = PublishOutcome(PublishState.REFUSED, Prefix.RATE_LIMITED)
BLOCKED = PublishOutcome(PublishState.REFUSED, Prefix.BLOCKED)


async def test_rate_limited_begins_a_pause_that_ends_by_itself():
    clock = ManualClock()
    pauses = Pauses(clock)
    assert pauses.is_over(URL)
    pauses.hear(URL, LIMITED)
    assert not pauses.is_over(URL)
    assert pauses.is_over("wss://other.example")
    await clock.advance(FIRST_PAUSE_S - 1)
    assert not pauses.is_over(URL)
    await clock.advance(1)
    assert pauses.is_over(URL)


async def test_each_pause_is_twice_as_long_up_to_a_limit_and_an_hour_of_peace_forgives():
    clock = ManualClock()
    pauses = Pauses(clock)
    lengths = []
    for _ in range(7):
        pauses.hear(URL, LIMITED)
        began = clock.monotonic()
        while not pauses.is_over(URL):
            pauses.hear(URL, LIMITED)  # what was under way changes nothing
            await clock.advance(1)
        lengths.append(clock.monotonic() - began)
    assert lengths == [30, 60, 120, 240, 480, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    await clock.advance(3_600)
    pauses.hear(URL, LIMITED)
    await clock.advance(FIRST_PAUSE_S)
    assert pauses.is_over(URL)


@pytest.mark.parametrize(
    ("outcome", "always", "spare"),
    [
        (PublishOutcome(PublishState.ACCEPTED), False, False),
        (PublishOutcome(PublishState.ACCEPTED, Prefix.RATE_LIMITED), False, False),
        (PublishOutcome(PublishState.NOT_CONNECTED), False, False),
        (PublishOutcome(PublishState.NO_ANSWER), False, True),
        (BLOCKED, False, True),
        (LIMITED, True, True),
    ],
)
async def test_what_can_be_left_out_is_left_out_after_any_refusal_of_its_kind(outcome, always, spare):
    for is_spare, expected in ((False, always), (True, spare)):
        pauses = Pauses(ManualClock())
        pauses.hear(URL, outcome, is_spare=is_spare)
        assert pauses.is_over(URL) is not expected
