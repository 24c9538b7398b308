"""Deadlines: heard of at their second and not before, once, and also when the ledger is away at that moment."""

import asyncio
import contextlib

import pytest

from ledger.records import Applied, JobState
from ledger.store import StoreUnavailable
from tests.timmy_dvm.core import builders
from timmy_dvm.clock import ManualClock
from timmy_dvm.engine import Contended
from timmy_dvm.timers import Timers

START = 1_700_000_000
TIMEOUT_S = 10


class Ledger:
    """The deadlines that the ledger holds at the start."""

    def __init__(self, *due):
        self._due = due

    async def due(self):
        return self._due


class Engine:
    """Writes down when it heard of what; `errors` are raised first."""

    def __init__(self, clock):
        self._clock = clock
        self.errors = []
        self.heard = []

    def listen(self, listener):
        self.tell = listener

    async def handle(self, fact):
        if self.errors:
            raise self.errors.pop(0)
        self.heard.append((fact.job_id, fact.due_at - START, fact.at - START))

    async def due(self, job_id, seconds):
        """A commit sets the deadline of a job, None takes it away; whoever sleeps hears of it."""
        due_at = None if seconds is None else START + seconds
        self.tell(Applied(builders.job(JobState.EXECUTING, id=job_id, due_at=due_at)))
        await self._clock.advance(0)


@contextlib.asynccontextmanager
async def watching(*due):
    clock = ManualClock(START)
    engine = Engine(clock)
    timers = Timers(Ledger(*((START + seconds, job_id) for job_id, seconds in due)), engine, clock)
    task = asyncio.create_task(timers.run())
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await clock.wait_for_sleepers(1)
            yield engine, clock
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_deadline_is_heard_of_at_its_second_and_not_before():
    async with watching(("a", 10)) as (engine, clock):
        await clock.advance(9)
        assert engine.heard == []
        await clock.advance(1)
        assert engine.heard == [("a", 10, 10)]
        await clock.advance(10_000)
        assert len(engine.heard) == 1


async def test_what_was_due_while_we_were_down_is_heard_of_at_once():
    async with watching(("late", -100), ("a", 10)) as (engine, _):
        assert engine.heard == [("late", -100, 0)]


async def test_a_deadline_that_is_set_later_than_all_others_waits_for_its_turn():
    async with watching(("a", 10)) as (engine, clock):
        await engine.due("b", 20)
        await clock.advance(30)
        assert engine.heard == [("a", 10, 10), ("b", 20, 20)]


async def test_a_sooner_deadline_ends_the_sleep():
    async with watching(("a", 1_000)) as (engine, clock):
        await engine.due("b", 5)
        await clock.advance(5)
        assert engine.heard == [("b", 5, 5)]


async def test_a_deadline_that_moved_is_heard_of_at_its_new_second_alone():
    async with watching(("a", 10), ("b", 10)) as (engine, clock):
        await engine.due("a", 20)
        await engine.due("b", 5)
        await clock.advance(30)
        assert engine.heard == [("b", 5, 5), ("a", 20, 20)]


async def test_a_job_that_ended_has_none():
    async with watching(("a", 10)) as (engine, clock):
        await engine.due("a", None)
        await clock.advance(30)
        assert engine.heard == []


async def test_the_same_deadline_told_by_many_commits_is_heard_of_once():
    async with watching() as (engine, clock):
        for _ in range(5):
            await engine.due("a", 10)
        await clock.advance(30)
        assert engine.heard == [("a", 10, 10)]


async def test_a_commit_without_a_job_moves_nothing():
    async with watching(("a", 10)) as (engine, clock):
        engine.tell(Applied(None))
        await clock.advance(10)
        assert engine.heard == [("a", 10, 10)]


@pytest.mark.parametrize("error", [StoreUnavailable("disk full"), Contended("rows moved")])
async def test_while_the_ledger_is_away_a_deadline_waits_and_is_not_lost(error):
    async with watching(("a", 10), ("b", 12)) as (engine, clock):
        engine.errors = [error]
        await clock.advance(12)
        assert engine.heard == [("b", 12, 12)]
        await clock.advance(3)
        assert engine.heard[1:] == [("a", 10, 15)]


async def test_a_deadline_that_moved_while_the_ledger_was_away_is_not_heard_of_at_its_old_second():
    async with watching(("a", 10)) as (engine, clock):
        engine.errors = [StoreUnavailable("disk full")]
        await clock.advance(12)
        await engine.due("a", 100)
        await clock.advance(50)
        assert engine.heard == []
        await clock.advance(50)
        assert engine.heard == [("a", 100, 100)]


async def test_a_wall_clock_that_is_set_forward_is_noticed_within_an_hour():
    async with watching(("a", 50_000)) as (engine, clock):
        clock.set_wall_clock(START + 49_999)
        await clock.advance(3_600)
        assert [job_id for job_id, _, _ in engine.heard] == ["a"]
