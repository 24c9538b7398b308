"""Every real client's request, in the shape it sends it, is understood, priced, and served so that it can read it.

What shares our kinds and is no job for us is met with silence, or, where it names us, with what to do about it.
"""

import pytest

from lightning import bolt11
from relay_client.local_relay import LocalRelay
from tests.flows.shop import (
    TIMMY,
    books,
    fresh_keys,
    heard,
    invoice_of,
    is_answer,
    publish,
    said,
    serving,
    signed,
    status_of,
)
from tests.timmy_dvm.nostr.fixtures import ALL, JOBS, NOISE
from tests.timmy_dvm.nostr.fixtures_reading import RULES, hidden, item, status
from timmy_dvm.agent.offline import OfflineAgent, compose

ME = TIMMY.public_key


class Noting(OfflineAgent):
    """Writes down what it is asked."""

    def __init__(self):
        super().__init__()
        self.tasks = []

    async def work(self, task, *, deadline_s, on_text=None):
        self.tasks.append(task)
        return await super().work(task, deadline_s=deadline_s, on_text=on_text)


@pytest.fixture
async def relay():
    async with LocalRelay() as made:
        yield made


async def sold(url, shop, fixture, keys):
    """The request and all that was said to it, after it was paid for once."""
    request = fixture.signed(keys, ME)
    await publish(url, request)
    await shop.pay(invoice_of(await heard(url, request, "payment-required")))
    await heard(url, request, "success")
    answers = [event for event in await said(url) if is_answer(event, request)]
    return request, {status_of(event): event for event in sorted(answers, key=lambda event: event.created_at)}


def everywhere(event, keys):
    """All tags, those that only the customer can read before the clear ones."""
    inside = hidden(event, keys) if event.kind == 7000 and event.tag("encrypted") is not None else []
    return [*inside, *event.tags]


@pytest.mark.parametrize("name", JOBS)
async def test_a_real_client_is_understood_priced_served_and_can_read_it(relay, tmp_path, name):
    fixture, keys, model = JOBS[name], fresh_keys(), Noting()
    async with serving(tmp_path, relay.url, agent=model) as shop:
        request, answers = await sold(relay.url, shop, fixture, keys)
    assert answers.keys() == {"payment-required", "processing", "result", "success"}
    price, result = answers["payment-required"], answers["result"]

    (story,) = await books(tmp_path)
    (invoice,) = story.invoices
    assert story.texts.request == fixture.text
    assert fixture.max_output_tokens in (None, story.job.quote.max_output_tokens)
    assert [task.temperature for task in model.tasks] == [fixture.temperature]
    assert invoice.amount == fixture.sats * 1_000 == bolt11.decode(invoice.bolt11).amount_msat
    assert (item(price.tags, "amount"), item(price.tags, "amount", 2)) == (str(invoice.amount), invoice.bolt11)
    ignored = next((tag[1:] for tag in everywhere(price, keys) if tag[0] == "ignored"), ())
    assert tuple(ignored) == fixture.ignored

    assert result.kind == fixture.kind + 1_000
    for event in answers.values():
        assert (item(event.tags, "e"), event.tag_values("p")) == (request.id, [keys.public_key])
        assert (event.tag("encrypted") is None) is (fixture.scheme == "none")
    assert (result.tag("request") is None) is (fixture.scheme != "none")
    assert ("status", "success") in result.tags
    assert result.tag("amount") is None
    for reader in fixture.reads:
        is_read_by(reader, answers, keys, invoice, story.texts.result)
    assert compose(fixture.text).startswith(story.texts.result)


def is_read_by(reader, answers, keys, invoice, answer):
    """The answers, as that client's source reads them."""
    rules = RULES[reader]
    payable = rules.invoice(answers["payment-required"], keys)
    assert payable == ((invoice.amount, invoice.bolt11) if rules.can_pay else None), reader
    for word in ("payment-required", "processing", "success"):
        assert rules.words(answers[word], keys).strip(), (reader, word)
        assert rules.invoice(answers[word], keys) is None or word == "payment-required", (reader, word)
    if rules.words is not status:
        assert f"{invoice.amount // 1_000} sats" in rules.words(answers["payment-required"], keys), reader
    assert rules.answer(answers["result"], keys) == (answer if rules.sees_answer else ""), reader


@pytest.mark.parametrize("name", NOISE)
async def test_noise_is_met_with_silence(relay, tmp_path, name):
    noise = NOISE[name].signed(fresh_keys(), ME)
    marker = signed(fresh_keys(), 5050, [("i", "Hi", "text")])
    async with serving(tmp_path, relay.url):
        await publish(relay.url, noise, marker)
        await heard(relay.url, marker, "payment-required")
        assert [event for event in await said(relay.url) if is_answer(event, noise)] == []
    (story,) = await books(tmp_path)
    assert story.job.event_id == marker.id


@pytest.mark.parametrize("name", NOISE)
async def test_noise_that_names_us_is_told_what_to_do_and_costs_nobody_an_invoice(relay, tmp_path, name):
    fixture, keys = NOISE[name], fresh_keys()
    request = fixture.signed(keys, ME, also=(("p", ME),))
    async with serving(tmp_path, relay.url):
        await publish(relay.url, request)
        error = await heard(relay.url, request, "error")
        answers = [event for event in await said(relay.url) if is_answer(event, request)]
    assert [event.id for event in answers] == [error.id]
    assert (item(error.tags, "code"), error.tag("amount")) == (fixture.code, None)
    assert error.content == item(error.tags, "status", 2)
    assert error.content.endswith(".")
    assert any(word in error.content.lower() for word in NEXT_STEPS), error.content
    for value in (value for tag in fixture.tags if tag[0] in {"secret", "cmd", "i"} for value in tag[1:]):
        assert len(value) < 6 or value not in error.content, "what came is not repeated"
    assert await books(tmp_path) == []


NEXT_STEPS = ("put", "ask", "mend", "leave", "shorten", "served are")


def test_each_fixture_says_who_sends_it_and_is_read_by_rules_that_are_known():
    assert all(fixture.sender for fixture in ALL.values())
    assert {reader for fixture in JOBS.values() for reader in fixture.reads} == set(RULES)
    assert all(fixture.reads for fixture in JOBS.values())


def test_every_kind_comes_plain_and_in_both_encryptions_where_clients_send_it_so():
    seen = {(fixture.kind, fixture.scheme) for fixture in JOBS.values()}
    assert {(5050, "none"), (5050, "nip04"), (5050, "nip44"), (5001, "none"), (5002, "none")} <= seen
    assert {(5001, "nip44"), (5002, "nip04")} <= seen
