"""The relay door when many ask at once: whom it deals with first, and whom it turns away."""

import asyncio
import functools

from tests.timmy_dvm.nostr.door import Door, job
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, stranger
from timmy_dvm.nostr.lobby import GIVES_WAY_S, TURNS_IN_A_ROW, TURNS_PER_SECOND, Lobby
from timmy_dvm.nostr.port import AT_ONCE


async def test_a_key_that_has_paid_is_dealt_with_while_a_crowd_of_strangers_waits_for_its_turns():
    crowd = [job(str(number), keys=stranger(number)) for number in range(TURNS_PER_SECOND)]
    async with Door(payers=[ALICE], lobby=Lobby) as door:
        door.pool.hear(*crowd, job("known"))
        heard = await door.engine.wait_for(TURNS_IN_A_ROW + 1)
        assert "known" in [fact.text for fact in heard]
        assert len(heard) == TURNS_IN_A_ROW + 1
        await door.clock.advance(GIVES_WAY_S + 1)
        heard = await door.engine.wait_for(len(crowd) + 1)
        assert sorted(fact.event_id for fact in heard if fact.text != "known") == sorted(each.id for each in crowd)


async def test_a_key_that_has_paid_is_dealt_with_while_strangers_hold_all_their_places():
    gate = asyncio.Event()
    async with Door(payers=[ALICE]) as door:
        door.engine.plan = [gate] * AT_ONCE
        door.pool.hear(*(job(str(number), keys=stranger(number)) for number in range(AT_ONCE + 5)))
        await door.engine.wait_tried(AT_ONCE)
        door.pool.hear(job("known"))
        assert [fact.text for fact in await door.engine.wait_for(1)] == ["known"]
        gate.set()
        await door.engine.wait_for(AT_ONCE + 6)


async def test_who_finds_no_room_to_wait_is_turned_away_and_the_log_counts_them(caplog):
    narrow = functools.partial(Lobby, turns_per_second=1, in_a_row=1, room=10)
    async with Door(payers=[ALICE], lobby=narrow) as door:
        door.pool.hear(job("whose turn is now", keys=MALLORY))
        await door.engine.wait_for(1)
        door.pool.hear(*(job(str(number), keys=stranger(number)) for number in range(30)))
        assert len(await door.marked()) == 1
        await door.clock.advance(30)
        heard = await door.engine.wait_for(11)
        assert [fact.text for fact in heard[1:]] == [str(number) for number in range(10)]
    (told,) = [record for record in caplog.records if record.action == "turned_away"]
    assert told.fields == {"count": 1}
