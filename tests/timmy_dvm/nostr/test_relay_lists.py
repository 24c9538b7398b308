"""Relay lists are asked for once, by those who wrote them, and read as NIP-65 and NIP-17 mean them."""

import asyncio

import pytest

from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, NOW, signed
from timmy_dvm.clock import ManualClock
from timmy_dvm.nostr import relay_lists
from timmy_dvm.nostr.relay_lists import (
    ASKED_A_SECOND,
    FOUND_FOR_S,
    KIND_INBOX_LIST,
    KIND_RELAY_LIST,
    MAX_ASKED_AT_ONCE,
    MAX_LISTED,
    NOT_FOUND_FOR_S,
    RelayLists,
)

TIMEOUT_S = 10
KEY = ALICE.public_key


class Relays:
    """Answers from what it has, newest first, and counts; with the gate closed it takes its time."""

    def __init__(self, *events):
        self.events = events
        self.asked = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def query(self, filters, *, timeout_s):
        self.asked.append(filters)
        await self.gate.wait()
        found = [event for event in self.events if any(filter_.matches(event) for filter_ in filters)]
        return sorted(found, key=lambda event: -event.created_at)


def lists(*events):
    clock = ManualClock(NOW)
    pool = Relays(*events)
    return RelayLists(pool, clock), pool, clock


async def test_read_relays_are_those_without_a_marker_or_marked_read():
    tags = [
        ("r", "wss://both.example"),
        ("r", "WSS://Read.Example/", "read"),
        ("r", "wss://write.example", "write"),
        ("r", "wss://empty.example", ""),
        ("r", "wss://odd.example", "both"),
        ("r",),
        ("relay", "wss://inbox.example"),
        ("r", "not a url"),
        ("r", "wss://both.example"),
    ]
    found, _, _ = lists(signed(*tags, kind=KIND_RELAY_LIST))
    assert await found.find(KEY, KIND_RELAY_LIST) == (
        "wss://both.example", "wss://read.example", "wss://empty.example"
    )  # fmt: skip


async def test_inbox_relays_are_those_of_the_other_kind():
    found, _, _ = lists(
        signed(("r", "wss://both.example"), kind=KIND_RELAY_LIST),
        signed(("relay", "wss://inbox.example"), ("r", "wss://no.example"), kind=KIND_INBOX_LIST),
    )
    assert await found.find(KEY, KIND_INBOX_LIST) == ("wss://inbox.example",)


async def test_the_newest_list_counts_and_only_its_authors():
    found, pool, _ = lists(
        signed(("r", "wss://old.example"), kind=KIND_RELAY_LIST, at=NOW - 9),
        signed(("r", "wss://new.example"), kind=KIND_RELAY_LIST, at=NOW - 5),
        signed(("r", "wss://evil.example"), kind=KIND_RELAY_LIST, keys=MALLORY),
    )
    assert await found.find(KEY, KIND_RELAY_LIST) == ("wss://new.example",)
    ((wanted,),) = pool.asked
    assert wanted.to_obj() == {"kinds": [KIND_RELAY_LIST], "authors": [KEY], "limit": 1}


async def test_no_more_of_a_list_is_looked_at_than_so_much():
    tags = [("r", f"wss://{n}.example") for n in range(500)]
    found, _, _ = lists(signed(*tags, kind=KIND_RELAY_LIST))
    assert len(await found.find(KEY, KIND_RELAY_LIST)) == MAX_LISTED


@pytest.mark.parametrize(("events", "seconds"), [([("r", "wss://a.example")], FOUND_FOR_S), ([], NOT_FOUND_FOR_S)])
async def test_what_was_found_and_what_was_not_is_remembered_for_a_while(events, seconds):
    found, pool, clock = lists(*(signed(tag, kind=KIND_RELAY_LIST) for tag in events))
    assert found.known(KEY, KIND_RELAY_LIST) is None
    relays = await found.find(KEY, KIND_RELAY_LIST)
    await clock.advance(seconds - 1)
    assert await found.find(KEY, KIND_RELAY_LIST) == relays == found.known(KEY, KIND_RELAY_LIST)
    assert len(pool.asked) == 1
    await clock.advance(1)
    assert found.known(KEY, KIND_RELAY_LIST) is None
    await found.find(KEY, KIND_RELAY_LIST)
    assert len(pool.asked) == 2


async def test_many_who_want_one_list_ask_once():
    found, pool, _ = lists(signed(("r", "wss://a.example"), kind=KIND_RELAY_LIST))
    pool.gate.clear()
    wanted = [asyncio.create_task(found.find(KEY, KIND_RELAY_LIST)) for _ in range(20)]
    await asyncio.sleep(0)
    pool.gate.set()
    async with asyncio.timeout(TIMEOUT_S):
        assert set(await asyncio.gather(*wanted)) == {("wss://a.example",)}
    assert len(pool.asked) == 1


async def test_who_is_cancelled_while_asking_leaves_the_turn_to_the_next():
    found, pool, _ = lists(signed(("r", "wss://a.example"), kind=KIND_RELAY_LIST))
    pool.gate.clear()
    first, second = (asyncio.create_task(found.find(KEY, KIND_RELAY_LIST)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    pool.gate.set()
    async with asyncio.timeout(TIMEOUT_S):
        assert await second == ("wss://a.example",)


async def test_a_flood_of_keys_is_neither_asked_for_nor_remembered(monkeypatch):
    monkeypatch.setattr(relay_lists, "REMEMBERED", 40)
    found, pool, clock = lists()
    pool.gate.clear()
    asks = [asyncio.create_task(found.find(f"{n:064x}", KIND_RELAY_LIST)) for n in range(500)]
    await asyncio.sleep(0)
    assert len(pool.asked) == MAX_ASKED_AT_ONCE
    pool.gate.set()
    async with asyncio.timeout(TIMEOUT_S):
        assert set(await asyncio.gather(*asks)) == {()}
    await found.find(f"{499:064x}", KIND_RELAY_LIST)
    assert len(pool.asked) == MAX_ASKED_AT_ONCE
    for n in range(100):
        await clock.advance(1 / ASKED_A_SECOND)
        await found.find(f"{n:064x}", KIND_RELAY_LIST)
    assert sum(found.known(f"{n:064x}", KIND_RELAY_LIST) is not None for n in range(500)) == 40
