"""A whole paid job over a relay with strfry's defaults: the longest prompt and answer, and every kind of event."""

import json

import pytest

from tests.flows.live import until
from tests.flows.shop import TIMMY, books, fresh_keys, heard, invoice_of, line_to, publish, said, serving, signed
from tests.strfry_model import StrfryRelay
from tests.timmy_dvm.nostr.kit import opened, sealed
from timmy_dvm.agent.offline import OfflineAgent
from timmy_dvm.agent.runner import Answer, Usage

KIND = 5050
LONGEST_PROMPT = 16_000
ANSWERS = {"words": "word and word\n", "emoji": "😀", "quotes": '"', "del": "a\x7fb "}


class Talkative(OfflineAgent):
    """Says one thing until 100,000 characters are full."""

    def __init__(self, piece):
        super().__init__()
        self.answer = (piece * 100_000)[:100_000]

    async def work(self, task, *, deadline_s, on_text=None):
        del deadline_s, on_text
        return Answer(self.answer, Usage(task.model or self.work_model, 5_000, 1_000), truncated=True)


@pytest.fixture
async def relay():
    async with StrfryRelay() as made:
        yield made


def request(keys, prompt, scheme):
    if scheme is None:
        return signed(keys, KIND, [], prompt, to=TIMMY.public_key)
    content = sealed([["i", prompt, "text"]], scheme, keys, TIMMY)
    return signed(keys, KIND, [("encrypted",)], content, to=TIMMY.public_key)


def read(event, keys):
    """The words and the tags of an answer."""
    if event.tag("encrypted") is None:
        return event.content, [list(tag) for tag in event.tags]
    plain = opened(event.content, keys, TIMMY)
    if event.kind != 7000:
        return plain, []
    tags = json.loads(plain)
    return next(tag[1] for tag in tags if tag[0] == "content"), tags


def joined(events, keys):
    parts = {}
    for words, tags, kind in ((*read(event, keys), event.kind) for event in events):
        number = next((int(tag[1]) for tag in tags if tag[0] == "part" and kind == 7000), None)
        if kind == KIND + 1_000:
            parts[1] = words.rpartition("\n\n[Part 1 of ")[0]
        elif number is not None:
            parts[number] = words
    return "".join(parts[number] for number in sorted(parts))


@pytest.mark.parametrize("scheme", [None, "nip44", "nip04"])
@pytest.mark.parametrize("piece", ANSWERS)
async def test_the_longest_prompt_and_the_longest_answer_go_through(relay, tmp_path, piece, scheme):
    keys, model = fresh_keys(), Talkative(ANSWERS[piece])
    asked = request(keys, "😀" * LONGEST_PROMPT if scheme is None else "p" * LONGEST_PROMPT, scheme)
    async with serving(tmp_path, relay.url, agent=model) as shop:
        await publish(relay.url, asked)
        await shop.pay(invoice_of(await heard(relay.url, asked, "payment-required")))
        await heard(relay.url, asked, "success")
        answers = [event for event in await said(relay.url) if asked.id in event.tag_values("e")]
    assert relay.refusals == []
    assert joined(answers, keys) == model.answer.replace("\x7f", "")
    (story,) = await books(tmp_path)
    for event, deliveries in story.events:
        assert {delivery.outcome for delivery in deliveries} == {"accepted"}, event.json[:200]


async def test_what_is_announced_beaten_answered_and_refused_goes_through_too(relay, tmp_path):
    keys = fresh_keys()
    nonsense = signed(keys, KIND, [("i", "https://example.com", "url")], to=TIMMY.public_key)
    question = signed(keys, KIND, [("param", "op", "me")], to=TIMMY.public_key)
    ping = signed(keys, 7007, [], to=TIMMY.public_key)
    async with serving(tmp_path, relay.url):
        await publish(relay.url, nonsense, question, ping)
        await heard(relay.url, nonsense, "error")
        await heard(relay.url, question, "result")
        await heard(relay.url, ping, "pong")

        async def all_is_there():
            kinds = await kinds_of(relay.url)
            return {0, 10_002, 11_998} <= set(kinds) and kinds.count(31_990) == 3

        await until(all_is_there)
    assert relay.refusals == []


async def kinds_of(url):
    """Of all that Timmy said about itself."""
    kinds = []
    async with line_to(url) as ws:
        await ws.send(json.dumps(["REQ", "all", {"authors": [TIMMY.public_key]}]))
        while (message := json.loads(await ws.recv()))[0] == "EVENT":
            kinds.append(message[2]["kind"])
    return kinds
