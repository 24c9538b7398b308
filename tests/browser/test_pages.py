"""Every page by itself: what it weighs, that it needs nobody else, and that everybody can use it."""

from pathlib import Path

import pytest

from tests.browser.stand_in import CLAIM, COST, INVOICE, JOB, NPUB, StandIn, job, refund, served

AXE = Path(__file__).parents[1] / "peers/node_modules/axe-core/axe.min.js"
PAGES = {
    "/": "#question",
    "/api/ui": "#question",
    f"/pay/{JOB}": "#bill",
    "/pool": "#books",
    f"/pay/{'0' * 32}": "h1",
}
"""Each page, and what is there to be seen when it is ready."""
MOST_BYTES = 150_000
SERIOUS = {"serious", "critical"}
each_page = pytest.mark.parametrize("path", PAGES, ids=["landing", "ask", "pay", "pool", "lost"])


async def violations(tab):
    await tab.page.evaluate(AXE.read_text())
    found = await tab.page.evaluate("() => axe.run()")
    return [
        (rule["id"], node["html"][:120], node.get("failureSummary", ""))
        for rule in found["violations"]
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


@each_page
async def test_a_first_visit_weighs_little_and_asks_nobody_else(tab, path):
    finished = []

    def note(request):
        finished.append(request)

    tab.page.on("requestfinished", note)
    await tab.goto(path)
    await tab.sees(PAGES[path])
    total = 0
    for request in finished:
        size = await request.sizes()
        total += size["responseBodySize"] + size["responseHeadersSize"]
    assert 5_000 < total <= MOST_BYTES


@pytest.mark.parametrize("theme", ["light", "dark"])
@each_page
async def test_nothing_serious_stands_in_anybodys_way(visit, path, theme):
    async with served(StandIn().app()) as base, visit(base, color_scheme=theme) as tab:
        await tab.goto(path)
        await tab.sees(PAGES[path])
        assert await violations(tab) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_nor_in_any_state_of_a_job(visit, theme):
    stand_in = StandIn()
    async with served(stand_in.app()) as base, visit(base, color_scheme=theme) as tab:
        await tab.goto(f"/pay/{JOB}#claim={CLAIM}")
        await tab.sees("#bill")
        stand_in.becomes("executing")
        stand_in.writes("Half an answer")
        await tab.sees("#answer")
        assert await violations(tab) == []
        stand_in.becomes("complete", result="All of it", costLedger=COST, refund=refund())
        await tab.sees("#claim")
        assert await violations(tab) == []


@pytest.mark.parametrize("width", [320, 390, 1280])
@each_page
async def test_no_page_is_wider_than_its_window(visit, path, width):
    relays = ("wss://" + "a-relay-with-a-name-of-great-length." * 5 + "example",)
    async with (
        served(StandIn().app(relays=relays)) as base,
        visit(base, viewport={"width": width, "height": 700}) as tab,
    ):
        await tab.goto(path)
        await tab.sees(PAGES[path])
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= width


@each_page
async def test_what_a_finger_touches_is_large_enough(visit, path):
    async with served(StandIn().app()) as base, visit(base, viewport={"width": 390, "height": 780}) as tab:
        await tab.goto(path)
        await tab.sees(PAGES[path])
        small = await tab.page.evaluate(
            """() => [...document.querySelectorAll("button, nav a, .button, input, textarea")]
                .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 44)
                .map((e) => e.outerHTML.slice(0, 100))"""
        )
        assert small == []


async def test_the_landing_page_says_who_timmy_is(tab):
    await tab.goto("/")
    assert await tab.text("#npub") == NPUB
    assert "wss://relay.example" in await tab.text(".relays")


@pytest.mark.parametrize(("motion", "falls"), [("reduce", False), ("no-preference", True)])
async def test_digits_fall_only_for_whom_motion_is_no_trouble(visit, motion, falls):
    painted = """() => {
        const canvas = document.getElementById("rain");
        if (!canvas.width || !canvas.height) return false;
        const seen = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return seen.data.some((byte) => byte > 0);
    }"""
    async with served(StandIn().app()) as base, visit(base, reduced_motion=motion) as tab:
        await tab.goto("/")
        if falls:
            await tab.page.wait_for_function(painted)
        else:
            await tab.sees("#question")
            assert not await tab.page.is_visible("#rain")
            assert not await tab.page.evaluate(painted)
            assert await tab.page.evaluate("document.getAnimations().length") == 0


async def test_an_invoice_is_there_without_any_script(visit):
    stand_in = StandIn(view=job())
    async with served(stand_in.app()) as base, visit(base, java_script_enabled=False) as tab:
        await tab.goto(f"/pay/{JOB}")
        assert await tab.page.input_value("#plain-invoice") == INVOICE["paymentRequest"]
        link = await tab.page.get_attribute("#plain a.button", "href")
        assert link == f"lightning:{INVOICE['paymentRequest']}"
        assert await tab.page.is_visible("#plain img")


async def test_a_play_money_timmy_says_so_and_another_does_not(visit):
    for play_money in (True, False):
        async with served(StandIn().app(play_money=play_money)) as base, visit(base) as tab:
            await tab.goto("/api/ui")
            assert await tab.page.is_visible(".ribbon") == play_money
