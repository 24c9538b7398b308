"""The outbox: each action once at a time, when it is due, and no more of them in memory than there is room for."""

import asyncio
import contextlib
import dataclasses

from ledger.records import PendingAction
from ledger.store import StoreUnavailable
from timmy_dvm.clock import ManualClock
from timmy_dvm.outbox import ROOM, ROOM_FOR_LATER, Outbox

TIMEOUT_S = 10
HOUR_S = 3_600


class Disk:
    """The outbox's rows. Reading them takes a snapshot, then waits until it may be handed out."""

    def __init__(self):
        self.rows = {}
        self.reads = 0
        self.errors = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.was_read = asyncio.Event()

    def put(self, *numbers, due_at=None, kind="Publish"):
        blank = PendingAction(id=0, kind=kind, job_id=None, body="", due_at=due_at, attempts=0, started=False)
        made = [dataclasses.replace(blank, id=n) for n in numbers]
        self.rows.update({action.id: action for action in made})
        return made

    async def pending(self):
        self.reads += 1
        seen = list(self.rows.values())
        self.was_read.set()
        await self.may_answer.wait()
        if self.errors:
            raise self.errors.pop(0)
        return seen


class Street:
    """An outbox that runs, what it began, and when: seconds on the monotonic clock."""

    def __init__(self):
        self.clock = ManualClock()
        self.disk = Disk()
        self.outbox = Outbox(self.disk, self.clock, self._perform, slow={"Slow"})
        self.begun = []
        self.recovered = {}
        self.times = {}
        self.held_back = {}
        self.pauses = {}

    async def _perform(self, action, recovered):
        self.begun.append(action.id)
        self.recovered[action.id] = recovered
        self.times.setdefault(action.id, []).append(self.clock.monotonic())
        if action.id in self.held_back:
            await self.held_back[action.id].wait()
        if self.pauses.get(action.id):
            self.outbox.later(action, self.pauses[action.id].pop(0))
        else:
            del self.disk.rows[action.id]

    def hold_back(self, *numbers):
        self.held_back.update({n: asyncio.Event() for n in numbers})

    def let_go(self, *numbers):
        for n in numbers:
            self.held_back[n].set()

    def commit(self, *numbers, due_at=None, kind="Publish"):
        """Fresh actions: on disk, then told to the outbox."""
        for action in self.disk.put(*numbers, due_at=due_at, kind=kind):
            self.outbox.add(action)

    async def settles(self):
        """Everything that can happen without the clock has happened."""
        await self.clock.advance(0, rounds=50)

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.outbox.run())
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self.disk.was_read.wait()
                await self.settles()
                yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_what_is_on_disk_is_begun_oldest_first_and_known_as_recovered_what_is_fresh_is_not():
    street = Street()
    street.disk.put(1, 2, 3)
    async with street.running():
        street.commit(4)
        await street.settles()
    assert street.begun == [1, 2, 3, 4]
    assert street.recovered == {1: True, 2: True, 3: True, 4: False}
    assert not street.disk.rows


async def test_what_is_added_before_it_runs_is_left_on_disk_and_found_there():
    street = Street()
    street.commit(1)
    await street.settles()
    assert street.begun == []
    async with street.running():
        assert street.begun == [1]


async def test_no_more_is_held_than_there_is_room_for_and_the_rest_is_read_when_half_is_done():
    street = Street()
    everything = range(ROOM + 500)
    street.disk.put(*everything)
    street.hold_back(*everything)
    async with street.running():
        assert len(street.begun) == ROOM
        assert not street.outbox.has_room
        street.commit(9_999)
        half = ROOM // 2
        street.let_go(*range(half - 1))
        await street.settles()
        assert (len(street.begun), street.disk.reads) == (ROOM, 1)
        street.let_go(half - 1)
        await street.settles()
        assert street.disk.reads == 2
        assert street.outbox.has_room
        street.let_go(*everything)
        await street.settles()
    assert sorted(street.begun) == [*everything, 9_999]
    assert not street.disk.rows


async def test_what_is_slow_has_a_room_of_its_own_and_keeps_nothing_else_on_disk():
    street = Street()
    slow = range(ROOM + 10)
    street.hold_back(*slow)
    async with street.running():
        street.commit(*slow, kind="Slow")
        await street.settles()
        assert len(street.begun) == ROOM
        assert street.outbox.has_room
        quick = range(10_000, 10_000 + ROOM)
        street.commit(*quick)
        await street.settles()
        assert street.begun[ROOM:] == [*quick]
        assert street.disk.reads == 1
        street.let_go(*slow)
        await street.settles()
        assert street.disk.reads == 2
    assert not street.disk.rows


async def test_what_is_beyond_the_room_twice_over_is_all_done_once():
    street = Street()
    everything = range(3 * ROOM)
    street.disk.put(*everything)
    async with street.running():
        await street.settles()
    assert sorted(street.begun) == list(everything)


async def test_what_finds_no_room_while_a_refill_is_read_is_not_forgotten():
    street = Street()
    street.disk.may_answer.clear()
    fresh = range(ROOM + 500)
    street.hold_back(*fresh)
    async with street.running():
        street.commit(*fresh)  # none of them was there when the read began
        await street.settles()
        assert len(street.begun) == ROOM
        street.disk.may_answer.set()
        street.let_go(*fresh)
        await street.settles()
    assert sorted(street.begun) == list(fresh)


async def test_what_waits_for_its_moment_keeps_nothing_else_waiting():
    """Events that no relay takes are offered for a week; a paid job must be done at once meanwhile."""
    street = Street()
    undelivered = range(1, ROOM + 1)
    street.pauses = {n: [HOUR_S] * 100 for n in undelivered}
    async with street.running():
        street.commit(*undelivered)
        await street.settles()
        assert len(street.begun) == ROOM
        street.commit(9_999)
        await street.settles()
        assert street.begun[ROOM:] == [9_999]


async def test_no_more_waits_in_memory_than_there_is_room_for_and_the_rest_comes_from_disk():
    street = Street()
    soon, late = range(ROOM_FOR_LATER), range(ROOM_FOR_LATER, ROOM_FOR_LATER + 10)
    now = int(street.clock.now())
    street.disk.put(*soon, due_at=now + 10)
    street.disk.put(*late, due_at=now + 20)
    async with street.running():
        assert len(street.outbox._waiting) == ROOM_FOR_LATER
        await street.clock.advance(10)
        assert street.times == {n: [10] for n in soon}
        await street.clock.advance(10)
        assert [street.times[n] for n in late] == [[20]] * len(late)
    assert street.disk.reads == 2
    assert sorted(street.begun) == [*soon, *late]


async def test_what_ends_or_goes_on_or_is_put_off_while_a_refill_is_read_is_not_begun_again():
    street = Street()
    street.disk.may_answer.clear()
    street.pauses = {3: [60]}
    street.hold_back(2)
    ended, going_on, put_off, untouched = 1, 2, 3, 4
    street.disk.put(ended, going_on, put_off, untouched)
    async with street.running():
        for number in (ended, going_on, put_off):
            street.outbox.add(street.disk.rows[number])
        await street.settles()
        assert street.begun == [ended, going_on, put_off]
        street.disk.may_answer.set()
        await street.settles()
        assert street.begun == [ended, going_on, put_off, untouched]
        street.let_go(going_on)
        await street.clock.advance(60)
    assert street.begun == [ended, going_on, put_off, untouched, put_off]


async def test_what_ended_is_remembered_only_while_a_refill_is_read():
    street = Street()
    async with street.running():
        street.commit(*range(100))
        await street.settles()
        assert len(street.begun) == 100
        assert street.outbox._ended_meanwhile is None


async def test_an_action_that_is_told_twice_is_begun_once():
    street = Street()
    street.hold_back(1)
    async with street.running():
        street.commit(1)
        street.commit(1)
        await street.settles()
        assert street.begun == [1]


async def test_later_is_after_its_pause_and_not_before_as_often_as_it_is_asked():
    street = Street()
    street.pauses = {1: [10, 20]}
    async with street.running():
        street.commit(1)
        await street.settles()
        await street.clock.advance(9.9)
        assert street.times == {1: [0]}
        await street.clock.advance(100)
        assert street.times == {1: [0, 10, 30]}
    assert not street.disk.rows


async def test_what_is_due_sooner_wakes_it_though_it_sleeps_for_something_later():
    street = Street()
    async with street.running():
        now = street.clock.now()
        street.commit(1, due_at=int(now) + 100)
        await street.settles()
        street.commit(2, due_at=int(now) + 10)
        await street.settles()
        await street.clock.advance(50)
        assert street.begun == [2]
        await street.clock.advance(50)
    assert street.times == {2: [10], 1: [100]}


async def test_a_moment_that_is_hours_away_comes_at_its_second():
    street = Street()
    street.disk.put(1, due_at=int(street.clock.now()) + 3 * HOUR_S)
    async with street.running():
        await street.clock.advance(3 * HOUR_S - 1)
        assert street.begun == []
        await street.clock.advance(1)
    assert street.times == {1: [3 * HOUR_S]}
    assert street.recovered == {1: True}


async def test_a_wall_clock_that_is_set_neither_holds_a_pause_up_nor_shortens_it():
    for step in (-24 * HOUR_S, 24 * HOUR_S):
        street = Street()
        street.pauses = {2: [100], 3: [100]}
        async with street.running():
            street.commit(1, due_at=int(street.clock.now()) + 100)
            street.commit(2)
            await street.settles()
            street.clock.set_wall_clock(street.clock.now() + step)
            street.commit(3)
            await street.settles()
            await street.clock.advance(99)
            assert street.begun == [2, 3]
            await street.clock.advance(1)
        assert street.times == {1: [100], 2: [0, 100], 3: [0, 100]}


async def test_while_the_ledger_is_away_at_the_start_it_is_read_again_and_fresh_actions_are_begun_at_once():
    street = Street()
    street.disk.put(1)
    street.disk.errors = [StoreUnavailable("the disk is full")] * 2
    async with street.running():
        street.commit(2)
        await street.settles()
        assert street.begun == [2]
        await street.clock.advance(4.9)
        assert street.disk.reads == 1
        await street.clock.advance(5.1)
        assert (street.disk.reads, street.begun) == (3, [2, 1])


async def test_while_the_ledger_is_away_at_a_later_refill_nothing_is_lost_and_nothing_begun_twice():
    street = Street()
    everything = range(ROOM + 10)
    street.disk.put(*everything)
    street.hold_back(*everything)
    async with street.running():
        street.disk.errors = [StoreUnavailable("the disk is full")]
        street.let_go(*everything)
        await street.settles()
        assert (street.disk.reads, len(street.begun)) == (2, ROOM)
        await street.clock.advance(5)
    assert sorted(street.begun) == list(everything)


async def test_idle_is_when_nothing_is_performed_whatever_waits_for_its_moment():
    street = Street()
    street.pauses = {2: [60]}
    street.hold_back(1)
    async with street.running():
        street.commit(1, 2)
        await street.settles()
        waiting = asyncio.create_task(street.outbox.idle())
        await street.settles()
        assert not waiting.done()
        street.let_go(1)
        await waiting


async def test_what_is_committed_after_it_was_stopped_is_left_on_disk():
    """A commit may end after the dispatcher did: it must not fail over having nobody to tell."""
    street = Street()
    street.hold_back(1)
    async with street.running():
        street.commit(1)
        await street.settles()
    street.commit(2)
    await street.settles()
    assert street.begun == [1]
    assert list(street.disk.rows) == [1, 2]


async def test_what_is_committed_while_it_stops_is_left_on_disk():
    street = Street()
    stopped = asyncio.Event()

    async def at_the_end(action, recovered):
        try:
            await asyncio.Event().wait()
        finally:
            street.commit(2)
            stopped.set()

    street.outbox = Outbox(street.disk, street.clock, at_the_end)
    async with street.running():
        street.commit(1)
        await street.settles()
    assert stopped.is_set()
    assert list(street.disk.rows) == [1, 2]
