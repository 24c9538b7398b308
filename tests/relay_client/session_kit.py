"""A session and what it hears and says, as plain JSON."""

import json

from relay_client.event import UnverifiedEvent
from relay_client.filter import Filter
from relay_client.happenings import EventHeard
from relay_client.keys import Keys
from relay_client.session import Session
from relay_client.wire import relay_event_message

URL = "wss://relay.example"
KEYS = Keys.from_bytes(b"\x01" * 32)
JOBS = Filter(kinds=frozenset({5050}))
AUTH_FIRST = "auth-required: who are you?"


def signed(kind=5050, created_at=1_700_000_000, content=""):
    return KEYS.sign(kind=kind, created_at=created_at, tags=[], content=content, aux=bytes(32))


JOB, OTHER_JOB, NOTE = signed(), signed(content="other"), signed(kind=1)


def opened(keys=None, filters=(JOBS,)):
    """A session that has asked for jobs and been connected; its REQ is taken away."""
    session = Session(URL, keys)
    session.subscribe("jobs", filters)
    session.opened()
    session.texts_to_send()
    return session


def hear(session, *message, now=0.0):
    return session.receive(json.dumps(message), now)


def hear_event(session, sub_id, event):
    return session.receive(relay_event_message(sub_id, event.to_json()), 0.0)


def heard(sub_id, event):
    """What a session reports when it delivers this event: it has not proved it."""
    return (EventHeard(sub_id, UnverifiedEvent.from_wire(event.to_json())),)


def said(session):
    return [json.loads(text) for text in session.texts_to_send()]


def names(messages):
    return [message[0] for message in messages]
