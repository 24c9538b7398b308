import pytest

from ledger.store import StoreUnavailable
from tests.timmy_dvm.nostr.kit import NOW, RELAY
from timmy_dvm.clock import ManualClock
from timmy_dvm.nostr.cursors import LONGEST_AWAY_S, LONGEST_LATE_S, OVERLAP_S, Cursors

KEY = f"relay_cursor:{RELAY}"


class Settings(dict):
    is_full = False

    async def setting(self, key):
        return self.get(key)

    async def remember(self, key, value):
        if self.is_full:
            raise StoreUnavailable("disk full")
        self[key] = value


async def cursors(saved=None, now=NOW):
    memory, clock = Settings() if saved is None else Settings({KEY: saved}), ManualClock(now)
    made = Cursors(memory, clock)
    await made.load([RELAY])
    return made, memory, clock


async def test_the_very_first_start_is_remembered_at_once():
    made, memory, _ = await cursors()
    assert memory == {KEY: str(NOW)}
    # Asked for are those with clocks behind ours; what was asked before we were there is none of our business.
    assert made.since(RELAY) == NOW - LONGEST_LATE_S
    assert made.not_before(RELAY) == NOW
    made.caught_up(RELAY)
    assert made.not_before(RELAY) == NOW - 3_600


async def test_after_a_pause_what_came_meanwhile_is_taken_however_old():
    made, _, _ = await cursors(str(NOW - 40_000))
    assert made.since(RELAY) == NOW - 40_000 - OVERLAP_S
    assert made.not_before(RELAY) == NOW - 40_000 - OVERLAP_S
    made.caught_up(RELAY)
    assert made.not_before(RELAY) == NOW - 3_600


async def test_a_long_pause_is_looked_back_on_for_a_day():
    made, _, _ = await cursors(str(NOW - 10 * LONGEST_AWAY_S))
    assert made.since(RELAY) == NOW - LONGEST_AWAY_S


@pytest.mark.parametrize("saved", ["", "soon", "-5", "١٢", str(NOW + 9_999_999)])
async def test_a_cursor_that_makes_no_sense_is_now(saved):
    made, _, _ = await cursors(saved)
    assert made.since(RELAY) == NOW - LONGEST_LATE_S


async def test_a_cursor_moves_only_while_its_relay_is_connected_and_has_caught_up():
    made, memory, clock = await cursors(str(NOW))
    made.since(RELAY)
    await clock.advance(100)
    made.advance([RELAY], None)
    await made.save()
    assert memory[KEY] == str(NOW)
    made.caught_up(RELAY)
    made.advance([], None)
    made.advance(["wss://unknown.example"], None)
    await made.save()
    assert memory == {KEY: str(NOW)}
    made.advance([RELAY], None)
    await made.save()
    assert memory[KEY] == str(NOW + 100)


async def test_a_cursor_never_passes_an_event_that_is_being_dealt_with_and_never_goes_back():
    made, memory, clock = await cursors(str(NOW))
    await clock.advance(100)
    made.advance([RELAY], NOW + 40)
    await made.save()
    assert memory[KEY] == str(NOW + 40)
    made.advance([RELAY], NOW - 9_999)
    await made.save()
    assert memory[KEY] == str(NOW + 40)


async def test_a_cursor_that_could_not_be_saved_is_saved_the_next_time():
    made, memory, clock = await cursors(str(NOW))
    await clock.advance(100)
    made.advance([RELAY], None)
    memory.is_full = True
    with pytest.raises(StoreUnavailable):
        await made.save()
    memory.is_full = False
    await made.save()
    assert memory[KEY] == str(NOW + 100)


@pytest.mark.parametrize(
    ("away_s", "back_s"),
    [
        (0, LONGEST_LATE_S),
        (2_999, LONGEST_LATE_S),
        (3_000, LONGEST_LATE_S),
        (3_001, 3_001 + OVERLAP_S),
        (LONGEST_AWAY_S - OVERLAP_S, LONGEST_AWAY_S),
        (LONGEST_AWAY_S, LONGEST_AWAY_S),
    ],
)
async def test_however_short_the_pause_a_relay_is_asked_for_all_that_may_still_come_late(away_s, back_s):
    """A relay hands on new events by the same `since`: a customer whose clock is slow is heard all the same."""
    made, _, _ = await cursors(str(NOW - away_s))
    assert made.since(RELAY) == NOW - back_s
    assert made.not_before(RELAY) == NOW - back_s
    made.caught_up(RELAY)
    assert made.not_before(RELAY) == NOW - LONGEST_LATE_S


async def test_a_reconnect_after_a_moment_looks_back_by_an_hour():
    made, _, clock = await cursors(str(NOW))
    made.since(RELAY)
    made.caught_up(RELAY)
    await clock.advance(7_200)
    made.advance([RELAY], None)
    assert made.since(RELAY) == NOW + 7_200 - LONGEST_LATE_S
    assert made.not_before(RELAY) == NOW + 7_200 - 3_600
