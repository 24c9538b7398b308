"""Strangers wait for their turn: at a steady pace, in the order they came, and none takes all of the room."""

import asyncio

import pytest

from ledger.records import Applied, Change, IdentityRecord
from relay_client.pool import Received
from tests.timmy_dvm.nostr.door import Known
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, RELAY, signed, stranger
from timmy_dvm.clock import ManualClock
from timmy_dvm.nostr import lobby as lobby_module
from timmy_dvm.nostr.lobby import GIVES_WAY_S, Guest, Lobby, Payers

TIMEOUT_S = 10


def guest(number=0, keys=None, content="", tags=()):
    event = signed(("n", str(number)), *tags, content=content, keys=keys or stranger(number))
    return Guest(Received(RELAY, "timmy", event), not_before=number)


def let_in_now(lobby):
    """Who has a turn without any time going by."""
    passed = []
    while True:
        coming = lobby.next()
        try:
            coming.send(None)
        except StopIteration as done:
            passed.append(done.value)
        else:
            coming.close()
            return passed


async def test_so_many_a_second_have_their_turn_in_the_order_they_came():
    clock = ManualClock()
    lobby = Lobby(clock, turns_per_second=10, in_a_row=4)
    guests = [guest(number) for number in range(30)]
    assert all(lobby.enter(each) for each in guests)
    assert let_in_now(lobby) == guests[:4]
    await clock.advance(0.3)
    assert let_in_now(lobby) == guests[4:7]
    await clock.advance(60)
    assert let_in_now(lobby) == guests[7:11]
    assert len(lobby) == 19


async def test_fewer_have_a_turn_while_paying_keys_ask():
    clock = ManualClock()
    lobby = Lobby(clock, turns_per_second=100, in_a_row=8)
    guests = [guest(number) for number in range(60)]
    assert all(lobby.enter(each) for each in guests)
    assert let_in_now(lobby) == guests[:8]
    lobby.give_way()
    await clock.advance(0.04)
    assert let_in_now(lobby) == guests[8:9]
    await clock.advance(0.08)
    assert let_in_now(lobby) == guests[9:11]
    await clock.advance(GIVES_WAY_S)
    assert let_in_now(lobby) == guests[11:19]


async def test_where_few_turns_are_saved_up_those_who_give_way_are_not_forgotten():
    clock = ManualClock()
    lobby = Lobby(clock, turns_per_second=1, in_a_row=1)
    for number in range(3):
        lobby.enter(guest(number))
    heard = []
    for _ in range(8):
        lobby.give_way()
        heard += let_in_now(lobby)
        await clock.advance(1)
    assert len(heard) == 3


async def test_who_comes_when_nobody_waits_need_not_wait():
    lobby = Lobby(ManualClock())
    coming = asyncio.create_task(lobby.next())
    await asyncio.sleep(0)
    assert not coming.done()
    first = guest()
    lobby.enter(first)
    async with asyncio.timeout(TIMEOUT_S):
        assert await coming == first


async def test_a_turn_comes_with_time():
    clock = ManualClock()
    lobby = Lobby(clock, turns_per_second=1, in_a_row=1)
    lobby.enter(guest(1))
    lobby.enter(guest(2))
    assert len(let_in_now(lobby)) == 1
    coming = asyncio.create_task(lobby.next())
    async with asyncio.timeout(TIMEOUT_S):
        await clock.wait_for_sleepers(1)
        await clock.advance(1.1)
        assert (await coming).not_before == 2


async def test_who_gives_up_waiting_for_the_next_loses_nobody():
    lobby = Lobby(ManualClock(), turns_per_second=1, in_a_row=1)
    lobby.enter(guest(1))
    lobby.enter(guest(2))
    assert len(let_in_now(lobby)) == 1
    coming = asyncio.create_task(lobby.next())
    await asyncio.sleep(0)
    coming.cancel()
    assert len(lobby) == 1


@pytest.mark.parametrize("keys", [1, 3, 10])
async def test_a_few_keys_never_fill_the_room(keys):
    lobby = Lobby(ManualClock(), room=1_000)
    people = [stranger(number) for number in range(keys)]
    entered = [sum(lobby.enter(guest(number, keys=each)) for each in people) for number in range(300)]
    # Each may have a tenth of what is left, however many it sends.
    assert 0 < sum(entered) <= 1_000 * keys / (keys + 10) + keys
    assert entered[-1] == 0
    assert lobby.enter(guest(keys=ALICE))


async def test_the_first_event_of_a_key_finds_a_place_as_long_as_there_is_one():
    lobby = Lobby(ManualClock(), room=50)
    assert [lobby.enter(guest(number)) for number in range(60)] == [True] * 50 + [False] * 10
    assert not lobby.has_room_for(guest(100).received.event)
    let_in_now(lobby)
    assert lobby.has_room_for(guest(100).received.event)


@pytest.mark.parametrize(
    "big", [{"content": "x" * 60_000}, {"tags": [("t", "")] * 400}], ids=["long", "many small parts"]
)
async def test_what_waits_is_bounded_in_bytes_too_and_small_events_go_on_finding_room(big, monkeypatch):
    monkeypatch.setattr(lobby_module, "ROOM_BYTES", 1_000_000)
    lobby = Lobby(ManualClock(), in_a_row=1_000)
    entered = sum(lobby.enter(guest(number, **big)) for number in range(100))
    assert 0 < entered < 20
    assert lobby.enter(guest(100))
    let_in_now(lobby)
    assert sum(lobby.enter(guest(number, **big)) for number in range(100)) == entered


def done(keys, paid_jobs):
    identity = IdentityRecord(pubkey=keys.public_key, first_seen=1, last_seen=1, paid_jobs=paid_jobs)
    return Applied(None, change=Change(identity=identity))


async def payers_of(*people):
    payers = Payers(Known(people))
    await payers.load()
    return payers


async def test_a_key_is_known_from_its_first_paid_job_on():
    payers = await payers_of(ALICE)
    assert ALICE.public_key in payers
    payers.applied(Applied(None))
    payers.applied(done(MALLORY, 0))
    assert MALLORY.public_key not in payers
    payers.applied(done(MALLORY, 1))
    assert MALLORY.public_key in payers


async def test_of_too_many_payers_those_seen_last_are_known(monkeypatch):
    monkeypatch.setattr(lobby_module, "KNOWN_PAYERS", 2)
    newest, newer, old = (stranger(number) for number in range(3))
    payers = await payers_of(newest, newer, old)
    assert [each.public_key in payers for each in (newer, newest, old)] == [True, True, False]
    payers.applied(done(ALICE, 1))
    assert [each.public_key in payers for each in (ALICE, newest, newer)] == [True, True, False]


def test_half_its_room_is_for_those_who_come_now():
    lobby = Lobby(ManualClock(), room=4)
    free = []
    for number in range(4):
        free.append(lobby.is_half_empty)
        lobby.enter(guest(number))
    assert [*free, lobby.is_half_empty] == [True, True, True, False, False]


def test_half_of_its_memory_too(monkeypatch):
    monkeypatch.setattr(lobby_module, "ROOM_BYTES", 100_000)
    lobby = Lobby(ManualClock())
    for number in range(12):
        lobby.enter(guest(number, content="x" * 4_000))
    assert not lobby.is_half_empty
