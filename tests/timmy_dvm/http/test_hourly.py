"""So many an hour for an address: over any hour, one back where it brought nothing, and never without bound."""

from timmy_dvm.clock import ManualClock
from timmy_dvm.http.hourly import HOUR_S, PerHour

ANNE, BOB = "192.0.2.1", "192.0.2.2"


async def test_over_any_hour_and_not_by_the_clock_on_the_wall():
    clock = ManualClock()
    allowance = PerHour(2, clock)
    assert allowance.take(ANNE).granted
    await clock.advance(HOUR_S - 1)
    assert allowance.take(ANNE).granted
    assert not allowance.take(ANNE).granted
    await clock.advance(1)
    assert [allowance.take(ANNE).granted for _ in range(2)] == [True, False]


async def test_who_only_looks_takes_nothing():
    allowance = PerHour(1, ManualClock())
    assert [allowance.look(ANNE).granted for _ in range(3)] == [True] * 3
    assert (allowance.take(ANNE).left, allowance.look(ANNE).granted, allowance.look(BOB).left) == (0, False, 1)


async def test_what_brought_nothing_is_had_again():
    allowance = PerHour(1, ManualClock())
    allowance.take(ANNE)
    allowance.give_back(ANNE)
    allowance.give_back(BOB)
    assert allowance.take(ANNE).granted


async def test_no_more_addresses_are_remembered_than_there_is_room_for():
    allowance = PerHour(1, ManualClock(), addresses=3)
    for number in range(10):
        assert allowance.take(f"192.0.2.{number}").granted
    assert len(allowance._taken) == 3
    assert not allowance.take("192.0.2.9").granted
    assert not PerHour(0, ManualClock()).take(ANNE).granted
