"""Places for runs: a crowd of newcomers, one busy key or a heap of half-done work keeps nobody else waiting."""

import asyncio
import contextlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy_dvm.places import Bidder, Places

TIMEOUT_S = 10


class Row:
    """Bidders at the door of some places; whoever is in stays until shown out."""

    def __init__(self, count):
        self.places = Places(count)
        self.inside = []
        self.waited = {}
        self._exits = {}
        self._tasks = {}

    async def comes(self, name, key=None, *, paid=False, half_done=False):
        self._exits[name] = asyncio.Event()
        bidder = Bidder(key or name, has_paid=paid, is_half_done=half_done)
        self._tasks[name] = asyncio.create_task(self._stay(name, bidder))
        await settled()

    async def leaves(self, name):
        self._exits[name].set()
        await self._tasks[name]
        await settled()

    async def gives_up(self, *names):
        for name in names:
            self._tasks[name].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            for name in names:
                await self._tasks[name]
        await settled()

    async def _stay(self, name, bidder):
        async with self.places.one(bidder) as had_to_wait:
            self.waited[name] = had_to_wait
            self.inside.append(name)
            try:
                await self._exits[name].wait()
            finally:
                self.inside.remove(name)

    async def close(self):
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


async def settled():
    """Nothing here leaves the loop, so a few turns of it are enough."""
    for _ in range(5):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def row(count):
    made = Row(count)
    async with asyncio.timeout(TIMEOUT_S):
        try:
            yield made
        finally:
            await made.close()


@pytest.mark.parametrize(("count", "for_newcomers"), [(1, 1), (2, 1), (3, 2), (4, 2), (50, 25)])
async def test_newcomers_hold_half_of_the_places_and_known_payers_find_the_other_half(count, for_newcomers):
    async with row(count) as door:
        for n in range(count + 3):
            await door.comes(f"new {n}")
        assert len(door.inside) == for_newcomers
        for n in range(count + 3):
            await door.comes(f"known {n}", paid=True)
        assert Counter(name.split()[0] for name in door.inside) == Counter(
            new=for_newcomers, known=count - for_newcomers
        )


async def test_known_payers_may_take_all_places_that_newcomers_leave():
    async with row(4) as door:
        for n in range(5):
            await door.comes(f"known {n}", paid=True)
        assert len(door.inside) == 4
        await door.comes("new")
        await door.leaves("known 0")
        assert door.inside[-1] == "known 4"
        await door.leaves("known 1")
        assert door.inside[-1] == "new"


@pytest.mark.parametrize("paid", [True, False])
async def test_no_key_holds_more_than_half_of_the_places(paid):
    async with row(4) as door:
        for n in range(4):
            await door.comes(f"mine {n}", "me", paid=paid)
        assert door.inside == ["mine 0", "mine 1"]
        await door.comes("yours", "you", paid=True)
        assert door.inside[-1] == "yours"
        assert not door.waited["yours"]
        await door.leaves("mine 0")
        assert door.inside == ["mine 1", "yours", "mine 2"]
        assert door.waited["mine 2"]


async def test_a_free_place_goes_to_the_key_that_holds_fewest_however_long_anothers_queue_is():
    async with row(2) as door:
        for n in range(3):
            await door.comes(f"mine {n}", "me", paid=True)
        await door.comes("theirs 0", "they", paid=True)
        await door.comes("theirs 1", "they", paid=True)
        await door.comes("yours", "you", paid=True)
        assert door.inside == ["mine 0", "theirs 0"]
        await door.leaves("theirs 0")
        assert door.inside == ["mine 0", "theirs 1"]
        await door.leaves("mine 0")
        assert door.inside == ["theirs 1", "mine 1"]
        await door.leaves("theirs 1")
        assert door.inside == ["mine 1", "yours"]


async def test_a_job_that_is_half_done_goes_before_those_not_begun_of_keys_that_hold_as_many():
    async with row(1) as door:
        await door.comes("first")
        await door.comes("second")
        await door.comes("half done", half_done=True)
        await door.leaves("first")
        assert door.inside == ["half done"]
        await door.leaves("half done")
        assert door.inside == ["second"]


async def test_who_gives_up_waiting_takes_no_place():
    async with row(1) as door:
        await door.comes("first")
        await door.comes("second")
        await door.comes("third")
        await door.gives_up("second")
        await door.leaves("first")
        assert door.inside == ["third"]


async def test_a_place_given_in_the_moment_of_giving_up_goes_to_the_next():
    async with row(1) as door:
        await door.comes("first")
        await door.comes("second")
        await door.comes("third")
        door._exits["first"].set()
        await door._tasks["first"]  # it has left; `second` has the place and has not looked yet
        await door.gives_up("second")
        assert door.inside == ["third"]


async def test_a_place_is_not_given_to_who_has_given_up_in_the_same_moment():
    async with row(1) as door:
        await door.comes("first")
        await door.comes("second")
        await door.comes("third")
        await door.gives_up("first", "second")
        assert door.inside == ["third"]


KEYS = st.sampled_from("abcd")
STEPS = st.lists(st.one_of(st.tuples(KEYS, st.booleans(), st.booleans()), st.integers(0, 9)), max_size=40)


@given(count=st.integers(1, 6), steps=STEPS)
def test_whatever_comes_and_goes_shares_hold_and_no_place_is_left_empty_that_somebody_may_have(count, steps):
    async def live():
        async with row(count) as door:
            bidders, share = {}, (count + 1) // 2
            for step in steps:
                if isinstance(step, tuple):
                    name = str(len(bidders))
                    # Whether a key has paid before is one fact about it.
                    bidders[name] = Bidder(step[0], has_paid=step[0] in "ab", is_half_done=step[2])
                    await door.comes(name, step[0], paid=step[0] in "ab", half_done=step[2])
                elif door.inside:
                    await door.leaves(door.inside[step % len(door.inside)])
                inside = [bidders[name] for name in door.inside]
                held = Counter(bidder.key for bidder in inside)
                newcomers = sum(not bidder.has_paid for bidder in inside)
                assert len(inside) <= count
                assert newcomers <= share
                assert all(each <= share for each in held.values())
                waiting = [bidders[name] for name, task in door._tasks.items() if not task.done()]
                waiting = [bidder for bidder in waiting if not any(bidder is each for each in inside)]
                if len(inside) < count:
                    assert all(
                        held[bidder.key] == share or (not bidder.has_paid and newcomers == share)
                        for bidder in waiting
                    )

    asyncio.run(live())
