"""One browser for all of these tests, and for each a context of its own that can reach nothing foreign."""

import contextlib
import inspect
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser.chromium import launched
from tests.browser.stand_in import StandIn, served

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """All of them share one event loop and one worker: a browser is started once."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.peer)
            item.add_marker(pytest.mark.xdist_group("browser"))
            if inspect.iscoroutinefunction(item.function):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser():
    async with launched() as started:
        yield started


class Visit:
    """A browser's window on one server, and what it saw go wrong."""

    def __init__(self, page, base):
        self.page = page
        self.base = base
        self.foreign = []
        self.faults = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", self._dismiss)

    def _hear(self, message):
        # A status of 4xx is told in the console too; that is the page's own affair.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    async def _dismiss(self, dialog):
        self.faults.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    async def guard(self):
        async def judge(route):
            if route.request.url.startswith((self.base, "blob:", "data:")):
                await route.continue_()
            else:
                self.foreign.append(route.request.url)
                await route.abort()

        await self.page.context.route("**/*", judge)

    async def goto(self, path):
        return await self.page.goto(f"{self.base}{path}")

    async def sees(self, selector):
        """Wait until it is there to be seen."""
        return await self.page.wait_for_selector(selector, state="visible", timeout=20_000)

    async def reads(self, selector, words):
        """Wait until an element says these words."""
        script = """([selector, words]) => {
            const node = document.querySelector(selector);
            return Boolean(node?.checkVisibility() && node.textContent.includes(words));
        }"""
        await self.page.wait_for_function(script, arg=[selector, words], timeout=20_000)

    async def says(self, selector, words):
        """Wait until an element says exactly these words, looking at each frame."""
        script = "([s, w]) => document.querySelector(s).textContent === w"
        await self.page.wait_for_function(script, arg=[selector, words], timeout=20_000)

    async def text(self, selector):
        return await self.page.text_content(selector)

    async def tabs_to(self, selector):
        """Press Tab until that element has the focus, and see that it shows."""
        for _ in range(60):
            await self.page.keyboard.press("Tab")
            if await self.page.evaluate("s => document.activeElement?.matches(s)", selector):
                outline = "e => getComputedStyle(e).outlineStyle"
                assert await self.page.eval_on_selector(selector, outline) != "none", f"{selector} hides its focus"
                return
        raise AssertionError(f"no Tab leads to {selector}")


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser):
    """Opens a window on a server: `async with visit(base) as tab`."""

    @contextlib.asynccontextmanager
    async def open_window(base, **options):
        context = await browser.new_context(**{"reduced_motion": "reduce", **options})
        context.set_default_timeout(20_000)
        tab = Visit(await context.new_page(), base)
        await tab.guard()
        try:
            yield tab
            assert tab.faults == []
            assert tab.foreign == []
        finally:
            await context.close()

    return open_window


@pytest_asyncio.fixture(loop_scope="session")
async def stand_in():
    return StandIn()


@pytest_asyncio.fixture(loop_scope="session")
async def tab(visit, stand_in):
    """A window on the stand-in."""
    async with served(stand_in.app()) as base, visit(base) as window:
        yield window
