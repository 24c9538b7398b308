"""The browser that the tests drive: Debian's Chromium, through Playwright."""

import contextlib
import os
import shutil

from playwright.async_api import async_playwright

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",  # the tests may run as root, where Chromium has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium():
    """The path of a browser.

    Raises:
        LookupError: there is none.
    """
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise LookupError(
            "the browser tests need Chromium: run `make .venv/ready-browser`, or install the package chromium, "
            "or name the program in the environment variable CHROMIUM"
        )
    return found


@contextlib.asynccontextmanager
async def launched():
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()
