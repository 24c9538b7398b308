"""What a relay says it takes: believed where it makes sense, and nothing where it does not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_client.nip11 import MAX_DOCUMENT_BYTES, Limitation, difficulty, document_url, read_limitation
from relay_client.wire import Prefix, event_message
from tests.relay_client.kit import KEYS

NOW = 1_700_000_000
STATED = {
    "max_message_length": 16_384,
    "max_subscriptions": 20,
    "max_filters": 100,
    "max_limit": 5_000,
    "max_subid_length": 100,
    "max_event_tags": 100,
    "max_content_length": 8_196,
    "min_pow_difficulty": 30,
    "auth_required": True,
    "payment_required": False,
    "restricted_writes": True,
    "created_at_lower_limit": 31_536_000,
    "created_at_upper_limit": 3,
}


def document(**limits):
    return json.dumps({"name": "a relay", "limitation": limits, "fees": {}}).encode()


def event(content="", *, tags=(), at=NOW):
    return KEYS.sign(kind=1, created_at=at, tags=tags, content=content, aux=bytes(32))


def test_every_limit_of_the_nip_is_read():
    read = read_limitation(document(**STATED, max_gold=7))
    assert read == Limitation(**STATED)
    assert read.known() == STATED


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"{}",
        b'{"limitation":null}',
        b'{"limitation":[1]}',
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"limitation":{"max_message_length":' + b"9" * 5_000 + b"}}",
        json.dumps({"limitation": {"max_event_tags": 5}, "description": "x" * MAX_DOCUMENT_BYTES}).encode(),
    ],
)
def test_a_document_that_cannot_be_read_limits_nothing(text):
    assert read_limitation(text) == Limitation()
    assert read_limitation(text).known() == {}


@pytest.mark.parametrize("value", [0, -1, "16384", 1.5, True, None, [], 2**60])
@pytest.mark.parametrize(
    "name", ["max_message_length", "max_subscriptions", "max_content_length", "max_event_tags"]
)
def test_an_absurd_number_is_not_known_and_the_others_are(name, value):
    assert read_limitation(document(**{**STATED, name: value})) == Limitation(**{**STATED, name: None})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_message_length", 100),  # no event is so short
        ("min_pow_difficulty", 256),  # nobody can
        ("min_pow_difficulty", -1),
        ("created_at_lower_limit", 0),  # a second ago would be too old
        ("created_at_upper_limit", 0),
        ("auth_required", "yes"),
        ("restricted_writes", 1),
    ],
)
def test_what_would_shut_everybody_out_or_is_mistyped_is_not_known(name, value):
    assert read_limitation(document(**{name: value})) == Limitation()


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: (
    st.lists(inner) | st.dictionaries(st.sampled_from([*STATED, "limitation", "x"]), inner)
)))  # fmt: skip
def test_no_document_raises(told):
    assert isinstance(read_limitation(json.dumps({"limitation": told}).encode()), Limitation)
    assert isinstance(read_limitation(json.dumps(told).encode()), Limitation)


def test_what_is_not_known_forbids_nothing():
    assert Limitation().refusal(event("x" * 100_000, at=0), NOW) is None


@pytest.mark.parametrize(
    ("limit", "fits", "breaks"),
    [
        ({"max_content_length": 10}, event("ü" * 10), event("ü" * 11)),
        ({"max_event_tags": 1}, event(tags=[["a"]]), event(tags=[["a"], ["b"]])),
        ({"created_at_lower_limit": 60}, event(at=NOW - 60), event(at=NOW - 61)),
        ({"created_at_upper_limit": 3}, event(at=NOW + 3), event(at=NOW + 4)),
    ],
)
def test_an_event_beyond_a_limit_would_be_refused_as_invalid_and_one_within_is_not(limit, fits, breaks):
    limitation = Limitation(**limit)
    assert limitation.refusal(fits, NOW) is None
    prefix, words = limitation.refusal(breaks, NOW)
    assert prefix is Prefix.INVALID
    assert "this relay takes" in words


def test_the_length_of_a_message_counts_the_bytes_of_all_of_it():
    told = event("ü" * 1_000)
    length = len(event_message(told).encode())
    assert Limitation(max_message_length=length).refusal(told, NOW) is None
    assert Limitation(max_message_length=length - 1).refusal(told, NOW) == (
        Prefix.INVALID,
        f"longer than the {length - 1:,} bytes this relay takes",
    )


def test_work_is_measured_in_the_zero_bits_of_the_id():
    assert difficulty("0" * 64) == 256
    assert difficulty("000000000e9d97a1ab09fc381030b346cdd7a142ad57e6df0b46dc9bef6c7e2d") == 36
    assert difficulty("f" * 64) == 0
    told = event()
    has = difficulty(told.id)
    assert Limitation(min_pow_difficulty=has).refusal(told, NOW) is None
    assert Limitation(min_pow_difficulty=has + 1).refusal(told, NOW)[0] is Prefix.POW


def test_the_document_is_at_the_relays_own_address():
    assert document_url("wss://relay.example/path?key=1") == "https://relay.example/path?key=1"
    assert document_url("ws://127.0.0.1:7777") == "http://127.0.0.1:7777"
