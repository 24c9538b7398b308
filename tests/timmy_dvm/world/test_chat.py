"""The chat, row by row (WLD-13 to 19, DEM-07): who hears what, in which order, and what a reply may cost."""

import pytest

from ledger.store import StoreUnavailable
from tests.timmy_dvm.world.shop import ANNE, BOB, Script, a_shop, short, told, turns
from timmy_dvm.agent.offline import SMALL_TALK
from timmy_dvm.agent.runner import Refused, Unavailable
from timmy_dvm.free_answers import NoFreeAnswer
from timmy_dvm.world.chat import A_MOMENT, HEARD_PER_MINUTE


async def test_chat_order():
    """WLD-13 and WLD-15: to everybody, in this order."""
    async with a_shop(Script("Good day.")) as shop:
        anne, bob = shop.watch(ANNE), shop.watch(BOB)
        told(anne)
        shop.chat.hear(anne, "hello")
        await turns()
        for watcher in (anne, bob):
            assert short(told(watcher)) == [
                "visitor: hello",
                "gamma=working",
                "gamma=idle",
                "timmy: Good day.",
                "(visitor:reply)",
            ]


async def test_a_reply_is_thought_of_beside_all_else():
    """WLD-15: without blocking. Everybody hears what was said while gamma still thinks."""
    script = Script("Later.")
    script.may.clear()
    async with a_shop(script) as shop:
        anne, bob = shop.watch(ANNE), shop.watch(BOB)
        told(anne)
        shop.chat.hear(anne, "one")
        await turns()
        shop.chat.hear(bob, "two")
        await turns()
        assert short(told(bob)) == ["visitor: one", "gamma=working", "visitor: two", "gamma=working"]
        script.may.set()
        await turns()
        states = [line for line in short(told(bob)) if line.startswith("gamma")]
        assert states == ["gamma=working", "gamma=idle"]  # two talks: gamma rests when both are over


async def test_the_fourth_in_a_minute_hears_the_polite_line_and_nobody_else_does():
    """WLD-14, DEM-07."""
    async with a_shop(Script()) as shop:
        anne, bob = shop.watch(ANNE), shop.watch(BOB)
        for count in range(3):
            shop.chat.hear(anne, f"question {count}")
            await turns()
        told(anne), told(bob)
        shop.chat.hear(anne, "one more")
        await turns()
        assert short(told(anne)) == ["visitor: one more", f"timmy: {A_MOMENT}"]
        assert short(told(bob)) == ["visitor: one more"]
        assert A_MOMENT.startswith("I need a moment...")
        shop.chat.hear(bob, "and me?")
        await turns()
        assert "(visitor:reply)" in short(told(bob))


async def test_a_minute_later_there_are_replies_again():
    async with a_shop(Script()) as shop:
        anne = shop.watch()
        for _ in range(4):
            shop.chat.hear(anne, "hm")
        await turns()
        told(anne)
        await shop.clock.advance(61)
        shop.chat.hear(anne, "now?")
        await turns()
        assert "(visitor:reply)" in short(told(anne))


async def test_limits_are_the_addresses_and_no_new_page_lifts_them():
    """DEM-06: two pages of one address have one limit; nothing that is sent says who somebody is."""
    async with a_shop(Script()) as shop:
        pages = [shop.watch(ANNE) for _ in range(4)]
        for page in pages:
            shop.chat.hear(page, "hi")
        await turns()
        assert sum(line == "(visitor:reply)" for line in short(told(pages[0]))) == 3


async def test_who_floods_is_not_shown_to_others():
    async with a_shop(Script()) as shop:
        anne, bob = shop.watch(ANNE), shop.watch(BOB)
        for count in range(50):
            shop.chat.hear(anne, f"spam {count}")
            await shop.clock.advance(0.5, rounds=2)
        await turns()
        assert sum(line.startswith("visitor:") for line in short(told(bob))) == HEARD_PER_MINUTE


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (Unavailable("down"), A_MOMENT),
        (Refused(), A_MOMENT),
        (StoreUnavailable("disk full"), A_MOMENT),
        (NoFreeAnswer("Nothing left.", 60), "Nothing left."),
        (RuntimeError("a fault of ours"), A_MOMENT),
    ],
)
async def test_however_a_reply_fails_gamma_does_not_stay_at_work(fault, line):
    """WLD-16."""
    async with a_shop(Script(fault)) as shop:
        anne = shop.watch()
        shop.chat.hear(anne, "hello")
        await turns()
        assert short(told(anne))[1:] == ["gamma=working", "gamma=idle", f"timmy: {line}", "(visitor:unanswered)"]
        gamma = next(one for one in shop.workshop.snapshot().agents if one.id == "gamma")
        assert gamma.state == "idle"


async def test_a_stop_in_the_middle_of_a_reply_leaves_nothing_behind():
    script = Script()
    script.may.clear()
    async with a_shop(script) as shop:
        anne = shop.watch()
        shop.chat.hear(anne, "hello")
        await turns()
        await shop.chat.aclose()
        assert short(told(anne))[1:3] == ["gamma=working", "gamma=idle"]


async def test_a_long_reply_is_cut():
    """WLD-18."""
    async with a_shop(Script("x" * 1_000, "line\nbreak \u202e\x07 end", "")) as shop:
        anne = shop.watch()
        lines = []
        for text in ("a", "b", "c"):
            shop.chat.hear(anne, text)
            await turns()
            lines += [frame["text"] for frame in told(anne) if frame.get("agentId") == "timmy" and "text" in frame]
        assert len(lines[0]) == 250
        assert lines[1:] == ["line break end", A_MOMENT]


async def test_without_a_model_one_of_four_is_said_after_400_ms():
    """WLD-19: by the injected clock."""
    async with a_shop() as shop:
        anne, said = shop.watch(), []
        for count in range(4):
            shop.chat.hear(anne, f"hello {count}")
            await turns()
            await shop.clock.advance(0.39)
            assert "timmy" not in str(told(anne))
            await shop.clock.advance(0.02)
            await shop.free.settled()
            said += [frame["text"] for frame in told(anne) if frame["type"] == "chat"]
            await shop.clock.advance(60)
            told(anne)
        assert said == list(SMALL_TALK)
        assert all(len(line) <= 250 for line in SMALL_TALK)


async def test_a_reply_is_written_into_the_bounded_table():
    """LOG-04."""
    async with a_shop(Script()) as shop:
        shop.chat.hear(shop.watch(), "hello")
        await turns()
        await shop.diary.write()
        assert "visitor:reply" in [kind for _, kind in await shop.store.world_events(10)]
