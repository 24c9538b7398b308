"""Pictures of every page, for people to look at: `python -m tests.browser.shots [--view] FOLDER [SCENE…]`.

`--view` shows what fits a window, as in docs/img; otherwise a picture is as long as its page.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.browser.chromium import launched
from tests.browser.stand_in import CLAIM, COST, INVOICE, JOB, StandIn, job, refund, served

SIZES = {"desktop": (1040, 740), "phone": (390, 780)}
ANSWER = (
    "A Lightning channel is like a tab that two friends keep.\n\n"
    "Each time one pays for the other they change the numbers on the paper, and both sign it. "
    "Nobody else has to know, and it costs nothing.\n\n"
    "When they have had enough, they show the last paper to the bank, and it pays out once."
)


def soon():
    """A while from now, as the API writes it."""
    return (datetime.now(UTC) + timedelta(minutes=10)).isoformat()


async def pictures(folder, names, *, whole):
    async with launched() as browser:
        for theme in ("light", "dark"):
            for size, (width, height) in SIZES.items():
                context = await browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="no-preference"
                )
                for name, scene in SCENES.items():
                    if names and name not in names:
                        continue
                    stand_in = StandIn(view=job(evalInvoice=INVOICE | {"expiresAt": soon()}))
                    async with served(stand_in.app()) as base:
                        page = await context.new_page()
                        await scene(page, base, stand_in)
                        await page.wait_for_timeout(700)
                        await page.screenshot(path=folder / f"{name}-{size}-{theme}.png", full_page=whole)
                        await page.close()
                await context.close()


async def landing(page, base, stand_in):
    await page.goto(base)
    await page.wait_for_timeout(2500)


async def taste(page, base, stand_in):
    await page.goto(base)
    await page.fill("#question", "What is a Lightning channel?")
    await page.click("#ask button")
    await page.wait_for_selector("#buy:not([hidden])")


async def ask(page, base, stand_in):
    await page.goto(f"{base}/api/ui")
    await page.fill("#question", "What is a Lightning channel?")
    await page.wait_for_selector("#price:not(:empty)")


async def bill(page, base, stand_in):
    await ask(page, base, stand_in)
    await page.click("#ask button")
    await page.wait_for_selector("#bill:not([hidden])")


async def writing(page, base, stand_in):
    await bill(page, base, stand_in)
    await stand_in.listening()
    stand_in.becomes("executing")
    stand_in.writes(ANSWER[:180])
    await page.wait_for_selector("#answer:not([hidden])")


async def complete(page, base, stand_in):
    await writing(page, base, stand_in)
    stand_in.becomes("complete", result=ANSWER, costLedger=COST, refund=refund())
    await page.wait_for_selector("#claim:not([hidden])")


async def failed(page, base, stand_in):
    stand_in.becomes(
        "failed", errorMessage="The model did not answer in time.", refund=refund("sent", 13, "failed")
    )
    await page.goto(f"{base}/pay/{JOB}#claim={CLAIM}")
    await page.wait_for_selector("#change:not([hidden])")


async def pay(page, base, stand_in):
    await page.goto(f"{base}/pay/{JOB}")
    await page.wait_for_selector("#bill:not([hidden])")


async def pool(page, base, stand_in):
    await page.goto(f"{base}/pool")
    await page.wait_for_selector("#books:not([hidden])")


async def lost(page, base, stand_in):
    await page.goto(f"{base}/pay/{'0' * 32}")


SCENES = {
    scene.__name__: scene for scene in (landing, taste, ask, bill, writing, complete, failed, pay, pool, lost)
}


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--view"]
    where = Path(given[0])
    where.mkdir(parents=True, exist_ok=True)
    asyncio.run(pictures(where, given[1:], whole="--view" not in sys.argv))
