"""A person who writes to Timmy again in private is answered by one who knows what was said before.

The person's client is nostr-tools; the offline agent's answer tells what it was reminded of.
"""

import re

import pytest

from relay_client.local_relay import LocalRelay
from tests.flows.shop import TIMMY, books, serving
from tests.peer_writer import Writer

pytestmark = pytest.mark.peer

ME = TIMMY.public_key
GOES_ON = "This goes on from what was said before"


class Talk:
    """Somebody in conversation with Timmy."""

    def __init__(self, shop, writer):
        self._shop, self._writer = shop, writer

    async def asks(self, text, *tags, at=None):
        """Ask and pay; the price and the answer, as rumors."""
        more = {"tags": [list(tag) for tag in tags]} | ({} if at is None else {"at": at})
        asked = await self._writer.write(ME, text, **more)
        price = await self._hears(asked, "lightning:")
        await self._shop.pay(re.search(r"^lightning:(\S+)$", price["content"], re.MULTILINE)[1])
        await self._hears(asked, "Done for")
        return price, await self._hears(asked, "without a language model")

    async def _hears(self, asked, words):
        def is_it(rumor):
            return words in rumor["content"] and ["e", asked] in rumor["tags"]

        await self._writer.hears(lambda _: any(map(is_it, self._writer.rumors)))
        return next(filter(is_it, self._writer.rumors))


@pytest.fixture
async def writer():
    async with Writer() as somebody:
        yield somebody


async def test_who_writes_on_is_known_and_who_begins_anew_is_not(tmp_path, writer):
    async with serving(tmp_path) as shop:
        await writer.listen(shop.ready.relays)
        talk = Talk(shop, writer)
        first_price, first = await talk.asks("My name is Zebulon; what is a relay?")
        assert "asked 1 question" not in first["content"]
        assert GOES_ON not in first_price["content"]
        price, second = await talk.asks("And what might it cost to run one of these things at home?")
        assert "asked 1 question" in second["content"]
        assert "Zebulon" in second["content"]
        assert GOES_ON in price["content"]
        _, third = await talk.asks("Thank you; which of them would you use for a small shop in a village?")
        assert "asked 2 questions" in third["content"]
        price, anew = await talk.asks("new: Which of them would you use for a large shop in a city?")
        assert "Before this" not in anew["content"]
        assert GOES_ON not in price["content"]
    stories = await books(tmp_path)
    assert stories[3].texts.request == "Which of them would you use for a large shop in a city?"
    assert stories[1].job.actual_input_tokens > stories[0].job.actual_input_tokens
    # What was said before is in the price, as everywhere: the customer pays it, and never more than was said.
    assert (
        stories[2].job.quote.estimated_cost
        > stories[1].job.quote.estimated_cost
        > stories[3].job.quote.estimated_cost
    )


async def test_a_reply_goes_on_from_the_message_it_names_after_a_restart_too(tmp_path, writer):
    async with LocalRelay() as relay:
        await writer.listen([relay.url])
        async with serving(tmp_path, relay.url) as shop:
            talk = Talk(shop, writer)
            _, answer = await talk.asks("My name is Zebulon; what is a relay?")
            await talk.asks("new: The shop is called Marigold; what is an invoice?")
        async with serving(tmp_path, relay.url) as shop:
            talk = Talk(shop, writer)
            _, reply = await talk.asks("Whom did I name to you there?", ("e", answer["id"], "", "reply"))
        assert "Zebulon" in reply["content"]
        assert "Marigold" not in reply["content"]


async def test_strangers_do_not_go_on_from_each_other(tmp_path, writer):
    async with serving(tmp_path) as shop, Writer() as stranger:
        await writer.listen(shop.ready.relays)
        await stranger.listen(shop.ready.relays)
        _, answer = await Talk(shop, writer).asks("My name is Zebulon; what is a relay?")
        price, told = await Talk(shop, stranger).asks("Who wrote to you before me?", ("e", answer["id"]))
        assert "Zebulon" not in told["content"]
        assert GOES_ON not in price["content"]
