"""How many subscriptions a relay is asked for: as many as it takes, and the others in their turn."""

import json

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from relay_client.filter import Filter
from relay_client.happenings import SubscriptionClosed
from relay_client.subscriptions import Subscriptions
from relay_client.wire import Prefix, RelayClosed
from tests.relay_client.session_kit import JOBS

NO_ROOM = "the relay takes no more subscriptions on one connection"


def connected(most=2):
    said = []
    subscriptions = Subscriptions(lambda text: said.append(json.loads(text)))
    subscriptions.most = most
    subscriptions.opened(lambda _: None)
    return subscriptions, said


def asked(said):
    taken = [message[:2] for message in said]
    said.clear()
    return taken


def closed(subscriptions, sub_id, prefix=Prefix.ERROR, *, may_authenticate=False):
    return subscriptions.on_closed(RelayClosed(sub_id, prefix, "words"), may_authenticate=may_authenticate)


def test_one_too_many_waits_and_the_first_that_waits_comes_first():
    subscriptions, said = connected()
    for sub_id in "abcd":
        subscriptions.subscribe(sub_id, [JOBS], None)
    assert asked(said) == [["REQ", "a"], ["REQ", "b"]]
    assert subscriptions.unserved == {"c": NO_ROOM, "d": NO_ROOM}
    subscriptions.unsubscribe("a")
    assert asked(said) == [["CLOSE", "a"], ["REQ", "c"]]
    subscriptions.unsubscribe("d")  # was never opened
    subscriptions.unsubscribe("b")
    assert asked(said) == [["CLOSE", "b"]]
    assert subscriptions.unserved == {}


def test_one_that_the_relay_closes_makes_room_and_waits_itself_when_asked_for_again():
    subscriptions, said = connected(most=1)
    for sub_id in "ab":
        subscriptions.subscribe(sub_id, [JOBS], None)
    assert closed(subscriptions, "a") == (SubscriptionClosed("a", Prefix.ERROR, "words"),)
    assert asked(said) == [["REQ", "a"], ["REQ", "b"]]
    assert subscriptions.unserved == {"a": "error: words"}
    subscriptions.resubscribe("a", 7)
    assert asked(said) == []
    subscriptions.unsubscribe("b")
    assert said[-1] == ["REQ", "a", {"kinds": [5050], "since": 7}]


def test_replacing_the_filters_of_an_open_one_needs_no_room():
    subscriptions, said = connected(most=1)
    subscriptions.subscribe("a", [JOBS], None)
    subscriptions.subscribe("a", [Filter()], None)
    assert asked(said) == [["REQ", "a"], ["REQ", "a"]]


def test_those_unanswered_are_the_ones_that_are_open_and_not_caught_up():
    subscriptions, _ = connected(most=3)
    for sub_id in "abcd":
        subscriptions.subscribe(sub_id, [JOBS], None)
    subscriptions.on_eose("a")
    closed(subscriptions, "b")
    assert subscriptions.unanswered == ("c", "d")
    subscriptions.lost()
    assert subscriptions.unanswered == ()
    assert subscriptions.unserved == {}


class OneRelay(RuleBasedStateMachine):
    """Whatever is asked for and closed in whatever order: never more open than the relay allows, as it counts."""

    def __init__(self):
        super().__init__()
        self.open = set()
        self.subscriptions = Subscriptions(self.hear)
        self.subscriptions.most = 2

    def hear(self, text):
        name, sub_id = json.loads(text)[:2]
        if name == "REQ":
            self.open.add(sub_id)
        else:
            self.open.discard(sub_id)
        assert len(self.open) <= 2

    @rule(sub_id=st.sampled_from("abcd"))
    def subscribe(self, sub_id):
        self.subscriptions.subscribe(sub_id, [JOBS], None)

    @rule(sub_id=st.sampled_from("abcd"))
    def again(self, sub_id):
        self.subscriptions.resubscribe(sub_id, None)

    @rule(sub_id=st.sampled_from("abcd"))
    def unsubscribe(self, sub_id):
        self.subscriptions.unsubscribe(sub_id)

    @rule(sub_id=st.sampled_from("abcd"), prefix=st.sampled_from([Prefix.ERROR, Prefix.AUTH_REQUIRED]))
    def close(self, sub_id, prefix):
        if sub_id in self.open:
            self.open.discard(sub_id)
            closed(self.subscriptions, sub_id, prefix, may_authenticate=True)

    @rule(accepted=st.booleans())
    def authenticated(self, accepted):
        if accepted:
            self.subscriptions.send_held()
        else:
            self.subscriptions.give_up_held()

    @rule()
    def reconnect(self):
        self.subscriptions.lost()
        self.open.clear()
        self.subscriptions.opened(lambda _: None)

    @invariant()
    def room_is_used(self):
        """One that waits for room does so only while there is none."""
        if NO_ROOM in self.subscriptions.unserved.values():
            assert len(self.open) == 2


TestOneRelay = OneRelay.TestCase
TestOneRelay.settings = settings(max_examples=300)
