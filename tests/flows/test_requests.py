"""What a relay hands Timmy is served once, refused once with what to do about it, or met with silence.

The production bot on real sockets; the customers' frames are made by hand.
"""

import asyncio
import contextlib
import json
import os
import time

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from ledger.records import JobState, RefundState
from ledger.sqlite import open_ledger
from relay_client import nip44
from relay_client.local_relay import LocalRelay
from tests.flows.live import until
from tests.flows.shop import (
    TIMMY,
    Shifted,
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

TEXT = 5050
DELETION = 5
ME = TIMMY.public_key
QUESTION = "What does a data vending machine do for me, how do I pay it, and what comes back if it should fail?"
ASK = (("i", QUESTION, "text"),)
HOUR_S = 3_600


def request(*more, keys=None, ago_s=0, to=ME, tags=ASK):
    return signed(keys or fresh_keys(), TEXT, (*tags, *more), ago_s=ago_s, to=to)


def encrypted_request(text, keys):
    sealed = nip44.encrypt(text, nip44.conversation_key(keys, ME), os.urandom(32))
    return signed(keys, TEXT, [("encrypted",)], sealed, to=ME)


def words_of(answer, keys):
    """What a program and a human read in a feedback event, decrypted where it has to be."""
    tags, content = answer.tags, answer.content
    if answer.tag("encrypted") is not None:
        tags = json.loads(nip44.decrypt(content, nip44.conversation_key(keys, ME)))
        content = next(tag[1] for tag in tags if tag[0] == "content")
    return next(tag[1] for tag in tags if tag[0] == "code"), content


class Parrot:
    """A relay that believes everything, and repeats it all to everybody else for what they asked first."""

    def __init__(self):
        self._texts = []
        self._listeners = {}

    async def __aenter__(self):
        self._server = await serve(self._serve, "127.0.0.1", 0, compression=None, close_timeout=0.2)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, ws):
        with contextlib.suppress(ConnectionClosed):
            async for frame in ws:
                name, *rest = json.loads(frame)
                if name == "REQ" and ws not in self._listeners:
                    await self._tell_all(ws, rest[0])
                elif name == "EVENT":
                    await self._repeat(ws, rest[0])
        self._listeners.pop(ws, None)

    async def _tell_all(self, ws, sub_id):
        for event in self._texts:
            await ws.send(json.dumps(["EVENT", sub_id, event]))
        await ws.send(json.dumps(["EOSE", sub_id]))
        self._listeners[ws] = sub_id

    async def _repeat(self, ws, event):
        self._texts.append(event)
        for other, sub_id in list(self._listeners.items()):
            if other is not ws:
                with contextlib.suppress(ConnectionClosed):
                    await other.send(json.dumps(["EVENT", sub_id, event]))
        await ws.send(json.dumps(["OK", event.get("id", ""), True, ""]))


@pytest.fixture
async def relay():
    async with LocalRelay() as made:
        yield made


async def has_state(folder, asked, state):
    """Wait until the ledger says so of the job of a request."""
    store = open_ledger(f"sqlite:///{folder / 'timmy.db'}", read_only=True)

    async def it_has():
        return [job.state for job in await store.find_jobs(asked.id)] == [state]

    try:
        await until(it_has)
    finally:
        await store.close()


async def test_a_request_from_five_relays_and_again_after_a_restart_is_one_job(tmp_path):
    """JOB-20, IDN-24."""
    async with contextlib.AsyncExitStack() as stack:
        urls = [(await stack.enter_async_context(LocalRelay())).url for _ in range(5)]
        async with serving(tmp_path, *urls) as shop:
            await shop.is_connected(*urls)
            asked = request()
            await asyncio.gather(*(publish(url, asked) for url in urls))
            await shop.pay(invoice_of(await heard(urls[0], asked, "payment-required")))
            await heard(urls[4], asked, "success")
        # All five tell the new one what they have stored; a request on each shows that it was heard.
        later = {url: request() for url in urls}
        async with serving(tmp_path, *urls) as shop:
            for url, another in later.items():
                await publish(url, another)
            for url, another in later.items():
                await heard(url, another, "payment-required")
        answers = [[event for event in await said(url) if is_answer(event, asked)] for url in urls]
    job, *others = await books(tmp_path)
    assert job.job.event_id == asked.id
    assert len(job.invoices) == 1
    assert {other.job.event_id for other in others} == {another.id for another in later.values()}
    expected = ["payment-required", "processing", "result", "success"]
    assert [sorted(map(status_of, each)) for each in answers] == [expected] * 5
    assert len({event.id for each in answers for event in each}) == 4


async def test_what_cannot_be_served_is_refused_once_and_told_what_to_do(relay, tmp_path):
    """JOB-22."""
    people = {name: fresh_keys() for name in REFUSED}
    asked = {name: made(people[name]) for name, (made, _, _) in REFUSED.items()}
    longest = request(tags=[("i", "x" * 16_000, "text")])
    async with serving(tmp_path, relay.url):
        await publish(relay.url, *asked.values(), longest)
        await heard(relay.url, longest, "payment-required")
    answers = await said(relay.url)
    told = {}
    for name, event in asked.items():
        (answer,) = [answer for answer in answers if is_answer(answer, event)]
        assert status_of(answer) == "error", name
        assert answer.tag("amount") is None, name
        told[name] = words_of(answer, people[name])
    assert {name: code for name, (code, _) in told.items()} == {
        name: code for name, (_, code, _) in REFUSED.items()
    }
    for name, (_, _, what_to_do) in REFUSED.items():
        assert what_to_do in told[name][1]
    assert [story.job.event_id for story in await books(tmp_path)] == [longest.id]


REFUSED = {
    "empty": (lambda keys: request(keys=keys, tags=[("i", " ", "text")]), "empty", "put it in an i tag"),
    "no input at all": (lambda keys: request(keys=keys, tags=[]), "empty", "put it in an i tag"),
    "16,001 characters": (
        lambda keys: request(keys=keys, tags=[("i", "x" * 16_001, "text")]),
        "too_long",
        "The request has 16001 characters; the limit is 16000. Please shorten it.",
    ),
    "underbid": (lambda keys: request(("bid", "1000"), keys=keys), "underbid", "Ask again with that bid"),
    "bid in words": (lambda keys: request(("bid", "a lot"), keys=keys), "bad_bid", "digits alone, like 21000"),
    "an address": (
        lambda keys: request(keys=keys, tags=[("i", "https://example.com/", "url")]),
        "input_type",
        "put the text itself into an i tag",
    ),
    "another's result": (
        lambda keys: request(keys=keys, tags=[("i", "00" * 32, "job")]),
        "input_not_found",
        "put the text itself into an i tag",
    ),
    "nothing that can be seen": (
        lambda keys: request(keys=keys, tags=[("i", "\u200b\u00a0", "text")]),
        "empty",
        "put it in an i tag",
    ),
    "too little time": (
        lambda keys: request(("expiration", str(int(time.time()) + 50)), keys=keys),
        "expires_too_soon",
        "ask again with a later expiration, or none",
    ),
    "a picture of a kind of its own": (
        lambda keys: signed(keys, 5100, ASK, to=ME),
        "kind_not_served",
        "Requests of kind 5100 are not served here. Served are: 5001, 5002, 5050.",
    ),
    "a picture": (lambda keys: request(("output", "image/png"), keys=keys), "output", "or leave output out"),
    "tokens in words": (
        lambda keys: request(("param", "max_tokens", "many"), keys=keys),
        "bad_param",
        "must be a whole number above 0",
    ),
    "no tokens": (
        lambda keys: request(("param", "max_tokens", "0"), keys=keys),
        "bad_param",
        "must be a whole number above 0",
    ),
    "unknown operation": (
        lambda keys: request(("param", "op", "gamble"), keys=keys),
        "unknown_op",
        "Offered are: estimate, me, balance, topup",
    ),
    "a claim without an invoice": (
        lambda keys: request(("param", "op", "refund"), keys=keys),
        "bad_param",
        "add it as param invoice",
    ),
    "encrypted, and not an array of tags": (
        lambda keys: encrypted_request("just a question", keys),
        "not_decrypted",
        "encrypt a JSON array of tags for this key",
    ),
}


async def test_a_bid_of_what_the_refusal_names_is_taken(relay, tmp_path):
    low = request(("bid", "1000"))
    async with serving(tmp_path, relay.url):
        await publish(relay.url, low)
        sentence = (await heard(relay.url, low, "error")).content
        due = sentence.partition("(")[2].partition(" msat")[0]
        for bid, status in ((str(int(due) - 1), "error"), (due, "payment-required")):
            again = request(("bid", bid))
            await publish(relay.url, again)
            answer = await heard(relay.url, again, status)
        assert answer.tag("amount")[1] == due


def altered(event, **fields):
    return json.dumps(json.loads(event.to_json()) | fields)


def without(event, name):
    return json.dumps({key: value for key, value in json.loads(event.to_json()).items() if key != name})


async def test_what_is_forged_or_no_event_is_met_with_silence_and_hides_nothing_true(tmp_path):
    true = request()
    lies = [
        altered(request(), sig="0" * 128),
        altered(request(), sig=true.sig),
        altered(true, tags=[["i", "another question"], ["p", ME]]),
        altered(request(), id=true.id),
        without(request(), "sig"),
        altered(request(), created_at="now"),
        altered(request(), tags="none"),
    ]
    assert await answered(tmp_path, lies, true) == [("payment-required", true.id)]


async def test_what_is_not_for_us_or_not_now_is_met_with_silence(tmp_path):
    keys, next_one = fresh_keys(), request(ago_s=-14 * 60)
    withdrawn = [request(keys=keys, ago_s=seconds) for seconds in range(5)]
    # Relays tell what is newest first, so the cancellation before what it cancels.
    newest_first = [(signed(keys, DELETION, [("e", each.id)], ago_s=-1), each) for each in withdrawn]
    not_ours = [
        request(ago_s=HOUR_S + 60),
        request(ago_s=-16 * 60 - 30),
        request(("expiration", str(withdrawn[0].created_at))),
        request(to=fresh_keys().public_key),
        request(tags=[("i", "https://example.com/", "url")], to=None),
        request(tags=[("i", " ", "text")], to=None),
        request(tags=[("i", "x" * 16_001, "text")], to=None),
        request(("bid", "1"), to=None),
        request(("expiration", str(withdrawn[0].created_at + 50)), to=None),
        request(keys=TIMMY),
        signed(TIMMY, 7000, [("status", "error"), ("p", ME)]),
        signed(keys, 5100, ASK, to=fresh_keys().public_key),
        signed(keys, 5100, ASK),
        signed(keys, 5999, ASK, to=ME),
        signed(keys, 7000, [("status", "processing"), ("e", withdrawn[0].id)], to=ME),
        *(event for pair in newest_first for event in pair),
        request(tags=[("i", " ", "text")], ago_s=HOUR_S + 60),
        request(("bid", "a lot"), to=fresh_keys().public_key),
    ]
    assert await answered(tmp_path, not_ours, next_one) == [("payment-required", next_one.id)]


async def answered(folder, strange, served):
    """What Timmy says to all of these over a relay that takes anything; ``served`` comes last, and is served."""
    async with Parrot() as parrot:
        async with serving(folder, parrot.url):
            await publish(parrot.url, *strange, served)
            await heard(parrot.url, served, "payment-required")
        answers = [event for event in await said(parrot.url) if event not in strange]
    assert [(story.job.event_id, story.job.pubkey) for story in await books(folder)] == [
        (served.id, served.pubkey)
    ]
    return [(status_of(event), event.tag_values("e")[0]) for event in answers]


async def test_a_customer_whose_clock_is_an_hour_slow_is_served_right_after_the_first_start(relay, tmp_path):
    slow = request(ago_s=59 * 60)
    async with serving(tmp_path, relay.url) as shop:
        await publish(relay.url, slow)
        await shop.pay(invoice_of(await heard(relay.url, slow, "payment-required")))
        await heard(relay.url, slow, "success")


async def test_a_request_that_is_more_than_an_hour_old_when_it_is_first_seen_is_met_with_silence(tmp_path):
    """IDN-24."""
    late, later = request(ago_s=HOUR_S - 60), request(ago_s=HOUR_S + 60)
    clock = Shifted(-2 * HOUR_S)
    async with Parrot() as parrot:
        async with serving(tmp_path, parrot.url, clock=clock):
            clock.seconds = 0
            await publish(parrot.url, later, late)
            await heard(parrot.url, late, "payment-required")
        assert [event.tag_values("e") for event in await said(parrot.url)] == [[late.id]]
    assert [story.job.event_id for story in await books(tmp_path)] == [late.id]


@pytest.mark.parametrize(
    ("down_for_h", "asked_h_ago", "served"),
    [
        pytest.param(5, 3, True, id="it came while Timmy was down"),
        pytest.param(30, 23, True, id="within the last day"),
        pytest.param(30, 25, False, id="more than a day ago"),
        pytest.param(2, 3, False, id="before Timmy was ever here"),
    ],
)
async def test_after_a_pause_what_came_meanwhile_is_served_up_to_a_day(
    relay, tmp_path, down_for_h, asked_h_ago, served
):
    asked, now = request(ago_s=asked_h_ago * HOUR_S), request()
    async with serving(tmp_path, relay.url, clock=Shifted(-down_for_h * HOUR_S)):
        pass
    await publish(relay.url, asked)
    async with serving(tmp_path, relay.url) as shop:
        await publish(relay.url, now)
        await heard(relay.url, now, "payment-required")
        if served:
            await shop.pay(invoice_of(await heard(relay.url, asked, "payment-required")))
            await heard(relay.url, asked, "result")
    jobs = {story.job.event_id: story.job.state for story in await books(tmp_path)}
    waiting = {now.id: JobState.AWAITING_EVAL_PAYMENT}
    assert jobs == (waiting | {asked.id: JobState.COMPLETE} if served else waiting)


@pytest.mark.parametrize("named", [[], [("k", "5050")]], ids=["as NIP-90 has it", "as NIP-09 has it"])
async def test_its_author_cancels_an_unpaid_job_and_what_is_paid_later_is_held_for_him(relay, tmp_path, named):
    """JOB-23."""
    keys = fresh_keys()
    asked = request(keys=keys)
    async with serving(tmp_path, relay.url) as shop:
        await publish(relay.url, asked)
        price = await heard(relay.url, asked, "payment-required")
        await publish(relay.url, signed(keys, DELETION, [("e", asked.id), *named]))
        await has_state(tmp_path, asked, JobState.CANCELLED)
        await shop.pay(invoice_of(price))
        late = await heard(relay.url, asked, "error")
    amount = int(price.tag("amount")[1])
    assert late.tag("code")[1] == "late_payment"
    assert f"{amount // 1_000 - 2} sats are yours: claim them with a BOLT11 invoice" in late.content
    assert "Up to 2 more of your sats pay for the way" in late.content
    (story,) = await books(tmp_path)
    (refund,) = story.refunds
    assert (refund.state, refund.amount, refund.reason) == (RefundState.HELD, amount, "late")
    assert story.job.state is JobState.CANCELLED
    assert sorted(map(status_of, await said(relay.url))) == ["error", "payment-required"]


async def test_a_stranger_cancels_nothing(relay, tmp_path):
    """JOB-23."""
    asked, next_one = request(), request()
    async with serving(tmp_path, relay.url) as shop:
        await publish(relay.url, asked)
        price = await heard(relay.url, asked, "payment-required")
        await publish(relay.url, signed(fresh_keys(), DELETION, [("e", asked.id), ("k", "5050")]), next_one)
        await heard(relay.url, next_one, "payment-required")
        await shop.pay(invoice_of(price))
        await heard(relay.url, asked, "success")
    assert "error" not in map(status_of, await said(relay.url))
    states = [story.job.state for story in await books(tmp_path)]
    assert states == [JobState.COMPLETE, JobState.AWAITING_EVAL_PAYMENT]
