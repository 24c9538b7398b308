"""How long a relay is left in peace that says we are too fast."""

import pytest

from relay_client.pace import FIRST_PAUSE_S, MAX_PAUSE_S, Pace, is_complaint


def pauses(pace, count, now=0.0, jitter=0.0):
    told = []
    for _ in range(count):
        pace.too_fast(now, jitter)
        told.append(pace.wait_s(now))
        now += told[-1]
    return told


def test_each_complaint_doubles_the_pause_up_to_a_limit():
    assert pauses(Pace(), 8) == [FIRST_PAUSE_S * 2**n for n in range(6)] + [MAX_PAUSE_S] * 2


def test_without_a_complaint_there_is_no_pause():
    pace = Pace()
    pace.went_well()
    assert pace.wait_s(0.0) == 0.0


def test_many_complaints_about_what_was_under_way_are_one():
    pace = Pace()
    for n in range(100):
        pace.too_fast(0.01 * n, 0.0)
    assert pace.wait_s(0.0) == FIRST_PAUSE_S


def test_success_shortens_the_next_pause_again():
    pace = Pace()
    pauses(pace, 4)
    pace.went_well()
    assert pauses(pace, 1, now=1_000.0) == [FIRST_PAUSE_S * 2**3]
    for _ in range(20):
        pace.went_well()
    assert pauses(pace, 1, now=2_000.0) == [FIRST_PAUSE_S]


def test_not_all_come_back_at_the_same_moment():
    assert pauses(Pace(), 1, jitter=0.5) == [FIRST_PAUSE_S * 1.125]


@pytest.mark.parametrize(
    "notice",
    ["rate-limited: slow down", "rate limit exceeded", "Rate limited", "Too many events", "you post too fast"],
)
def test_a_notice_can_be_a_complaint(notice):
    assert is_complaint(notice)


@pytest.mark.parametrize("notice", ["", "welcome", "invalid: event id", "please separate your filters"])
def test_not_every_notice_is(notice):
    assert not is_complaint(notice)
