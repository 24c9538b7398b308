"""The Workshop in a real browser: the scene lives, the chat works by keyboard, what is said is only ever text."""

import json

import pytest

from tests.browser.test_hostile import TEXTS
from tests.timmy_dvm.http.watching import served
from tests.timmy_dvm.world.shop import CLEAR, Script
from timmy_dvm.world.frames import Counts, ParcelMoved, Said, WorldEvent

AGENTS = ("alpha", "beta", "gamma", "delta", "timmy")


async def count(tab, selector):
    return await tab.page.evaluate("s => document.querySelectorAll(s).length", selector)


async def test_who_comes_sees_the_five_and_that_the_line_is_open(visit):
    async with served() as house, visit(house.base) as tab:
        await tab.goto("/tower/")
        await tab.reads("#connection", "Live")
        assert await count(tab, "#people li") == 5
        await tab.reads("#visitors", "you are here")
        await tab.reads("#scene-words", "Gamma rests.")


async def test_a_job_lies_on_a_bench_under_its_made_up_name(visit):
    async with served() as house, visit(house.base) as tab:
        await tab.goto("/tower/")
        await tab.reads("#connection", "Live")
        await house.shop.house.ask(origin=CLEAR)
        (parcel,) = house.shop.workshop.snapshot().parcels
        await tab.page.wait_for_selector(f"#scene .parcel-name:text-is('{parcel.label}')", state="attached")
        await tab.reads("#people", "waits for a payment")


async def test_enter_says_it_and_empties_the_field_and_timmy_answers(visit):
    async with served(Script("Good day to you.")) as house, visit(house.base) as tab:
        await tab.goto("/tower/")
        await tab.reads("#connection", "Live")
        await tab.tabs_to("#said")
        await tab.page.keyboard.type("<b>hello</b>")
        await tab.page.keyboard.press("Enter")
        await tab.reads("#words", "Timmy: Good day to you.")
        assert "Visitor: <b>hello</b>" in await tab.text("#words")
        assert await tab.page.input_value("#said") == ""
        await tab.reads(".bubble.timmy", "Good day to you.")
        assert await count(tab, ".bubble") == 1  # a visitor puts no words into the picture


async def test_out_of_touch_it_says_so_and_comes_back(visit):
    async with served() as house, visit(house.base) as tab:
        await tab.goto("/tower/")
        await tab.reads("#connection", "Live")
        for watcher in house.shop.watchers._all:
            watcher.lost.set()
        await tab.reads("#connection", "Out of touch")
        assert await tab.page.is_disabled("#say button")
        await tab.reads("#connection", "Live")


async def test_hostile_words_stay_words(visit):
    async with served() as house, visit(house.base) as tab:
        await tab.goto("/tower/")
        await tab.reads("#connection", "Live")
        kinds = "script, img, iframe, object, a, form, style, link, svg *"
        before = await count(tab, kinds)
        for text in TEXTS:
            house.shop.workshop.tell(Said(agent_id="visitor", text=text))
            house.shop.workshop.tell(Said(agent_id=text, text=text))
            house.shop.workshop.tell(ParcelMoved(label=text, at=text, how=text))
            house.shop.workshop.tell(WorldEvent(event=text, at=text))
            await tab.page.evaluate("1")  # keep up, or be cut off
        house.shop.workshop.tell(Said(agent_id="visitor", text="the last word"))
        await tab.reads("#words", "the last word")
        assert await count(tab, kinds) == before
        assert await tab.page.evaluate("window.pwned ?? null") is None


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
async def test_nothing_has_to_be_scrolled_sideways(visit, width):
    async with served() as house, visit(house.base, viewport={"width": width, "height": 800}) as tab:
        await tab.goto("/tower/")
        await tab.reads("#connection", "Live")
        house.shop.workshop.tell(Said(agent_id="timmy", text="w" * 250))
        house.shop.workshop.tell(Counts(sealed=3, more=400, visitors=50))
        await tab.reads("#words", "www")
        assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


COVERED = """() => {
  const shelf = document.querySelector("#shelf").getBoundingClientRect();
  return [...document.querySelectorAll("#scene .name")].filter((name) => {
    const box = name.getBoundingClientRect();
    return box.left < shelf.right && box.right > shelf.left && box.top < shelf.bottom && box.bottom > shelf.top;
  }).map((name) => name.textContent);
}"""


@pytest.mark.parametrize("width", [320, 390, 768, 1040])
async def test_what_waits_is_told_over_nobodys_name(visit, width):
    async with served() as house, visit(house.base, viewport={"width": width, "height": 800}) as tab:
        await tab.goto("/tower/")
        await tab.reads("#connection", "Live")
        house.shop.workshop.tell(Counts(sealed=1, more=6, visitors=1))
        await tab.reads("#shelf", "6 more waiting")
        assert await count(tab, "#scene .name") == 5
        assert await tab.page.evaluate(COVERED) == []


async def test_without_the_picture_the_list_says_the_same(visit):
    async with served() as house, visit(house.base) as tab:
        await tab.goto("/tower/")
        await tab.reads("#connection", "Live")
        house.shop.workshop.talk_begins()
        await tab.reads("#people", "thinks of a reply")
        tree = json.dumps(await tab.page.locator("main").aria_snapshot())
        assert "img" in tree
        assert "log" in tree
        assert all(name.title() in tree for name in AGENTS)
