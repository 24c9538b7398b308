"""How a session says who it is, and to whom it does not (NIP-42): text against text."""

import json

from relay_client import session as session_module
from relay_client.event import Event
from relay_client.happenings import (
    Authenticated,
    ChallengeReceived,
    Misbehaved,
    Misbehaviour,
    PublishAnswered,
    SubscriptionClosed,
)
from relay_client.session import AUTH_GRACE_S
from relay_client.wire import Prefix
from tests.relay_client.session_kit import (
    AUTH_FIRST,
    JOB,
    KEYS,
    URL,
    hear,
    hear_event,
    heard,
    names,
    opened,
    said,
)


def authenticate(session, now=0.0):
    session.authenticate(created_at=1_700_000_000, aux=bytes(32), now=now)
    (message,) = [message for message in said(session) if message[0] == "AUTH"]
    return Event.from_wire(json.dumps(message[1]))


def test_a_challenge_is_answered_for_the_url_dialled_and_no_other():
    session = opened(KEYS)
    assert hear(session, "AUTH", "c1") == (ChallengeReceived(),)
    proof = authenticate(session)
    assert (proof.kind, proof.pubkey) == (22_242, KEYS.public_key)
    assert proof.tags == (("relay", URL), ("challenge", "c1"))
    assert hear(session, "OK", proof.id, True, "welcome") == (Authenticated(True, "welcome"),)


def test_without_keys_no_challenge_is_answered():
    session = opened(None)
    assert hear(session, "AUTH", "c1") == ()
    session.authenticate(created_at=0, aux=bytes(32), now=0.0)
    assert said(session) == []


def test_one_challenge_gets_one_answer():
    session = opened(KEYS)
    hear(session, "AUTH", "c1")
    assert hear(session, "AUTH", "c1") == ()
    authenticate(session)
    assert hear(session, "AUTH", "c1") == ()
    session.authenticate(created_at=0, aux=bytes(32), now=0.0)
    assert said(session) == []


def test_an_overlong_challenge_is_never_signed():
    session = opened(KEYS)
    assert hear(session, "AUTH", "c" * 257) == (Misbehaved(Misbehaviour.OVERLONG_CHALLENGE),)
    assert hear(session, "AUTH", "c" * 256) == (ChallengeReceived(),)


def test_a_relay_that_challenges_without_end_gets_few_answers():
    session = opened(KEYS)
    for n in range(session_module.MAX_CHALLENGES):
        assert hear(session, "AUTH", f"c{n}") == (ChallengeReceived(),)
        authenticate(session)
    assert hear(session, "AUTH", "one more") == (Misbehaved(Misbehaviour.AUTH_FLOOD),)
    session.lost()
    session.opened()
    assert hear(session, "AUTH", "one more") == (ChallengeReceived(),)


def test_what_was_refused_for_want_of_auth_is_sent_once_more_when_auth_is_accepted():
    session = opened(KEYS)
    session.publish(JOB)
    said(session)
    assert hear(session, "OK", JOB.id, False, AUTH_FIRST) == ()
    assert hear(session, "CLOSED", "jobs", AUTH_FIRST) == ()
    assert hear(session, "AUTH", "c1") == (ChallengeReceived(),)
    proof = authenticate(session)
    assert hear(session, "OK", proof.id, True, "") == (Authenticated(True, ""),)
    assert sorted(names(said(session))) == ["EVENT", "REQ"]
    assert hear_event(session, "jobs", JOB) == heard("jobs", JOB)
    assert hear(session, "OK", JOB.id, True, "") == (PublishAnswered(JOB.id, True, Prefix.NONE, ""),)


def test_a_second_refusal_is_final():
    session = opened(KEYS)
    session.publish(JOB)
    hear(session, "AUTH", "c1")
    proof = authenticate(session)
    hear(session, "OK", proof.id, True, "")
    for request in ("first", "second"):
        closed = hear(session, "CLOSED", "jobs", AUTH_FIRST)
        answered = hear(session, "OK", JOB.id, False, AUTH_FIRST)
        if request == "first":  # it may have crossed our AUTH on its way
            assert closed == answered == ()
            assert sorted(names(said(session))) == ["EVENT", "REQ"]
    assert closed == (SubscriptionClosed("jobs", Prefix.AUTH_REQUIRED, "who are you?"),)
    assert answered == (PublishAnswered(JOB.id, False, Prefix.AUTH_REQUIRED, "who are you?"),)
    assert said(session) == []


def test_without_keys_a_refusal_for_want_of_auth_is_final_at_once():
    session = opened(None)
    session.publish(JOB)
    assert hear(session, "OK", JOB.id, False, AUTH_FIRST)
    assert hear(session, "CLOSED", "jobs", AUTH_FIRST)
    assert session.deadline is None


def test_when_auth_is_refused_what_waited_for_it_is_told():
    session = opened(KEYS)
    session.publish(JOB)
    hear(session, "AUTH", "c1")
    proof = authenticate(session)
    hear(session, "CLOSED", "jobs", AUTH_FIRST)
    hear(session, "OK", JOB.id, False, AUTH_FIRST)
    assert hear(session, "OK", proof.id, False, "restricted: not you") == (
        Authenticated(False, "not you"),
        PublishAnswered(JOB.id, False, Prefix.AUTH_REQUIRED, "who are you?"),
        SubscriptionClosed("jobs", Prefix.AUTH_REQUIRED, "who are you?"),
    )
    assert session.deadline is None


def test_a_relay_that_never_answers_auth_is_taken_to_have_accepted_it_after_the_grace():
    session = opened(KEYS)
    hear(session, "CLOSED", "jobs", AUTH_FIRST, now=10.0)
    hear(session, "AUTH", "c1", now=11.0)
    authenticate(session, now=11.0)
    assert session.deadline == 11.0 + AUTH_GRACE_S
    assert session.time_passed(11.0 + AUTH_GRACE_S / 2) == ()
    assert said(session) == []
    assert session.time_passed(11.0 + AUTH_GRACE_S) == ()
    assert names(said(session)) == ["REQ"]
    assert session.deadline is None
    assert hear_event(session, "jobs", JOB) == heard("jobs", JOB)


def test_when_no_challenge_comes_the_refusal_is_told_after_the_grace():
    session = opened(KEYS)
    hear(session, "CLOSED", "jobs", AUTH_FIRST, now=10.0)
    assert session.deadline == 10.0 + AUTH_GRACE_S
    assert session.time_passed(10.0 + AUTH_GRACE_S) == (
        SubscriptionClosed("jobs", Prefix.AUTH_REQUIRED, "who are you?"),
    )


def test_an_ok_without_an_id_can_answer_auth_but_not_when_a_publish_waits_too():
    session = opened(KEYS)
    hear(session, "AUTH", "c1")
    authenticate(session)
    session.publish(JOB)
    assert hear(session, "OK", "", True, "") == ()
    assert hear(session, "OK", JOB.id, True, "")
    assert hear(session, "OK", "", True, "") == (Authenticated(True, ""),)


def test_after_a_reconnect_a_relay_may_ask_for_auth_anew():
    session = opened(KEYS)
    hear(session, "AUTH", "c1")
    authenticate(session)
    session.lost()
    session.opened()
    said(session)
    hear(session, "CLOSED", "jobs", AUTH_FIRST)
    assert hear(session, "AUTH", "c1") == (ChallengeReceived(),)
    proof = authenticate(session)
    hear(session, "OK", proof.id, True, "")
    assert names(said(session)) == ["REQ"]
