"""Whom the operator follows: asked once a day, kept in the ledger, the newest list counts."""

import asyncio
import contextlib

import pytest

from ledger.store import StoreUnavailable
from tests.timmy_dvm.nostr.kit import ALICE, signed
from timmy_dvm.clock import ManualClock
from timmy_dvm.core.trust import Tier
from timmy_dvm.nostr.follows import LONGEST_RETRY_S, REFRESH_S, RETRY_S, Follows, keys_in

BOB, CAROL = "b0" * 32, "ca" * 32
START = 1_700_000_000


class Relays:
    """What the configured relays have."""

    def __init__(self, *events):
        self.events, self.asked = list(events), []

    async def query(self, filters):
        self.asked.append(filters)
        return self.events


class Memory:
    """Settings; ``away`` is whether the ledger is."""

    def __init__(self):
        self.values, self.away = {}, False

    async def setting(self, key):
        self._check()
        return self.values.get(key)

    async def remember(self, key, value):
        self._check()
        self.values[key] = value

    def _check(self):
        if self.away:
            raise StoreUnavailable("away")


def following(*keys, at=START - 9):
    return signed(*(("p", key) for key in keys), kind=3, at=at)


@contextlib.asynccontextmanager
async def running(relays, memory=None, clock=None):
    clock = clock or ManualClock(START)
    follows = Follows(relays, memory or Memory(), clock, owner=ALICE.public_key, tier=Tier.TRUSTED)
    task = asyncio.create_task(follows.run())
    try:
        await clock.wait_for_sleepers(1)
        yield follows, clock
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def lifted(follows):
    return [name for name, key in (("bob", BOB), ("carol", CAROL)) if follows.lift(key) is Tier.TRUSTED]


async def test_whom_the_newest_list_names_is_lifted_and_nobody_else():
    relays = Relays(following(BOB), following(CAROL, at=START - 99))
    async with running(relays) as (follows, _):
        assert lifted(follows) == ["bob"]
        assert follows.lift(ALICE.public_key) is None
    (((asked,),),) = [relays.asked]
    assert (asked.authors, asked.kinds) == (frozenset({ALICE.public_key}), frozenset({3}))


async def test_it_is_asked_once_a_day_and_a_new_list_takes_the_place_of_the_old():
    relays = Relays(following(BOB))
    async with running(relays) as (follows, clock):
        relays.events = [following(CAROL, at=START + 5)]
        await clock.advance(REFRESH_S - 1)
        assert (len(relays.asked), lifted(follows)) == (1, ["bob"])
        await clock.advance(1)
        await clock.wait_for_sleepers(1)
        assert (len(relays.asked), lifted(follows)) == (2, ["carol"])


@pytest.mark.parametrize("told", [(), (following(CAROL, at=START - 99),)], ids=["nothing", "an older one"])
async def test_a_relay_that_knows_less_changes_nothing(told):
    relays = Relays(following(BOB))
    async with running(relays) as (follows, clock):
        relays.events = list(told)
        await clock.advance(REFRESH_S)
        await clock.wait_for_sleepers(1)
        assert lifted(follows) == ["bob"]


async def test_a_new_start_knows_it_without_a_relay_and_does_not_ask_again_today():
    memory = Memory()
    async with running(Relays(following(BOB)), memory):
        pass
    relays = Relays()
    async with running(relays, memory) as (follows, clock):
        assert (lifted(follows), relays.asked) == (["bob"], [])
        await clock.advance(REFRESH_S)
        await clock.wait_for_sleepers(1)
        assert (lifted(follows), len(relays.asked)) == (["bob"], 1)


async def test_while_nobody_knows_a_list_it_is_asked_for_again_and_ever_less_often():
    relays = Relays()
    async with running(relays) as (follows, clock):
        await clock.advance(RETRY_S)
        await clock.wait_for_sleepers(1)
        assert len(relays.asked) == 2
        await clock.advance(RETRY_S)
        assert len(relays.asked) == 2
        for _ in range(40):
            await clock.advance(RETRY_S)
            await clock.wait_for_sleepers(1)
        asked = len(relays.asked)
        assert asked < 8
        relays.events = [following(BOB)]
        await clock.advance(LONGEST_RETRY_S)
        await clock.wait_for_sleepers(1)
        assert lifted(follows) == ["bob"]


async def test_while_the_ledger_is_away_nothing_ends_and_it_is_tried_again():
    memory = Memory()
    memory.away = True
    async with running(Relays(following(BOB)), memory) as (follows, clock):
        assert lifted(follows) == []
        memory.away = False
        await clock.advance(RETRY_S)
        await clock.wait_for_sleepers(1)
        assert lifted(follows) == ["bob"]


@pytest.mark.parametrize("kept", ["", "{", '{"keys": 5}', '{"heard_at": "x"}', "[]"])
async def test_what_was_kept_and_can_not_be_read_is_asked_for_again(kept):
    memory = Memory()
    memory.values["follows:" + ALICE.public_key] = kept
    async with running(Relays(following(BOB)), memory) as (follows, _):
        assert lifted(follows) == ["bob"]


def test_what_is_no_key_is_left_out():
    tags = [("p", BOB, "wss://a.example", "Bob"), ("p", BOB.upper()), ("p", "npub1x"), ("p",), ("e", CAROL)]
    assert keys_in(signed(*tags, kind=3)) == {BOB}
