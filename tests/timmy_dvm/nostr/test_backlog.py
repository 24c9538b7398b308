"""What a relay keeps back is read page by page, all of it, and a relay that answers oddly holds nobody up."""

import itertools

import pytest

from relay_client.filter import Filter
from relay_client.hearing import Stored
from relay_client.query import MAX_FOUND_BYTES
from tests.timmy_dvm.nostr.kit import ALICE, NOW, P_TIMMY, RELAY, TIMMY, signed
from timmy_dvm.clock import ManualClock
from timmy_dvm.nostr import backlog
from timmy_dvm.nostr.backlog import Backlog, BacklogUnread

WANTED = Filter(kinds=frozenset({1059}), tags={"p": frozenset({TIMMY.public_key})})
SINCE = NOW - 10_000


class Napping(ManualClock):
    """Pauses are over at once."""

    async def sleep(self, seconds):
        del seconds


class Shelf:
    """A relay that gives its newest few at once, and no more than so many bytes of content."""

    def __init__(self, events, at_once, *, answers=(), most_bytes=MAX_FOUND_BYTES):
        self.events = sorted(events, key=lambda event: (-event.created_at, event.id))
        self.at_once, self.answers, self.most_bytes = at_once, list(answers), most_bytes
        self.asked = []

    @property
    def told(self):
        first = self.events[: self.at_once]
        return Stored(len(first), first[-1].created_at if first else 0)

    async def query(self, filters, *, urls, timeout_s):
        assert urls == [RELAY]
        assert timeout_s > 0
        (asked,) = filters
        self.asked.append(asked)
        if self.answers:
            return self.answers.pop(0)
        found = [event for event in self.events if asked.matches(event)][: min(self.at_once, asked.limit)]
        sizes = itertools.accumulate(len(event.content) for event in found)
        return [event for event, size in zip(found, sizes, strict=True) if size <= self.most_bytes]


def wraps(count, *, apart_s=10, content="sealed", until=NOW):
    return [
        signed(P_TIMMY, ("n", str(number)), kind=1059, at=until - number * apart_s, keys=ALICE, content=content)
        for number in range(count)
    ]


async def read(shelf, clock=None):
    """All that is read beyond what was told, and what was told."""
    found = shelf.events[: shelf.at_once]
    async for page in Backlog(shelf, clock or ManualClock(NOW), WANTED).older(RELAY, shelf.told, SINCE):
        found = [*found, *page]
    return {event.id for event in found}


@pytest.mark.parametrize("at_once", [2, 7, 20, 100, 5_000])
@pytest.mark.parametrize("count", [1, 20, 40, 150])
async def test_all_of_it_is_read_however_little_comes_at_once(at_once, count):
    shelf = Shelf(wraps(count), at_once)
    assert await read(shelf) == {event.id for event in shelf.events}


async def test_where_all_was_told_one_question_is_enough():
    shelf = Shelf(wraps(20), 500)
    await read(shelf)
    assert len(shelf.asked) == 1


async def test_what_is_asked_for_is_what_was_subscribed_to_between_two_dates():
    shelf = Shelf(wraps(20), 5)
    await read(shelf)
    first, *_ = shelf.asked
    assert (first.kinds, first.tags, first.since) == (WANTED.kinds, WANTED.tags, SINCE)
    assert (first.until, first.limit) == (NOW - 40, backlog.PAGE)
    assert all(earlier.until > later.until for earlier, later in itertools.pairwise(shelf.asked))


async def test_many_of_one_second_do_not_end_it():
    crowd = wraps(5, apart_s=0, until=NOW - 55)
    shelf = Shelf([*wraps(12), *crowd], 5)
    assert {event.id for event in wraps(12)} <= await read(shelf)


async def test_pages_that_are_short_because_they_are_long_do_not_end_it():
    """Whoever sends us a few of the longest messages must not hide what is older."""
    big = Shelf(wraps(60, content="x" * 50_000), 60, most_bytes=MAX_FOUND_BYTES)
    assert await read(big) == {event.id for event in big.events}


async def test_a_relay_that_does_not_answer_is_asked_again_and_then_left():
    clock = Napping(NOW)
    shelf = Shelf(wraps(20), 5, answers=[[], []])
    assert await read(shelf, clock) == {event.id for event in shelf.events}
    silent = Shelf(wraps(20), 5, answers=[[]] * backlog.TRIES)
    with pytest.raises(BacklogUnread, match=f"{RELAY} did not tell all"):
        await read(silent, clock)
    assert len(silent.asked) == backlog.TRIES


async def test_a_relay_that_is_left_in_peace_longer_and_longer_is_waited_for():
    """As where it takes a few questions a minute: no page is lost for it."""

    class Passing(ManualClock):
        async def sleep(self, seconds):
            self._now += seconds

        def __init__(self, now):
            super().__init__(now)
            self._now = now

        def now(self):
            return self._now

    class Slow(Shelf):
        """It takes six questions in a minute, and who asks too fast is silenced for twice as long each time."""

        taken, quiet_until, pause_s = (), 0.0, 2.5

        async def query(self, filters, **how):
            now = clock.now()
            if now < self.quiet_until:
                return []
            self.taken = [at for at in self.taken if now - at < 60]
            if len(self.taken) == 6:
                self.pause_s *= 2
                self.quiet_until = now + self.pause_s * 1.25
                return []
            self.taken.append(now)
            self.pause_s = max(2.5, self.pause_s / 2)
            return await super().query(filters, **how)

    clock = Passing(NOW)
    slow = Slow(wraps(150), 5)
    assert await read(slow, clock) == {event.id for event in slow.events}


async def test_a_relay_that_told_nothing_is_asked_once_and_believed():
    silent = Shelf([], 5)
    assert await read(silent) == set()
    assert len(silent.asked) == 1


async def test_what_was_told_for_another_filter_only_is_found_all_the_same():
    shelf = Shelf(wraps(40), 5)
    found = [
        event.id
        async for page in Backlog(shelf, ManualClock(NOW), WANTED).older(RELAY, Stored(), SINCE)
        for event in page
    ]
    assert set(found) == {event.id for event in shelf.events}


async def test_a_relay_that_never_ends_is_left(caplog, monkeypatch):
    monkeypatch.setattr(backlog, "MAX_PAGES", 3)
    shelf = Shelf(wraps(200), 5)
    await read(shelf)
    assert len(shelf.asked) == 3
    assert "more stored than is read" in caplog.text
