"""One relay's state, text against text: no loop, no socket, no clock."""

import json

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay_client.errors import NotConnected
from relay_client.filter import Filter
from relay_client.happenings import (
    CaughtUp,
    EventHeard,
    Misbehaved,
    Misbehaviour,
    NoticeHeard,
    PublishAnswered,
    SubscriptionClosed,
)
from relay_client.session import Session
from relay_client.subscriptions import MAX_SUBSCRIPTIONS
from relay_client.wire import Prefix
from tests.relay_client.session_kit import (
    JOB,
    JOBS,
    KEYS,
    NOTE,
    OTHER_JOB,
    URL,
    hear,
    hear_event,
    heard,
    names,
    opened,
    said,
)

# Subscriptions


def test_what_was_asked_for_before_the_connection_is_asked_for_when_it_opens():
    session = Session(URL)
    session.subscribe("jobs", [JOBS])
    assert said(session) == []
    session.opened()
    assert said(session) == [["REQ", "jobs", {"kinds": [5050]}]]
    assert said(session) == []


def test_after_a_reconnect_each_subscription_is_asked_for_from_its_new_since():
    session = opened()
    session.subscribe("notes", [Filter(kinds=frozenset({1}), since=900)])
    session.lost()
    assert not session.is_open
    session.opened({"jobs": 500, "notes": 500}.get)
    assert said(session) == [
        ["REQ", "jobs", {"kinds": [5050], "since": 500}],
        ["REQ", "notes", {"kinds": [1], "since": 900}],  # narrowed, never widened
    ]


def test_a_since_narrows_the_filters_as_given_not_as_last_sent():
    session = opened()
    session.lost()
    session.opened(lambda _: 500)
    session.lost()
    said(session)
    session.opened(lambda _: 400)
    assert said(session) == [["REQ", "jobs", {"kinds": [5050], "since": 400}]]


def test_an_event_that_was_asked_for_is_heard():
    assert hear_event(opened(), "jobs", JOB) == heard("jobs", JOB)


@pytest.mark.parametrize(
    ("sub_id", "event", "what"),
    [
        ("nobody", JOB, Misbehaviour.UNKNOWN_SUBSCRIPTION),
        ("", JOB, Misbehaviour.UNKNOWN_SUBSCRIPTION),
        ("JOBS", JOB, Misbehaviour.UNKNOWN_SUBSCRIPTION),
        ("jobs", NOTE, Misbehaviour.OUTSIDE_FILTER),
    ],
)
def test_an_event_nobody_asked_for_is_never_delivered(sub_id, event, what):
    assert hear_event(opened(), sub_id, event) == (Misbehaved(what),)


def test_an_event_older_than_the_since_that_was_sent_is_outside_the_filter():
    session = opened()
    session.lost()
    session.opened(lambda _: JOB.created_at + 1)
    assert hear_event(session, "jobs", JOB) == (Misbehaved(Misbehaviour.OUTSIDE_FILTER),)


def test_any_filter_of_the_subscription_will_do():
    session = opened(filters=(Filter(kinds=frozenset({1})), JOBS))
    assert hear_event(session, "jobs", JOB) == heard("jobs", JOB)


@pytest.mark.parametrize(
    "inner", [{}, {"id": "x"}, [], "event", 1, None, json.loads(JOB.to_json()) | {"kind": "5050"}]
)
def test_a_malformed_event_is_misbehaviour(inner):
    assert hear(opened(), "EVENT", "jobs", inner) == (Misbehaved(Misbehaviour.MALFORMED_EVENT),)


def test_before_the_connection_and_after_it_nothing_is_delivered():
    session = Session(URL)
    session.subscribe("jobs", [JOBS])
    assert hear_event(session, "jobs", JOB) == (Misbehaved(Misbehaviour.UNKNOWN_SUBSCRIPTION),)
    session.opened()
    session.lost()
    assert hear_event(session, "jobs", JOB) == (Misbehaved(Misbehaviour.UNKNOWN_SUBSCRIPTION),)


def test_eose_is_told_once_per_connection():
    session = opened()
    assert hear(session, "EOSE", "jobs") == (CaughtUp("jobs"),)
    assert hear(session, "EOSE", "jobs") == (Misbehaved(Misbehaviour.REPEATED_EOSE),)
    assert hear(session, "EOSE", "nobody") == (Misbehaved(Misbehaviour.UNKNOWN_SUBSCRIPTION),)
    session.lost()
    session.opened()
    assert hear(session, "EOSE", "jobs") == (CaughtUp("jobs"),)


def test_replaced_filters_hold_at_once_and_what_is_under_way_is_no_misbehaviour():
    session = opened()
    session.subscribe("jobs", [Filter(kinds=frozenset({1}))])
    assert said(session) == [["REQ", "jobs", {"kinds": [1]}]]
    assert hear_event(session, "jobs", JOB) == ()
    assert hear_event(session, "jobs", NOTE) == heard("jobs", NOTE)
    assert hear(session, "EOSE", "jobs") == (CaughtUp("jobs"),)
    assert hear_event(session, "jobs", JOB) == (Misbehaved(Misbehaviour.OUTSIDE_FILTER),)


def test_after_unsubscribing_what_is_under_way_is_ignored_and_a_reconnect_does_not_ask_again():
    session = opened()
    session.unsubscribe("jobs")
    session.unsubscribe("jobs")
    assert said(session) == [["CLOSE", "jobs"]]
    assert hear_event(session, "jobs", JOB) == ()
    assert hear(session, "EOSE", "jobs") == ()
    session.lost()
    session.opened()
    assert said(session) == []


def test_ids_closed_lately_are_remembered_within_a_bound():
    session = opened()
    for n in range(1_000):
        session.subscribe(f"q{n}", [JOBS])
        session.unsubscribe(f"q{n}")
    assert hear_event(session, "q999", JOB) == ()
    assert hear_event(session, "q0", JOB) == (Misbehaved(Misbehaviour.UNKNOWN_SUBSCRIPTION),)


def test_closed_is_told_and_the_subscription_is_dead_until_asked_again():
    session = opened()
    closed = SubscriptionClosed("jobs", Prefix.RATE_LIMITED, "slow down")
    assert hear(session, "CLOSED", "jobs", "rate-limited: slow down") == (closed,)
    assert hear(session, "CLOSED", "jobs", "again") == (Misbehaved(Misbehaviour.UNKNOWN_SUBSCRIPTION),)
    assert hear_event(session, "jobs", JOB) == (Misbehaved(Misbehaviour.UNKNOWN_SUBSCRIPTION),)
    session.resubscribe("jobs", 77)
    session.resubscribe("jobs", 78)  # open already
    session.resubscribe("nobody", 79)
    assert said(session) == [["REQ", "jobs", {"kinds": [5050], "since": 77}]]
    assert hear_event(session, "jobs", JOB) == heard("jobs", JOB)


@pytest.mark.parametrize(("sub_id", "filters"), [("", [JOBS]), ("a" * 65, [JOBS]), ("a", [])])
def test_a_subscription_no_relay_takes_is_refused_here(sub_id, filters):
    with pytest.raises(ValueError, match="1 to 64"):
        Session(URL).subscribe(sub_id, filters)


def test_there_are_no_more_subscriptions_than_relays_take():
    session = Session(URL)
    for n in range(MAX_SUBSCRIPTIONS):
        session.subscribe(str(n), [JOBS])
    session.subscribe("0", [JOBS])
    with pytest.raises(ValueError, match="subscriptions"):
        session.subscribe("one more", [JOBS])


# Publishing


def test_a_publish_is_answered_once():
    session = opened()
    session.publish(JOB)
    session.publish(JOB)
    assert said(session) == [["EVENT", json.loads(JOB.to_json())]]
    answer = PublishAnswered(JOB.id, False, Prefix.POW, "28 bits")
    assert hear(session, "OK", JOB.id, False, "pow: 28 bits") == (answer,)
    assert hear(session, "OK", JOB.id, True, "") == ()


def test_a_publish_without_a_connection_is_refused():
    with pytest.raises(NotConnected, match="again later"):
        Session(URL).publish(JOB)


@pytest.mark.parametrize("empty", ["", None])
def test_an_ok_without_an_id_answers_the_only_publish(empty):
    session = opened()
    session.publish(JOB)
    assert hear(session, "OK", empty, True, "") == (PublishAnswered(JOB.id, True, Prefix.NONE, ""),)
    assert hear(session, "OK", empty, True, "") == ()


def test_an_ok_without_an_id_answers_nothing_when_two_could_be_meant():
    session = opened()
    session.publish(JOB)
    session.publish(OTHER_JOB)
    assert hear(session, "OK", "", True, "") == ()
    assert hear(session, "OK", JOB.id, True, "")
    assert hear(session, "OK", "", True, "") == (PublishAnswered(OTHER_JOB.id, True, Prefix.NONE, ""),)


def test_an_ok_for_an_event_never_published_means_nothing():
    session = opened()
    session.publish(JOB)
    assert hear(session, "OK", OTHER_JOB.id, True, "") == ()
    assert hear(session, "OK", JOB.id[:-1], True, "") == ()


def test_a_forgotten_publish_may_be_sent_again():
    session = opened()
    session.publish(JOB)
    session.forget(JOB.id)
    session.forget(JOB.id)
    assert hear(session, "OK", JOB.id, True, "") == ()
    session.publish(JOB)
    assert names(said(session)) == ["EVENT", "EVENT"]


def test_a_lost_connection_forgets_what_was_under_way():
    session = opened()
    session.publish(JOB)
    session.lost()
    session.opened()
    assert names(said(session)) == ["REQ"]
    assert hear(session, "OK", JOB.id, True, "") == ()


# Anything


def test_a_notice_is_told_and_counted():
    assert hear(opened(), "NOTICE", "hello\n") == (NoticeHeard("hello"), Misbehaved(Misbehaviour.NOTICE))


def test_what_cannot_be_read_is_misbehaviour():
    assert opened().receive(b"\xff", 0.0) == (Misbehaved(Misbehaviour.UNREADABLE_FRAME),)


WORDS = st.sampled_from(
    ["jobs", "", "x", JOB.id, "auth-required: x", "c1", "c2", None, True, 1, json.loads(JOB.to_json())]
)


class AnyRelay(RuleBasedStateMachine):
    """Whatever a relay says, in any order: nothing raises, nothing unasked is heard, no answer comes twice."""

    def __init__(self):
        super().__init__()
        self.session = Session(URL, KEYS)
        self.now = 0.0
        self.is_wanted = False
        self.is_waiting = False
        self.done = 0
        self.sent = 0

    @rule(
        name=st.sampled_from(["EVENT", "OK", "EOSE", "CLOSED", "NOTICE", "AUTH"]), rest=st.lists(WORDS, max_size=3)
    )
    def says(self, name, rest):
        self.now += 0.5
        self.judge(hear(self.session, name, *rest, now=self.now))

    @rule()
    def time_passes(self):
        self.now += 60
        self.judge(self.session.time_passed(self.now))

    @rule(reconnect=st.booleans())
    def connection_comes_or_goes(self, reconnect):
        if self.session.is_open:
            self.session.lost()
            self.is_waiting = False
        if reconnect:
            self.session.opened()
            self.done += 1

    @rule()
    def subscribes(self):
        self.session.subscribe("jobs", [JOBS])
        self.is_wanted = True
        self.done += 1

    @rule()
    def unsubscribes(self):
        self.session.unsubscribe("jobs")
        self.is_wanted = False
        self.done += 1

    @precondition(lambda self: self.session.is_open)
    @rule()
    def publishes(self):
        self.session.publish(JOB)
        self.is_waiting = True
        self.done += 1

    @rule()
    def authenticates(self):
        self.session.authenticate(created_at=int(self.now), aux=bytes(32), now=self.now)
        self.done += 1

    def judge(self, happenings):
        for happening in happenings:
            if isinstance(happening, EventHeard):
                assert self.is_wanted
                assert self.session.is_open
                assert JOBS.matches(happening.event)
            if isinstance(happening, PublishAnswered):
                assert self.is_waiting
                self.is_waiting = False

    @invariant()
    def speaks_no_more_than_it_must(self):
        messages = said(self.session)
        assert set(names(messages)) <= {"REQ", "CLOSE", "EVENT", "AUTH"}
        self.sent += len(messages)
        # One message for each thing done here, and one more if AUTH held it back: a relay cannot make us talk.
        assert self.sent <= 2 * self.done


TestAnyRelay = AnyRelay.TestCase
