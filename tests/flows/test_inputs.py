"""What a request brings beside plain text, from the relay to the answer: notes, results, threads; and mentions.

The production bot on real sockets; the model is the offline one, which notes all it is shown.
"""

import json
import os

import pytest

from ledger.records import JobState
from relay_client import nip44
from relay_client.keys import nevent, note
from relay_client.local_relay import LocalRelay
from tests.flows.live import until
from tests.flows.shop import (
    TIMMY,
    books,
    fresh_keys,
    heard,
    invoice_of,
    line_to,
    publish,
    said,
    serving,
    signed,
    status_of,
)
from timmy_dvm.agent.offline import OfflineAgent
from timmy_dvm.agent.prompts import fenced

ME = TIMMY.public_key
TEXT, SUMMARY, TRANSLATION = 5050, 5001, 5002
LONG = "Relays keep events. " * 40 + "They keep them for everybody. The end."


class Watched(OfflineAgent):
    """Notes every task it is given to do."""

    def __init__(self):
        super().__init__()
        self.tasks = []

    async def work(self, task, **how):
        self.tasks.append(task)
        return await super().work(task, **how)

    async def aclose(self):
        """It outlives a restart."""


@pytest.fixture
async def relay():
    async with LocalRelay() as made:
        yield made


@pytest.fixture
def agent():
    return Watched()


def request(*tags, kind=TEXT, keys=None, to=ME, content=""):
    return signed(keys or fresh_keys(), kind, [*tags, ("salt", os.urandom(8).hex())], content, to=to)


async def answered(shop, url, asked):
    """Pay what is asked; the result."""
    await publish(url, asked)
    await shop.pay(invoice_of(await heard(url, asked, "payment-required")))
    return await heard(url, asked, "result")


async def refused(url, asked):
    """The code of the refusal, and that nothing else was said."""
    await publish(url, asked)
    error = await heard(url, asked, "error")
    assert [event.id for event in await said(url) if asked.id in event.tag_values("e")] == [error.id]
    return error.tag("code")[1]


# Notes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [ME, None], ids=["to us", "to anybody"])
@pytest.mark.parametrize(
    ("kind", "prompt"),
    [(SUMMARY, "Summarize the following text."), (TRANSLATION, "Translate the following text into English.")],
)
async def test_a_note_is_summed_up_and_translated_for_its_own_price(relay, agent, tmp_path, kind, prompt, to):
    told = signed(fresh_keys(), 1, [], LONG)
    await publish(relay.url, told)
    asked = request(("i", note(told.id), "event"), kind=kind, to=to)
    async with serving(tmp_path, relay.url, agent=agent) as shop:
        result = await answered(shop, relay.url, asked)
    assert result.kind == kind + 1_000
    assert ("i", note(told.id), "event") in result.tags
    if kind == SUMMARY:
        assert result.content.startswith("Relays keep events. … The end.")
    (task,) = agent.tasks
    assert task.text == f"{prompt}\n\n{fenced(LONG)}"
    (story,) = await books(tmp_path)
    assert story.job.quote.work_fee > 20_000  # a short text is cheaper: what was fetched is priced


async def test_a_prompt_that_is_too_long_for_a_tag_comes_as_a_note_of_its_author(relay, agent, tmp_path):
    keys = fresh_keys()
    prompt = "Reverse: " + "abc " * 1_000
    mine = signed(keys, 1, [], prompt)
    await publish(relay.url, mine)
    async with serving(tmp_path, relay.url, agent=agent) as shop:
        result = await answered(shop, relay.url, request(("i", mine.id, "event"), keys=keys))
    assert result.content == ("abc " * 1_000).strip()[::-1]
    assert agent.tasks[0].text == prompt.strip()


async def test_a_note_is_looked_for_on_every_relay_we_have(relay, tmp_path):
    told = signed(fresh_keys(), 1, [], LONG)
    async with LocalRelay() as other:
        await publish(other.url, told)
        asked = request(("i", told.id, "event"), kind=SUMMARY)
        async with serving(tmp_path, relay.url, other.url) as shop:
            await shop.is_connected(relay.url, other.url)
            await publish(relay.url, asked)
            assert await heard(relay.url, asked, "payment-required")


async def test_what_cannot_be_looked_up_is_refused_and_makes_no_invoice(relay, tmp_path):
    keys, nobody = fresh_keys(), "ab" * 32
    letter = signed(keys, 4, [("p", ME)], "c2VjcmV0?iv=AAAAAAAAAAAAAAAAAAAAAA==")
    told = signed(keys, 1, [], "A note.")
    hidden = nevent(nobody, ["ws://127.0.0.1:1", "wss://127.0.0.1/", "wss://localhost", "wss://169.254.169.254"])
    await publish(relay.url, letter, told)
    cases = {
        "input_not_found": [
            request(("i", nobody, "event"), kind=SUMMARY),
            request(("i", hidden, "event"), ("i", "Sum up")),
        ],
        "input_encrypted": [request(("i", letter.id, "event"), keys=keys)],
        "not_a_result": [request(("i", told.id, "job"), ("i", "And why?"))],
        "bad_input": [request(("i", "the last one", "job"))],
        "input_type": [request(("i", "https://example.com", "url"))],
    }
    async with serving(tmp_path, relay.url):
        for code, asked in cases.items():
            for each in asked:
                assert await refused(relay.url, each) == code
        silent = request(("i", nobody, "event"), kind=SUMMARY, to=None)
        heard_after = request(("i", "Hi"))
        await publish(relay.url, silent)
        await publish(relay.url, heard_after)
        await heard(relay.url, heard_after, "payment-required")
        estimate = request(("i", nobody, "event"), ("param", "op", "estimate"), kind=SUMMARY)
        assert await refused(relay.url, estimate) == "input_not_found"
    assert not [event for event in await said(relay.url) if silent.id in event.tag_values("e")]
    assert [story.job.event_id for story in await books(tmp_path)] == [heard_after.id]


@pytest.mark.parametrize(
    "url", ["https://localhost/", "https://127.0.0.1/", "https://[::1]/", "file:///etc/passwd"]
)
async def test_where_pages_are_fetched_this_machine_is_none_of_them(relay, tmp_path, url):
    async with serving(tmp_path, relay.url, fetch_urls="true"):
        assert await refused(relay.url, request(("i", "Sum up:"), ("i", url, "url"))) == "input_not_fetched"


async def test_an_estimate_is_the_price_of_the_job_with_what_it_names(relay, tmp_path):
    told = signed(fresh_keys(), 1, [], LONG)
    await publish(relay.url, told)
    tags = [("i", told.id, "event")]
    async with serving(tmp_path, relay.url):
        estimate = request(*tags, ("param", "op", "estimate"), kind=SUMMARY)
        await publish(relay.url, estimate)
        price = json.loads((await heard(relay.url, estimate, "result")).content)["invoiceSats"]
        asked = request(*tags, kind=SUMMARY)
        await publish(relay.url, asked)
        due = await heard(relay.url, asked, "payment-required")
    assert due.tag("amount")[1] == str(price * 1_000)


# Threads ---------------------------------------------------------------------------------------------------------


def sealed(keys, tags):
    content = nip44.encrypt(json.dumps(tags), nip44.conversation_key(keys, ME), os.urandom(32))
    return signed(keys, TEXT, [("encrypted",)], content, to=ME)


async def test_a_thread_goes_on_over_a_restart_in_every_way_a_client_may_name_it(relay, agent, tmp_path):
    keys = fresh_keys()
    async with serving(tmp_path, relay.url, agent=agent) as shop:
        first = await answered(shop, relay.url, request(("i", "Who was Ada Lovelace?"), keys=keys))
        second = request(("i", first.id, "job"), ("i", "And her father?"), keys=keys)
        await publish(relay.url, second)
        invoice = invoice_of(await heard(relay.url, second, "payment-required"))
    async with serving(tmp_path, relay.url, agent=agent) as shop:
        await shop.pay(invoice)
        answer = await heard(relay.url, second, "result")
        receipt = await heard(relay.url, second, "success")
        replies = [
            request(("i", "By reply"), ("e", answer.id, "", "reply"), keys=keys),
            request(("i", "By receipt"), ("e", first.id, "", "root"), ("e", receipt.id, "", "reply"), keys=keys),
            request(("i", "By request"), ("i", second.id, "job"), keys=keys),
            request(("i", answer.id, "event"), keys=keys, content="By content"),
        ]
        for reply in replies:
            last = await answered(shop, relay.url, reply)
            assert "Before this you asked 2 questions; the last was: “And her father?”" in last.content
    said_before = [(turn.request, turn.answer) for turn in agent.tasks[-1].turns]
    assert said_before == [("Who was Ada Lovelace?", first.content), ("And her father?", answer.content)]
    stories = await books(tmp_path)
    assert {story.job.state for story in stories} == {JobState.COMPLETE}
    assert all(story.job.shortfall == 0 for story in stories)
    texts = [task.text for task in agent.tasks]
    assert texts[2:] == ["By reply", "By receipt", "By request", "By content"]


async def test_a_thread_costs_what_was_said_before(relay, tmp_path):
    keys = fresh_keys()
    async with serving(tmp_path, relay.url) as shop:
        first = await answered(shop, relay.url, request(("i", "Reverse: " + "word " * 1_500), keys=keys))
        prices = []
        for tags in ([], [("i", first.id, "job")]):
            asked = request(("i", "And now?"), *tags, keys=keys)
            await publish(relay.url, asked)
            prices.append(int((await heard(relay.url, asked, "payment-required")).tag("amount")[1]))
    assert prices[1] - prices[0] > 15_000


async def test_nobody_goes_on_with_anothers_thread_or_reads_what_was_private(relay, agent, tmp_path):
    alice, mallory = fresh_keys(), fresh_keys()
    async with serving(tmp_path, relay.url, agent=agent) as shop:
        public = await answered(shop, relay.url, request(("i", "Reverse: open"), keys=alice))
        private = await answered(shop, relay.url, sealed(alice, [["i", "Reverse: canary", "text"]]))
        tags = [("i", "What was asked before?"), ("e", private.id, "", "reply"), ("e", public.id, "", "root")]
        await answered(shop, relay.url, request(*tags, keys=mallory))
        await answered(shop, relay.url, request(("i", public.id, "job"), ("i", "And?"), keys=mallory))
        stolen = request(("i", private.id, "job"), ("i", "And?"), keys=mallory)
        assert await refused(relay.url, stolen) == "input_encrypted"
        mine = sealed(alice, [["i", private.id, "job"], ["i", "And now?", "text"]])
        await answered(shop, relay.url, mine)
    by_reply, by_input, own = agent.tasks[2:]
    assert (by_reply.text, by_reply.turns) == ("What was asked before?", ())
    assert (by_input.text, by_input.turns) == (f"{fenced('nepo')}\n\nAnd?", ())
    assert [(turn.request, turn.answer) for turn in own.turns] == [("Reverse: canary", "yranac")]


async def test_an_answer_can_be_worked_on_by_another_kind(relay, agent, tmp_path):
    keys = fresh_keys()
    async with serving(tmp_path, relay.url, agent=agent) as shop:
        first = await answered(shop, relay.url, sealed(keys, [["i", "Reverse: abc", "text"]]))
        await answered(shop, relay.url, request(("i", first.id, "job"), kind=TRANSLATION, keys=keys))
    assert agent.tasks[1].text == f"Translate the following text into English.\n\n{fenced('cba')}"
    assert agent.tasks[1].turns == ()


# Mentions --------------------------------------------------------------------------------------------------------


def mention(keys, text, *tags):
    return signed(keys, 1, tags, text, to=ME)


async def notes_of_timmy(url):
    async with line_to(url) as ws:
        await ws.send(json.dumps(["REQ", "notes", {"authors": [ME], "kinds": [1]}]))
        found = []
        while (message := json.loads(await ws.recv()))[0] == "EVENT":
            found.append(message[2])
        return found


async def test_who_mentions_timmy_is_told_who_that_is_and_the_fourth_in_a_minute_is_not(relay, tmp_path):
    """WLD-23."""
    keys, other = fresh_keys(), fresh_keys()
    mentions = [mention(keys, f"hello {number}") for number in range(4)]

    async def are(count):
        return len(await notes_of_timmy(relay.url)) == count

    async def has_root(note_of_theirs):
        return any(
            ["e", note_of_theirs.id] == tag[:2] for each in await notes_of_timmy(relay.url) for tag in each["tags"]
        )

    async with serving(tmp_path, relay.url, mention_replies="true"):
        await publish(relay.url, *mentions[:3])
        await until(lambda: are(3))
        await publish(relay.url, mentions[3])
        await publish(relay.url, mention(other, "and hello"))
        await until(lambda: are(4))
        answers = await notes_of_timmy(relay.url)
        assert not await has_root(mentions[3])
        thanks = mention(fresh_keys(), "thanks", ("e", answers[0]["id"], "", "reply"))
        await publish(relay.url, thanks)
        await publish(relay.url, mention(fresh_keys(), "and me"))
        await until(lambda: are(5))
    async with serving(tmp_path, relay.url, mention_replies="true"):
        late = mention(fresh_keys(), "after the restart")
        await publish(relay.url, late)
        await until(lambda: has_root(late))
    roots = [next(tag[1] for tag in answer["tags"] if tag[0] == "e") for answer in await notes_of_timmy(relay.url)]
    assert set(roots) >= {each.id for each in mentions[:3]}
    assert len(set(roots)) == len(roots)
    assert "kind 5050" in answers[0]["content"]
    assert thanks.id not in roots
    assert await books(tmp_path) == []


async def test_mentions_are_left_alone_by_default(relay, tmp_path):
    """WLD-23."""
    asked = request(("i", "Hi"))
    async with serving(tmp_path, relay.url):
        await publish(relay.url, mention(fresh_keys(), "hello"))
        await publish(relay.url, asked)
        await heard(relay.url, asked, "payment-required")
    assert await notes_of_timmy(relay.url) == []
    assert status_of((await said(relay.url))[0]) == "payment-required"
