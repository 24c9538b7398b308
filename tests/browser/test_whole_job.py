"""The pages in front of the real thing: a serving Timmy with its simulated wallet and its offline agent."""

import asyncio
import os
import time

import httpx

from ledger.money import msats_from_sats
from lightning.simulated_node import Node
from tests.flows.live import asking
from tests.flows.shop import TIMMY, books, fresh_keys, serving
from timmy_dvm.nostr.customer import Order, Said

QUESTION = "What is a relay?"


def invoice_of_a_stranger(amount):
    """A BOLT11 of somebody else's node."""
    return Node(b"stranger", time.time, os.urandom).invoice(amount, "change", 3_600, None).bolt11


async def owed(page):
    """How many sats wait to be fetched, as the page says it."""
    return int((await page.text_content("#change-lines")).split()[0])


async def test_a_question_is_priced_paid_answered_and_its_change_fetched(visit, tmp_path):
    async with serving(tmp_path) as shop, visit(shop.ready.http) as tab:
        await tab.goto("/api/ui")
        await tab.page.fill("#question", QUESTION)
        await tab.reads("#price", "At most")
        await tab.page.click("#ask button")
        await tab.sees("#bill")
        assert await tab.page.evaluate("document.getElementById('code').decode().then(() => true)")
        await tab.page.click("#play-money")
        await tab.reads("#status", "Here is the answer.")
        assert await tab.text("#answer-text")
        await tab.sees("#claim")
        sats = await owed(tab.page)
        await tab.page.click("#withdraw")
        await tab.reads("#withdraw-link", f"{sats} sats")
        assert await tab.page.evaluate("document.getElementById('withdraw-code').decode().then(() => true)")
        assert (await tab.page.get_attribute("#withdraw-link", "href")).lower().startswith("lightning:lnurl1")
        await tab.page.fill("#claim-target", invoice_of_a_stranger(msats_from_sats(sats)))
        await tab.page.click("#claim button")
        await tab.reads("#claim-done", "Your change")
        await tab.reads("#change-lines", "sent back.")
        link = tab.page.url
        await tab.goto("/pool")
        await tab.sees("#books")
        await tab.page.goto(link)
        await tab.reads("#change-lines", "sent back.")
    (story,) = await books(tmp_path)
    assert story.texts.request == QUESTION


async def test_the_front_door_gives_a_free_answer_and_its_price(visit, tmp_path):
    async with serving(tmp_path) as shop, visit(shop.ready.http) as tab:
        await tab.goto("/")
        assert TIMMY.npub in await tab.text("#npub")
        await tab.page.fill("#question", QUESTION)
        await tab.page.click("#ask button")
        await tab.sees("#taste-text")
        await tab.reads("#buy-price", "At most")
        await tab.page.click("#buy button")
        await tab.sees("#bill")


async def test_a_relay_jobs_page_follows_it_live_and_keeps_its_answer(visit, tmp_path):
    async with serving(tmp_path) as shop, visit(shop.ready.http) as tab:
        order = Order(text=QUESTION, provider=TIMMY.public_key)
        async with asking(shop.ready, order, fresh_keys()) as errand:
            price = await errand.hears(Said.PRICE)
            (story,) = await books(tmp_path)
            await tab.goto(f"/pay/{story.job.id}")
            await tab.sees("#bill")
            assert await tab.page.input_value("#invoice") == price.bolt11
            await shop.pay(price.bolt11)
            result = await errand.hears(Said.RESULT)
        await tab.reads("#status", "over Nostr")
        assert result.text
        assert result.text not in await tab.page.content()
        assert QUESTION not in await tab.page.content()


async def test_every_page_and_whatever_it_names_is_there(tmp_path):
    async with serving(tmp_path) as shop, httpx.AsyncClient(base_url=shop.ready.http, trust_env=False) as http:
        for path in ("/", "/api/ui", "/pool", "/tower/"):
            page = await http.get(path)
            assert page.status_code == 200
            named = {part.split('"')[0] for mark in ('src="/', 'href="/') for part in page.text.split(mark)[1:]}
            answers = await asyncio.gather(*(http.get(f"/{name}") for name in named))
            assert {answer.status_code for answer in answers} == {200}
