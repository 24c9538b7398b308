"""A filter means what NIP-01 says, and only what is understood is accepted."""

import dataclasses
import json

import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_client.errors import InvalidFilter, InvalidFrame
from relay_client.event import MAX_CREATED_AT
from relay_client.filter import MAX_LIMIT, MAX_VALUE_CHARS, MAX_VALUES, Filter
from relay_client.keys import Keys

ALICE, BOB = (Keys.from_hex(str(number).zfill(64)) for number in (3, 4))
JOB = ALICE.sign(
    kind=5050,
    created_at=1_000,
    tags=[["i", "hello", "text"], ["p", BOB.public_key], ["p", ALICE.public_key], ["t"], ["expiration", "9"]],
    aux=bytes(32),
)
KEY = JOB.pubkey


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({}, True),
        ({"ids": {JOB.id}}, True),
        ({"ids": {"0" * 64}}, False),
        ({"ids": set()}, False),
        ({"authors": {KEY, BOB.public_key}}, True),
        ({"authors": {BOB.public_key}}, False),
        ({"kinds": {5050, 1}}, True),
        ({"kinds": {1}}, False),
        ({"kinds": set()}, False),
        ({"since": 1_000}, True),
        ({"since": 1_001}, False),
        ({"until": 1_000}, True),
        ({"until": 999}, False),
        ({"limit": 0}, True),
        ({"tags": {"p": {ALICE.public_key}}}, True),
        ({"tags": {"p": {"0" * 64, BOB.public_key}}}, True),
        ({"tags": {"p": {"0" * 64}}}, False),
        ({"tags": {"p": set()}}, False),
        ({"tags": {"i": {"text"}}}, False),
        ({"tags": {"t": {""}}}, False),
        ({"tags": {"P": {BOB.public_key}}}, False),
        ({"tags": {"p": {BOB.public_key}, "i": {"hello"}}}, True),
        ({"tags": {"p": {BOB.public_key}, "i": {"bye"}}}, False),
        ({"kinds": {5050}, "authors": {KEY}, "since": 1, "until": 2_000, "limit": 5}, True),
        ({"kinds": {5050}, "authors": {KEY}, "since": 1, "until": 2}, False),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value),
)
def test_conditions_are_joined_by_and_and_their_values_by_or(fields, meant):
    assert Filter(**fields).matches(JOB) is meant


def test_only_what_is_asked_is_written_and_in_one_order():
    one = Filter(kinds=frozenset({7000, 5050}), tags={"p": frozenset({"b", "a"})}, since=5, limit=0)
    assert one.to_json() == '{"kinds":[5050,7000],"#p":["a","b"],"since":5,"limit":0}'
    assert Filter().to_json() == "{}"
    assert Filter(ids=frozenset()).to_obj() == {"ids": []}


def test_a_filter_is_a_value():
    assert Filter(since=1, tags={"p": frozenset("a")}) == Filter(since=1, tags={"p": frozenset("a")})
    assert len({Filter(tags={"p": frozenset("a")}), Filter(tags={"p": frozenset("a")})}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        Filter().since = 1


@pytest.mark.parametrize("name", ["#p", "", "status", "1", "ü"])
def test_only_tags_of_one_letter_can_be_asked_for(name):
    with pytest.raises(ValueError, match="one letter"):
        Filter(tags={name: frozenset("a")})


@pytest.mark.parametrize(
    "obj",
    [
        None,
        [],
        "{}",
        5,
        {"search": "cats"},
        {"#status": ["x"]},
        {"&t": ["x"]},
        {"#": ["x"]},
        {"#1": ["x"]},
        {"p": ["x"]},
        {"ids": None},
        {"ids": "x"},
        {"ids": ["ab"]},
        {"ids": ["A" * 64]},
        {"authors": ["a" * 63]},
        {"authors": [1]},
        {"#e": ["short"]},
        {"#p": ["A" * 64]},
        {"#t": "x"},
        {"#t": [1]},
        {"#t": ["x" * (MAX_VALUE_CHARS + 1)]},
        {"#t": ["x"] * (MAX_VALUES + 1)},
        {"kinds": [True]},
        {"kinds": ["1"]},
        {"kinds": [1.0]},
        {"kinds": [65_536]},
        {"kinds": list(range(MAX_VALUES + 1))},
        {"since": -1},
        {"since": True},
        {"since": "1"},
        {"since": None},
        {"until": 1.5},
        {"until": MAX_CREATED_AT + 1},
        {"limit": -1},
        {"limit": MAX_LIMIT + 1},
    ],
    ids=range(35),
)
def test_what_is_not_understood_is_refused(obj):
    with pytest.raises(InvalidFilter) as caught:
        Filter.from_obj(obj)
    assert isinstance(caught.value, InvalidFrame)
    with pytest.raises(InvalidFilter):
        Filter.from_wire(json.dumps(obj))


@pytest.mark.parametrize("raw", ["", "{", "\ud800", b'"\xff"', "[" * 100_000])
def test_what_is_not_json_is_refused(raw):
    with pytest.raises(InvalidFilter):
        Filter.from_wire(raw)


def test_an_error_repeats_nothing_of_what_was_sent():
    for obj in ({"evil": 1}, {"#evil": []}, {"ids": ["evil"]}, {"since": "evil"}):
        with pytest.raises(InvalidFilter) as caught:
            Filter.from_obj(obj)
        assert "evil" not in str(caught.value)


HEX = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
FILTERS = st.builds(
    Filter,
    ids=st.none() | st.frozensets(HEX),
    authors=st.none() | st.frozensets(HEX),
    kinds=st.none() | st.frozensets(st.integers(0, 65_535)),
    tags=st.dictionaries(st.sampled_from("ept"), st.frozensets(HEX)),
    since=st.none() | st.integers(0, MAX_CREATED_AT),
    until=st.none() | st.integers(0, MAX_CREATED_AT),
    limit=st.none() | st.integers(0, MAX_LIMIT),
)


@given(asked=FILTERS)
def test_what_is_written_can_be_read_back(asked):
    assert Filter.from_obj(asked.to_obj()) == asked
    assert Filter.from_wire(asked.to_json()) == asked
    assert Filter.from_wire(asked.to_json()).to_json() == asked.to_json()


@given(raw=st.text() | st.binary())
def test_noise_is_refused(raw):
    with pytest.raises(InvalidFilter):
        Filter.from_wire(raw)


SMALL = st.builds(
    Filter,
    ids=st.none() | st.frozensets(st.sampled_from([JOB.id, "0" * 64]), min_size=1),
    authors=st.none() | st.frozensets(st.sampled_from([KEY, BOB.public_key]), min_size=1),
    kinds=st.none() | st.frozensets(st.sampled_from([1, 5050]), min_size=1),
    tags=st.dictionaries(
        st.sampled_from("p"), st.frozensets(st.sampled_from([BOB.public_key, "0" * 64]), min_size=1)
    )
    | st.dictionaries(st.sampled_from("it"), st.frozensets(st.sampled_from(["hello", "text", ""]), min_size=1)),
    since=st.none() | st.integers(999, 1_001),
    until=st.none() | st.integers(999, 1_001),
)


@pytest.mark.peer
@given(asked=SMALL)
def test_nostr_sdk_means_the_same(asked):
    theirs = nostr_sdk.Filter.from_json(asked.to_json())
    assert theirs.match_event(nostr_sdk.Event.from_json(JOB.to_json())) is asked.matches(JOB)
