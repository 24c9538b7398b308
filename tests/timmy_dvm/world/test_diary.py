"""The diary writes what could be seen, soon and in batches; a ledger that is away costs it lines, nothing else."""

import asyncio

import pytest

from ledger.store import StoreUnavailable
from tests.timmy_dvm.world.shop import turns
from timmy_dvm.clock import ManualClock
from timmy_dvm.world.diary import WAITING_MAX, Diary


class Book:
    def __init__(self, away=0):
        self.batches, self.away = [], away

    async def note_world_events(self, events):
        if self.away:
            self.away -= 1
            raise StoreUnavailable("the disk is full; free some space")
        self.batches.append([kind for _, kind in events])


@pytest.fixture
def clock():
    return ManualClock()


async def test_the_first_is_written_at_once_and_what_comes_next_a_moment_later(clock):
    book = Book()
    diary = Diary(book, clock)
    running = asyncio.create_task(diary.run())
    diary.note("one")
    await turns()
    for word in ("two", "three"):
        diary.note(word)
    await turns()
    assert book.batches == [["one"]]
    await clock.advance(1)
    assert book.batches == [["one"], ["two", "three"]]
    running.cancel()


async def test_a_ledger_that_is_away_costs_those_lines(clock):
    book = Book(away=1)
    diary = Diary(book, clock)
    for word in ("lost", "kept"):
        diary.note(word)
        await diary.write()
    assert book.batches == [["kept"]]


async def test_in_a_hurry_the_oldest_are_left_out(clock):
    book = Book()
    diary = Diary(book, clock)
    for count in range(WAITING_MAX + 5):
        diary.note(str(count))
    await diary.write()
    assert len(book.batches[0]) == WAITING_MAX
    assert book.batches[0][0] == "5"
