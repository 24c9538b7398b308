import asyncio

from timmy_dvm.clock import ManualClock
from timmy_dvm.nostr.bucket import Patience, PerMinute, Tally, TokenBucket, Turns

TIMEOUT_S = 10


async def test_a_second_has_so_many_tokens_and_no_more_are_saved_up():
    clock = ManualClock()
    bucket = TokenBucket(20, clock)
    await clock.advance(3_600)
    assert sum(bucket.take() for _ in range(100)) == 20
    await clock.advance(0.5)
    assert sum(bucket.take() for _ in range(100)) == 10


async def test_a_bucket_that_fills_slowly_has_room_for_several():
    clock = ManualClock()
    bucket = TokenBucket(0.5, clock, room=10)
    assert sum(bucket.take() for _ in range(100)) == 10
    await clock.advance(4)
    assert sum(bucket.take() for _ in range(100)) == 2


async def test_what_was_done_already_is_owed_but_for_a_second_at_most():
    clock = ManualClock()
    bucket = TokenBucket(20, clock)
    for _ in range(1_000):
        bucket.spend()
    await clock.advance(1)
    assert not bucket.take()
    await clock.advance(0.05)
    assert bucket.take()


async def test_setting_the_wall_clock_changes_nothing():
    clock = ManualClock()
    bucket = TokenBucket(1, clock)
    assert bucket.take()
    clock.set_wall_clock(2_000_000_000)
    assert not bucket.take()


async def test_what_happens_often_is_told_in_counts():
    clock = ManualClock()
    tally = Tally(clock, every_s=10)
    assert [tally.one_more() for _ in range(4)] == [1, 0, 0, 0]
    await clock.advance(9)
    assert tally.one_more() == 0
    await clock.advance(1)
    assert [tally.one_more() for _ in range(3)] == [5, 0, 0]


async def test_turns_come_at_their_pace_and_who_would_wait_too_long_has_none():
    clock = ManualClock()
    turns = Turns(2, clock, longest_s=3)
    assert [turns.book() for _ in range(10)] == [0, 0, 0.5, 1, 1.5, 2, 2.5, 3, None, None]
    await clock.advance(1)
    assert [turns.book() for _ in range(3)] == [2.5, 3, None]
    await clock.advance(3_600)
    assert [turns.book() for _ in range(3)] == [0, 0, 0.5]


async def test_a_turn_that_is_given_back_is_the_next_ones():
    turns = Turns(1, ManualClock(), longest_s=10)
    assert turns.book() == 0
    assert turns.book() == 1
    turns.give_back()
    assert turns.book() == 1


async def errors(patience, key, count):
    """How many of so many errors of a key, one after another, are still answered."""
    answered = 0
    for _ in range(count):
        if await patience.begin(key):
            patience.end(key, was_error=True)
            answered += 1
    return answered


async def test_a_key_has_so_many_errors_a_minute_and_they_come_back_with_time():
    clock = ManualClock()
    patience = Patience(20, clock)
    assert await errors(patience, "one", 300) == 20
    await clock.advance(2.9)
    assert await errors(patience, "one", 300) == 0
    await clock.advance(0.2)
    assert await errors(patience, "one", 300) == 1
    await clock.advance(3_600)
    assert await errors(patience, "one", 300) == 20


async def test_no_key_uses_up_what_another_has():
    patience = Patience(20, ManualClock())
    await errors(patience, "one", 300)
    assert await errors(patience, "two", 300) == 20


async def test_what_was_no_error_costs_nothing():
    patience = Patience(2, ManualClock())
    for _ in range(100):
        assert await patience.begin("one")
        patience.end("one", was_error=False)
    assert await errors(patience, "one", 5) == 2


async def test_no_more_are_dealt_with_at_once_than_may_turn_out_to_be_errors():
    patience = Patience(3, ManualClock())
    begun = [asyncio.create_task(patience.begin("one")) for _ in range(10)]
    other = asyncio.create_task(patience.begin("two"))
    async with asyncio.timeout(TIMEOUT_S):
        assert await other
        assert [await task for task in begun[:3]] == [True] * 3
        assert not any(task.done() for task in begun[3:])
        patience.end("one", was_error=False)
        assert await begun[3]
        assert not any(task.done() for task in begun[4:])
        for _ in range(3):
            patience.end("one", was_error=True)
        assert [await task for task in begun[4:]] == [False] * 6


async def test_who_gave_up_waiting_takes_nobodys_turn():
    patience = Patience(1, ManualClock())
    assert await patience.begin("one")
    waits, leaves = (asyncio.create_task(patience.begin("one")) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    patience.end("one", was_error=False)
    async with asyncio.timeout(TIMEOUT_S):
        assert await waits


async def test_of_too_many_keys_the_one_longest_quiet_is_forgotten():
    patience = Patience(1, ManualClock(), keys=2)
    for key in ("one", "two", "three"):
        assert await errors(patience, key, 1) == 1
    assert [await errors(patience, key, 1) for key in ("three", "two", "one")] == [0, 0, 1]


async def test_the_wall_clock_gives_no_patience_back():
    clock = ManualClock()
    patience = Patience(1, clock)
    await errors(patience, "one", 1)
    clock.set_wall_clock(2_000_000_000)
    assert await errors(patience, "one", 1) == 0


async def test_so_many_a_minute_for_each_key_over_any_sixty_seconds():
    clock = ManualClock(0)
    quota = PerMinute(2, clock, keys=2)
    assert [quota.take("a") for _ in range(3)] == [True, True, False]
    assert quota.take("b")
    await clock.advance(59)
    assert not quota.take("a")
    await clock.advance(1)
    assert [quota.take("a") for _ in range(3)] == [True, True, False]
    assert not PerMinute(0, clock).take("a")


def test_the_key_longest_quiet_is_forgotten_first():
    quota = PerMinute(1, ManualClock(0), keys=2)
    assert all(quota.take(key) for key in "abc")
    assert not quota.take("c")
    assert quota.take("a")
    assert len(quota._taken) == 2


async def test_whether_a_key_has_patience_left_can_be_seen_without_using_it():
    patience = Patience(1, ManualClock(0))
    assert patience.has_left("a")
    assert await patience.begin("a")
    patience.end("a", was_error=True)
    assert not patience.has_left("a")
    assert patience.has_left("b")


async def test_patience_may_be_counted_by_the_hour():
    clock = ManualClock()
    patience = Patience(2, clock, per_s=3_600)
    assert await errors(patience, "one", 3) == 2
    await clock.advance(1_799)
    assert await errors(patience, "one", 1) == 0
    await clock.advance(1)
    assert await errors(patience, "one", 2) == 1
