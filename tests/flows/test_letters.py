"""A person writes to Timmy in private (NIP-17) and buys an answer, and nobody else reads a word of it.

The person's client is nostr-tools; the bot is the whole bot, over relays that others wrote as well as its own.
"""

import contextlib
import json
import re
import time

import pytest

from ledger.money import Msats
from ledger.records import JobState, RefundState
from lightning.simulated_node import Node
from relay_client.local_relay import LocalRelay
from tests.flows.live import until
from tests.flows.shop import TIMMY, books, line_to, serving
from tests.peer_relays import NpmRelay, SdkRelay
from tests.peer_writer import Writer

pytestmark = pytest.mark.peer

ME = TIMMY.public_key
QUESTION = "What does a data vending machine do for me, how do I pay it, and what comes back if it should fail?"
SECRETS = ("vending", "without a language model", "lnbcrt", "Done for", " sats", "price ")
RELAYS = pytest.mark.parametrize("relay_class", [LocalRelay, SdkRelay, NpmRelay])


def is_price(text):
    return "lightning:" in text


def is_receipt(text):
    return text.startswith("Done for")


def invoice_in(rumor):
    return re.search(r"^lightning:(\S+)$", rumor["content"], re.MULTILINE)[1]


@contextlib.asynccontextmanager
async def somebody(*urls, **how):
    """A person who reads and writes on these relays."""
    async with Writer() as writer:
        await writer.listen(urls, **how)
        yield writer


async def all_events(url):
    """All that a relay has stored and shows to whoever asks."""
    events = []
    async with line_to(url) as ws:
        await ws.send(json.dumps(["REQ", "all", {}]))
        while (message := json.loads(await ws.recv()))[0] == "EVENT":
            events.append(message[2])
    return events


async def buys(writer, shop, text=QUESTION):
    """The three messages: price, answer, receipt."""
    asked = await writer.write(ME, text)
    price = await writer.hears(is_price)
    await shop.pay(invoice_in(price))
    receipt = await writer.hears(is_receipt)
    (answer,) = (rumor for rumor in writer.rumors if "without a language model" in rumor["content"])
    assert all(["e", asked] in rumor["tags"] for rumor in (price, answer, receipt))
    return price, answer, receipt


@RELAYS
async def test_a_person_writes_pays_and_gets_the_answer_and_the_receipt_with_the_change(
    tmp_path, relay_class, caplog
):
    caplog.set_level("DEBUG")
    async with (
        relay_class() as relay,
        serving(tmp_path, relay.url) as shop,
        somebody(relay.url) as writer,
    ):
        price, _, receipt = await buys(writer, shop)
        assert re.match(r"\d+ sats \(about \d+ cents?\) at most; what is not used comes back\.", price["content"])
        assert "Valid until" in price["content"]
        assert re.search(
            r"claim them with a BOLT11 invoice for exactly that sum \(send it here\)", receipt["content"]
        )
        stored = await all_events(relay.url)
    (story,) = await books(tmp_path)
    (invoice,) = story.invoices
    assert (story.job.state, story.job.pubkey) == (JobState.COMPLETE, writer.keys.public_key)
    assert invoice.bolt11 == invoice_in(price)
    assert story.texts.request == QUESTION
    is_nobodys_business(stored, writer)
    assert not [word for word in SECRETS if word in caplog.text]


async def test_a_relay_that_shows_messages_to_their_readers_alone_shows_them_to_timmy(tmp_path):
    async with (
        SdkRelay(guards_wraps=True) as relay,
        serving(tmp_path, relay.url) as shop,
        somebody(relay.url) as writer,
    ):
        await buys(writer, shop)
        async with line_to(relay.url) as ws:
            await ws.send(json.dumps(["REQ", "spy", {"kinds": [1059]}]))
            while (message := json.loads(await ws.recv()))[0] == "AUTH":
                pass
            assert (message[0], "auth-required" in message[2]) == ("CLOSED", True)


def is_nobodys_business(stored, writer):
    """Whoever reads all that is on the relay learns that Timmy and the customer were written to, and no more."""
    wraps = [event for event in stored if event["kind"] == 1059]
    assert len(wraps) >= 4
    senders = [event["pubkey"] for event in wraps]
    assert len(set(senders)) == len(senders)
    assert not {ME, writer.keys.public_key} & set(senders)
    for event in stored:
        assert not [word for word in SECRETS if word in event["content"] and event["kind"] not in (0, 31_990)]
        assert event["kind"] not in (13, 14)
    assert not [event for event in stored if event["pubkey"] == ME and 5_000 <= event["kind"] <= 7_000]
    now = time.time()
    assert all(now - 172_800 - 60 <= event["created_at"] <= now for event in wraps)


async def test_an_invoice_and_nothing_else_claims_the_change(tmp_path):
    async with serving(tmp_path) as shop, somebody(*shop.ready.relays) as writer:
        await buys(writer, shop)
        (story,) = await books(tmp_path)
        (held,) = (refund for refund in story.refunds if refund.state is RefundState.HELD)
        await writer.write(ME, "balance")
        await writer.hears(lambda text: f"Waiting for you: {held.amount // 1000} sats." in text)
        node = Node(b"customer", time.time, lambda size: b"\x09" * size)
        wrong = node.invoice(Msats(held.amount + 1_000), "change", 3_600, None).bolt11
        await writer.write(ME, wrong)
        await writer.hears(lambda text: text == f"Send an invoice for exactly {held.amount // 1000} sats.")
        right = node.invoice(held.amount, "change", 3_600, None).bolt11
        await writer.write(ME, f"lightning:{right}".upper())
        await writer.hears(lambda text: text == f"On the way to your invoice: {held.amount // 1000} sats.")
        await writer.hears(lambda text: text == f"{held.amount // 1000} sats were sent back to your invoice.")
        assert [row.state for row in (await books(tmp_path))[0].refunds] == [RefundState.SENT]


async def test_a_restart_in_the_middle_loses_and_repeats_nothing(tmp_path):
    async with LocalRelay() as relay, somebody(relay.url) as writer:
        async with serving(tmp_path, relay.url):
            asked = await writer.write(ME, QUESTION)
            price = await writer.hears(is_price)
        later = await writer.write(
            ME, "And this was written while nobody was there to read it, by the same person."
        )
        async with serving(tmp_path, relay.url) as shop:
            await shop.pay(invoice_in(price))
            await writer.hears(is_receipt)

            def both_are_answered():
                return {tag[1] for rumor in writer.rumors for tag in rumor["tags"] if tag[0] == "e"} == {
                    asked,
                    later,
                }

            await until(both_are_answered)
        async with serving(tmp_path, relay.url):
            await writer.write(ME, "help")
            await writer.hears(lambda text: "works for sats" in text)
    stories = await books(tmp_path)
    assert [story.job.event_id for story in stories] == [asked, later]
    assert len([text for text in writer.texts if is_price(text)]) == 2
    assert len([text for text in writer.texts if is_receipt(text)]) == 1
    wraps = [heard["came"]["id"] for heard in writer.heard]
    assert len(wraps) == len(set(wraps))


async def test_what_the_readers_relay_missed_is_offered_again_after_a_restart_in_the_same_bytes(tmp_path):
    async with LocalRelay() as relay, SdkRelay() as inbox, somebody(relay.url, inbox=[inbox.url]) as writer:
        await inbox.stop()
        async with serving(tmp_path, relay.url, inbox.url):
            await writer.write(ME, QUESTION)

            async def the_price_is_stored():
                stories = await books(tmp_path)
                return stories and stories[0].events

            await until(the_price_is_stored)
        ((stored, deliveries),) = (await books(tmp_path))[0].events
        assert "accepted" not in {delivery.outcome for delivery in deliveries}
        await inbox.start()
        async with serving(tmp_path, relay.url, inbox.url):
            await writer.listen([inbox.url], inbox=None)
            await writer.hears(is_price)
        assert [heard["came"]["id"] for heard in writer.heard] == [stored.id]
        assert stored.id not in {event["id"] for event in await all_events(relay.url)}


async def test_the_same_message_in_other_wraps_is_one_job(tmp_path):
    async with serving(tmp_path) as shop, somebody(*shop.ready.relays) as writer:
        now = int(time.time())
        asked = {await writer.write(ME, QUESTION, at=now) for _ in range(5)}
        assert len(asked) == 1
        await writer.hears(is_price)
        await writer.write(ME, "me")
        await writer.hears(lambda text: "points make this key" in text)
        assert len([text for text in writer.texts if is_price(text)]) == 1
        assert len(await books(tmp_path)) == 1


async def test_who_reads_nowhere_is_not_written_to(tmp_path, caplog):
    """No kind 10050: nothing is begun, nothing is sent, and the log says why."""
    caplog.set_level("INFO")
    async with serving(tmp_path) as shop, somebody(*shop.ready.relays, inbox=None) as writer:
        await writer.write(ME, QUESTION)
        await until(lambda: "lists no relay for them" in caplog.text)
    assert await books(tmp_path) == []
    assert writer.heard == []


async def test_words_that_are_commands_are_answered_in_words_and_cost_nothing(tmp_path):
    async with serving(tmp_path) as shop, somebody(*shop.ready.relays) as writer:
        for text, answer in {
            "Help!": "works for sats",
            f"price {QUESTION}": "at most: 2 sats to check it",
            "Me": "points make this key new",
            "balance": "You have 0 sats of credit.",
            "refund nonsense": "not a Lightning invoice",
            "price": "behind the word price",
            "x" * 16_001: "the limit is 16000",
        }.items():
            await writer.write(ME, text)
            await writer.hears(lambda said, answer=answer: answer in said)
        assert not [text for text in writer.texts if is_price(text) or "{" in text]
        assert len(writer.heard) == 7
        assert await books(tmp_path) == []


async def test_the_relays_for_private_messages_are_listed_where_they_are_taken(tmp_path):
    async with LocalRelay() as relay:

        async def lists():
            return [event["tags"] for event in await all_events(relay.url) if event["kind"] == 10_050]

        async with serving(tmp_path, relay.url):
            await until(lists)
            assert await lists() == [[["relay", relay.url]]]
        async with serving(tmp_path, relay.url, direct_messages="false") as shop, somebody(relay.url) as writer:

            async def is_withdrawn():
                return [] in await lists()

            await until(is_withdrawn)
            await writer.write(ME, "help")
            await shop.is_connected(relay.url)
        assert writer.heard == []
