"""Customers on the libraries that most clients are written on buy from the whole bot, over relays of others."""

import os

import pytest

from ledger.records import JobState
from tests.flows.shop import TIMMY, books, serving
from tests.peer_customer import PROGRAMS, Ending, ask
from tests.peer_relays import NpmRelay, SdkRelay

pytestmark = pytest.mark.peer

QUESTION = "What does a data vending machine do for me, how do I pay it, and what comes back if it should fail?"
LIBRARIES = pytest.mark.parametrize("library", PROGRAMS)
SCHEMES = pytest.mark.parametrize("scheme", ["none", "nip44", "nip04"])
RELAYS = pytest.mark.parametrize("relay_class", [SdkRelay, NpmRelay])


async def buy(shop, text=QUESTION, **wishes):
    """All that the customer heard; every event was proved by its library, and Timmy's."""
    heard = await ask(
        shop.ready.relays, TIMMY.public_key, text, **{"pay_base": shop.ready.http, "receipt": True} | wishes
    )
    assert heard.answers, heard.log
    assert all(answer.valid and answer.event["pubkey"] == TIMMY.public_key for answer in heard.answers)
    return heard


@LIBRARIES
@SCHEMES
@RELAYS
async def test_a_paid_job_plain_and_private(tmp_path, relay_class, scheme, library):
    async with relay_class() as relay, serving(tmp_path, relay.url) as shop:
        heard = await buy(shop, encrypt=scheme, library=library)
    assert heard.ending is Ending.RESULT, heard.log
    assert heard.statuses == ["payment-required", "processing", "result", "success"]
    price, _, result, receipt = heard.answers
    assert all(answer.encrypted is (scheme != "none") for answer in heard.answers)
    assert all(("?iv=" in answer.event["content"]) is (scheme == "nip04") for answer in heard.answers)
    assert "without a language model" in result.content
    assert (receipt.tag("content") or receipt.content).startswith("Done for")
    (story,) = await books(tmp_path)
    (invoice,) = story.invoices
    assert (price.tag("amount"), price.tag("amount", 2)) == (str(invoice.amount), invoice.bolt11)
    assert (story.job.state, story.texts.request) == (JobState.COMPLETE, QUESTION)


@LIBRARIES
async def test_over_two_relays_of_others_each_answer_is_heard_once(tmp_path, library):
    async with SdkRelay() as one, NpmRelay() as two, serving(tmp_path, one.url, two.url) as shop:
        await shop.is_connected(one.url, two.url)
        heard = await buy(shop, library=library)
    assert heard.statuses == ["payment-required", "processing", "result", "success"]
    assert len(await books(tmp_path)) == 1


async def a_paid_job(shop, secret, library):
    """Its small change stays with the key as credit, and the key is known for it."""
    heard = await buy(shop, "What is Nostr?", secret=secret, library=library)
    assert heard.ending is Ending.RESULT, heard.log


FREE = {"credit": {}, "free": {"TIMMY_TRUST__ESTABLISHED": "1"}}
"""What the operator decided so that a key's next small job needs no invoice, by the word that says who pays: its
own credit, or the pool once it is trusted for its first paid one."""


@LIBRARIES
@pytest.mark.parametrize(("relay_class", "scheme"), [(SdkRelay, "none"), (NpmRelay, "nip44"), (SdkRelay, "nip04")])
@pytest.mark.parametrize("source", FREE)
async def test_a_job_that_needs_no_invoice(tmp_path, relay_class, scheme, library, source):
    secret = os.urandom(32).hex()
    async with relay_class() as relay, serving(tmp_path, relay.url, more=FREE[source]) as shop:
        await a_paid_job(shop, secret, library)
        # It could not pay: it does not know where.
        wishes = {"tags": [["param", "max_tokens", "9"]], "pay_base": None, "secret": secret, "library": library}
        heard = await buy(shop, "Ping", encrypt=scheme, **wishes)
    assert heard.ending is Ending.RESULT, heard.log
    assert heard.statuses == ["processing", "result", "success"]
    assert source in (heard.answers[0].tag("content") or heard.answers[0].content)
    *_, story = await books(tmp_path)
    assert (story.job.state, story.invoices) == (JobState.COMPLETE, ())


@LIBRARIES
@SCHEMES
async def test_what_cannot_be_served_is_said_so_that_the_library_sees_it(tmp_path, scheme, library):
    async with SdkRelay() as relay, serving(tmp_path, relay.url) as shop:
        heard = await buy(shop, encrypt=scheme, tags=[["bid", "1000"]], library=library)
    assert heard.ending is Ending.REFUSED, heard.log
    assert heard.statuses == ["error"]
    assert heard.answers[0].tag("code") == "underbid"
    assert await books(tmp_path) == []
