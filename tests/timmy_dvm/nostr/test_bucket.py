from timmy_dvm.clock import ManualClock
from timmy_dvm.nostr.bucket import TokenBucket


async def test_a_second_has_so_many_tokens_and_no_more_are_saved_up():
    clock = ManualClock()
    bucket = TokenBucket(20, clock)
    await clock.advance(3_600)
    assert sum(bucket.take() for _ in range(100)) == 20
    await clock.advance(0.5)
    assert sum(bucket.take() for _ in range(100)) == 10


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
