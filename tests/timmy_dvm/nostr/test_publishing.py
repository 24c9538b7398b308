"""Events of ours on their way out: to whom they go, with a scripted pool."""

import asyncio

import pytest

from relay_client.dial import PublishOutcome, PublishState
from relay_client.wire import Prefix
from tests.timmy_dvm.nostr.kit import ALICE, NOW, TIMMY, signed
from timmy_dvm.clock import ManualClock
from timmy_dvm.nostr.pauses import FIRST_PAUSE_S
from timmy_dvm.nostr.publishing import (
    DIALS_A_MINUTE,
    EVENTS_TO_OTHERS,
    MANY_ON_THEIR_WAY,
    MAX_OTHERS,
    STRAGGLERS_S,
    NostrPublisher,
)
from timmy_dvm.nostr.relay_lists import KIND_INBOX_LIST, KIND_RELAY_LIST
from timmy_dvm.nostr.targets import Configured, ToCustomer, ToInbox, write_targets

TIMEOUT_S = 10
KEY = ALICE.public_key
OURS = ("wss://one.example", "wss://two.example")
THEIRS = tuple(f"wss://theirs-{n}.example" for n in range(5))
RESULT = signed(kind=6050, keys=TIMMY, content="The answer.")
FEEDBACK = signed(("status", "processing"), kind=7000, keys=TIMMY)
SPARE = signed(("status", "partial"), kind=7000, keys=TIMMY)
MESSAGE = signed(kind=1059, keys=TIMMY, content="sealed")


def outcome(state, prefix=Prefix.NONE):
    return PublishOutcome(state, prefix, "words")


TAKEN = outcome(PublishState.ACCEPTED)


class Relays:
    """Takes everything everywhere unless told otherwise, and knows lists of relays."""

    urls = OURS

    def __init__(self, *lists):
        self.lists = lists
        self.asked = 0
        self.sent = []
        self.waited_for = []
        self.outcomes = {}
        self.error = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def wait_connected(self, count=1, timeout_s=10.0):
        raise TimeoutError

    async def query(self, filters, *, timeout_s):
        self.asked += 1
        return [event for event in self.lists if filters[0].matches(event)]

    async def publish(self, event, urls=None, *, is_spare=False, enough=None, grace_s=0.0):
        self.waited_for.append((enough, grace_s))
        assert is_spare is (event is SPARE)
        urls = self.urls if urls is None else tuple(urls)
        self.sent.append((event.id, urls))
        await self.gate.wait()
        if self.error:
            raise self.error
        return {url: self.outcomes.get(url, TAKEN) for url in urls}


class Way:
    """A publisher and the relays behind it."""

    def __init__(self, *lists, dials=True):
        self.clock = ManualClock(NOW)
        self.relays = Relays(*lists)
        self.publisher = NostrPublisher(self.relays, self.clock, dials=dials)

    def begin(self, targets, event=RESULT):
        return self.publisher.publish_further(event.to_json(), write_targets(targets))

    async def further(self, targets, event=RESULT):
        """The outcomes at relays of the customer's own; None where none comes into question."""
        task = self.begin(targets, event)
        if task is None:
            return None
        async with asyncio.timeout(TIMEOUT_S):
            return await task


def customer(*named, came_from=OURS[0]):
    return ToCustomer(key=KEY, came_from=came_from, named=named, is_owed=True)


def read_relays(*urls):
    return signed(*(("r", url) for url in urls), kind=KIND_RELAY_LIST)


def inbox(*urls):
    return signed(*(("relay", url) for url in urls), kind=KIND_INBOX_LIST)


# To the configured relays.


async def test_publish_reports_one_word_for_each_relay():
    way = Way()
    way.relays.urls = ("a", "b", "c", "d", "e")
    way.relays.outcomes = {
        "a": outcome(PublishState.ACCEPTED, Prefix.DUPLICATE),
        "b": outcome(PublishState.REFUSED, Prefix.RATE_LIMITED),
        "c": outcome(PublishState.REFUSED),
        "d": outcome(PublishState.NO_ANSWER),
        "e": outcome(PublishState.NOT_CONNECTED),
    }
    assert await way.publisher.publish(RESULT.to_json(), "[]") == {
        "a": "accepted", "b": "rate-limited", "c": "refused", "d": "no_answer", "e": "not_connected"
    }  # fmt: skip


@pytest.mark.parametrize("targets", ["", "[]", write_targets(Configured()), write_targets(customer(*THEIRS))])
async def test_what_a_customer_is_told_goes_to_all_configured_relays(targets):
    way = Way()
    await way.publisher.publish(RESULT.to_json(), targets)
    assert way.relays.sent == [(RESULT.id, OURS)]
    assert way.relays.waited_for == [(1, STRAGGLERS_S)]


@pytest.mark.parametrize("targets", ["[]", write_targets(Configured())])
async def test_an_older_ledgers_event_goes_no_further(targets):
    assert Way().publisher.publish_further(RESULT.to_json(), targets) is None


@pytest.mark.parametrize(("event", "targets"), [("{}", write_targets(customer(*THEIRS))), (RESULT.to_json(), "{")])
async def test_what_cannot_be_an_event_of_ours_is_not_published(event, targets):
    way = Way()
    assert await way.publisher.publish(event, targets) == {}
    assert way.publisher.publish_further(event, targets) is None
    assert not way.relays.sent


# Further: to where the customer reads.


async def test_relays_the_request_names_get_it_once_each_and_no_more_of_them_than_three():
    way = Way()
    named = (OURS[1], "WSS://Theirs-0.example/", THEIRS[0], "not a url", *THEIRS[1:])
    assert await way.further(customer(*named)) == dict.fromkeys(THEIRS[:MAX_OTHERS], "accepted")
    assert way.relays.sent == [(RESULT.id, THEIRS[:MAX_OTHERS])]
    assert not way.relays.asked


async def test_the_relay_that_delivered_it_counts_where_it_is_configured_no_more():
    way = Way()
    assert list(await way.further(customer(THEIRS[1], came_from=THEIRS[0]))) == [THEIRS[0], THEIRS[1]]


async def test_named_relays_that_are_ours_already_need_nothing_further():
    assert await Way().further(customer(*OURS)) is None


async def test_where_none_is_named_the_customers_read_relays_stand_in_and_are_asked_for_once():
    way = Way(read_relays(*THEIRS))
    for _ in range(3):
        assert list(await way.further(customer())) == list(THEIRS[:MAX_OTHERS])
    assert way.relays.asked == 1


async def test_a_customer_without_a_list_costs_one_question_and_nothing_afterwards():
    way = Way()
    assert await way.further(customer()) == {}
    assert await way.further(customer()) is None
    assert (way.relays.asked, way.relays.sent) == (1, [])


async def test_unfit_addresses_are_not_dialled_and_the_ledger_hears_of_it():
    way = Way()
    unfit = ("ws://plain.example", "wss://10.0.0.1", "wss://theirs.example:8443")
    assert await way.further(customer(*unfit)) == dict.fromkeys(unfit, "not_dialled")
    assert not way.relays.sent


async def test_who_does_not_dial_asks_for_no_list_either():
    way = Way(read_relays(*THEIRS), dials=False)
    assert await way.further(customer(*THEIRS)) is None
    assert await way.further(customer()) is None
    assert not way.relays.asked


async def test_a_refusal_by_a_strangers_relay_pauses_nothing():
    way = Way()
    way.relays.outcomes[THEIRS[0]] = outcome(PublishState.REFUSED, Prefix.RATE_LIMITED)
    assert await way.further(customer(THEIRS[0])) == {THEIRS[0]: "rate-limited"}
    await way.publisher.publish_spare(SPARE)
    assert way.relays.sent[-1] == (SPARE.id, OURS)


# Further: direct messages.


async def test_a_message_goes_to_the_inbox_and_nowhere_else():
    way = Way(inbox(OURS[1], *THEIRS), read_relays("wss://other.example"))
    assert await way.publisher.publish(MESSAGE.to_json(), write_targets(ToInbox(key=KEY))) == {}
    assert not way.relays.sent
    told = await way.further(ToInbox(key=KEY), MESSAGE)
    assert told == dict.fromkeys((OURS[1], *THEIRS[:MAX_OTHERS]), "accepted")
    assert way.relays.sent == [(MESSAGE.id, (OURS[1], *THEIRS[:MAX_OTHERS]))]


async def test_without_an_inbox_a_message_is_not_sent():
    way = Way(read_relays(*THEIRS))
    assert await way.further(ToInbox(key=KEY), MESSAGE) == {}
    assert not way.relays.sent


async def test_who_does_not_dial_still_reaches_an_inbox_on_a_configured_relay():
    way = Way(inbox(*THEIRS, OURS[0]), dials=False)
    assert await way.further(ToInbox(key=KEY), MESSAGE) == {OURS[0]: "accepted"}


# Bounds.


@pytest.mark.parametrize(
    ("listed", "dials", "can"),
    [
        ([inbox(OURS[0])], False, True),
        ([inbox(THEIRS[0], OURS[1])], False, True),
        ([inbox(THEIRS[0])], True, True),
        ([inbox(THEIRS[0])], False, False),
        ([inbox("ws://theirs.example", "wss://127.0.0.1", "wss://localhost")], True, False),
        ([inbox()], True, False),
        ([], True, False),
    ],
)
async def test_who_lists_no_inbox_that_we_write_to_cannot_be_reached(listed, dials, can):
    assert await Way(*listed, dials=dials).publisher.can_reach(KEY) is can


async def test_while_too_many_lists_are_asked_for_everybody_counts_as_within_reach():
    way = Way()
    keys = [f"{number:064x}" for number in range(100)]
    assert [await way.publisher.can_reach(key) for key in keys].count(False) == way.relays.asked < 100
    assert await way.publisher.can_reach(keys[0]) is False
    assert await way.publisher.can_reach(keys[-1]) is True


@pytest.mark.parametrize(("to", "event"), [(ToCustomer, FEEDBACK), (ToInbox, MESSAGE)])
async def test_what_anybody_may_cause_leaves_dials_to_what_was_paid_for(to, event):
    way = Way(inbox(THEIRS[0]), read_relays(THEIRS[0]))
    words = [(await way.further(to(key=KEY), event))[THEIRS[0]] for _ in range(50)]
    assert words.count("accepted") == DIALS_A_MINUTE // 2
    assert words[-1] == "not_dialled"
    for owed in (ToCustomer, ToInbox):
        assert await way.further(owed(key=KEY, is_owed=True)) == {THEIRS[0]: "accepted"}
    await way.clock.advance(60 / DIALS_A_MINUTE)
    assert (await way.further(to(key=KEY), event))[THEIRS[0]] == "accepted"


async def test_events_on_their_way_to_slow_relays_are_bounded_and_the_rest_goes_to_ours_alone():
    way = Way()
    way.relays.gate.clear()
    tasks = [way.begin(customer(THEIRS[0])) for _ in range(EVENTS_TO_OTHERS)]
    assert way.begin(customer(THEIRS[0])) is None
    way.relays.gate.set()
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(*tasks)
    assert await way.further(customer(THEIRS[0])) == {THEIRS[0]: "accepted"}


async def test_a_fault_on_the_way_to_others_is_logged_and_ends_there(caplog):
    way = Way()
    way.relays.error = ZeroDivisionError()
    assert await way.further(customer(THEIRS[0])) == {}
    assert "did not get further" in caplog.text


# What can be left out.


async def test_while_much_that_must_arrive_is_on_its_way_there_is_no_room_for_what_need_not():
    way = Way()
    way.relays.gate.clear()
    text = RESULT.to_json()
    sending = [asyncio.create_task(way.publisher.publish(text, "[]")) for _ in range(MANY_ON_THEIR_WAY - 1)]
    async with asyncio.timeout(TIMEOUT_S):
        for _ in range(5):
            await asyncio.sleep(0)
        assert way.publisher.has_room
        sending.append(asyncio.create_task(way.publisher.publish(text, "[]")))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not way.publisher.has_room
        sending[0].cancel()
        await asyncio.wait(sending[:1])
        assert way.publisher.has_room
        way.relays.gate.set()
        await asyncio.wait(sending)


@pytest.mark.parametrize("said_of", [RESULT, SPARE], ids=["a result", "a spare event"])
async def test_a_relay_that_wants_less_is_spared_what_can_be_left_out_and_gets_all_else(said_of):
    way = Way()
    way.relays.outcomes = {OURS[0]: outcome(PublishState.REFUSED, Prefix.RATE_LIMITED)}
    if said_of is RESULT:
        await way.publisher.publish(RESULT.to_json(), "[]")
    else:
        await way.publisher.publish_spare(SPARE)
    await way.publisher.publish_spare(SPARE)
    await way.publisher.publish(RESULT.to_json(), "[]")
    assert way.relays.sent[-2:] == [(SPARE.id, OURS[1:]), (RESULT.id, OURS)]
    assert way.publisher.has_room
    await way.clock.advance(FIRST_PAUSE_S)
    way.relays.outcomes = {url: outcome(PublishState.NO_ANSWER) for url in OURS}
    await way.publisher.publish_spare(SPARE)
    assert way.relays.sent[-1] == (SPARE.id, OURS)
    assert not way.publisher.has_room
