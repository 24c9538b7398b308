"""The model of strfry refuses what strfry refuses, rule by rule, and nothing else."""

import hashlib
import json

import coincurve
import pytest

from relay_client.keys import Keys
from relay_client.pool import RelayPool
from relay_client.wire import Prefix
from tests.flows.shop import line_to
from tests.strfry_model import MAX_EVENT_BYTES, StrfryRelay, _written, refusal, refusal_of_filters

NOW = 1_700_000_000
KEYS = Keys.from_bytes(b"\x05" * 32)
HEX = "ab" * 32


def event(**fields):
    """An event as strfry itself would hash and sign it, so that only what a test sets can be wrong with it."""
    made = {"pubkey": KEYS.public_key, "created_at": NOW, "kind": 1, "tags": [], "content": ""} | fields
    serialised = [0, *(made[name] for name in ("pubkey", "created_at", "kind", "tags", "content"))]
    digest = hashlib.sha256(_written(serialised).encode()).digest()
    sig = coincurve.PrivateKey(b"\x05" * 32).sign_schnorr(digest, b"\x06" * 32)
    return {"id": digest.hex(), **made, "sig": sig.hex()} | {k: v for k, v in fields.items() if k in ("id", "sig")}


def judged(**fields):
    return refusal(json.dumps(event(**fields)), NOW)


TAKEN = {
    "a note": {"content": 'hello "é" \u2028 😀 \\ \n\t\x01'},
    "a tag without a value": {"tags": [["x"]]},
    "the longest one-letter value": {"tags": [["i", "é" * 512]]},
    "a long value behind the first": {"tags": [["i", "x", "y" * 5_000]]},
    "a long tag of a long name": {"tags": [["request", "x" * 5_000]]},
    "as many tags as may be": {"tags": [["x"]] * 2_000},
    "as far ahead as may be": {"created_at": NOW + 900},
    "as old as may be": {"created_at": NOW - 94_608_000},
    "a moment before its end": {"tags": [["expiration", str(NOW + 1)]]},
    "a deletion of one's own": {"kind": 5, "tags": [["a", f"31990:{KEYS.public_key}:d"]]},
    "an empty content": {},
}
REFUSED = {
    "a value too long": ({"tags": [["i", "x" * 1_025]]}, "tag val too large"),
    "a value too long in bytes": ({"tags": [["i", "é" * 513]]}, "tag val too large"),
    "too many tags": ({"tags": [["x"]] * 2_001}, "too many tags"),
    "an empty tag": ({"tags": [[]]}, "too few fields in tag"),
    "a tag that is none": ({"tags": ["x"]}, "tag in tags field was not an array"),
    "a number in a tag": ({"tags": [["amount", 5]]}, "tag val was not a string"),
    "an e that is no id": ({"tags": [["e", "ab"]]}, "unexpected size"),
    "a p in bech32": ({"tags": [["p", KEYS.npub]]}, "not hex"),
    "another's announcement deleted": ({"kind": 5, "tags": [["a", f"31990:{HEX}:d"]]}, "other user's"),
    "too far ahead": ({"created_at": NOW + 901}, "created_at too late"),
    "too old": ({"created_at": NOW - 94_608_001}, "created_at too early"),
    "ephemeral and old": ({"kind": 21_059, "created_at": NOW - 61}, "ephemeral event expired"),
    "over": ({"tags": [["expiration", str(NOW)]]}, "event expired"),
    "an end in words": ({"tags": [["expiration", "soon"]]}, "invalid expiration"),
    "a float for a time": ({"created_at": 1.5}, "not an integer"),
    "a negative kind": ({"kind": -1}, "not an integer"),
    "no string": ({"content": 5}, "not a string"),
    "tags in an object": ({"tags": {}}, "tags field not an array"),
    "a short key": ({"pubkey": "ab"}, "unexpected pubkey size"),
    "another's signature": ({"sig": "00" * 64}, "bad signature"),
    "another's id": ({"id": HEX}, "bad event id"),
    "protected": ({"tags": [["-"]]}, "protected"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_strfry_takes(name):
    assert judged(**TAKEN[name]) is None


@pytest.mark.parametrize("name", REFUSED)
def test_what_strfry_refuses(name):
    fields, why = REFUSED[name]
    assert why in (judged(**fields) or "")


def test_an_event_has_so_many_bytes_and_not_one_more():
    empty = len(json.dumps(event(), separators=(",", ":")).encode())
    assert judged(content="x" * (MAX_EVENT_BYTES - empty)) is None
    assert "event too large" in judged(content="x" * (MAX_EVENT_BYTES - empty + 1))
    assert "event too large" in judged(content='"' * ((MAX_EVENT_BYTES - empty) // 2 + 1))


def test_del_is_escaped_by_strfry_alone_so_it_computes_another_id():
    assert judged(content="a\x7fb") is None
    ours = KEYS.sign(kind=1, created_at=NOW, tags=[], content="a\x7fb", aux=b"\x06" * 32)
    assert refusal(ours.to_json(), NOW) == "invalid: bad event id"


def test_a_field_that_is_missing_and_what_is_no_event_are_refused():
    assert refusal("[]", NOW) == "invalid: event is not an object"
    for name in event():
        assert refusal(json.dumps({k: v for k, v in event().items() if k != name}), NOW), name


FILTERS = [
    ([{}], None),
    ([{"kinds": [5050], "#p": [HEX], "since": 5, "limit": 10}], None),
    ([{"kinds": [], "#k": ["5050"]}], None),
    ([{"#a": ["x"], "#b": ["x"], "#c": ["x"]}], None),
    ([{}] * 200, None),
    ([{}] * 201, "arr too big"),
    ([], "arr too small"),
    (["x"], "not an object"),
    ([{"#a": ["x"], "#b": ["x"], "#c": ["x"], "#d": ["x"]}], "too many tags"),
    ([{"#p": ["ab"]}], "too small"),
    ([{"authors": [KEYS.npub]}], "not hex"),
    ([{"#k": ["x" * 256]}], "too large"),
    ([{"#amount": ["x"]}], "unindexed"),
    ([{"kinds": "5050"}], "not an array"),
    ([{"kinds": [-1]}], "kinds"),
    ([{"#k": [5050]}], "#k"),
    ([{"since": -1}], "since"),
    ([{"search": "x"}], "unrecognised"),
]


@pytest.mark.parametrize(("filters", "why"), FILTERS)
def test_what_strfry_may_be_asked(filters, why):
    found = refusal_of_filters("sub", filters)
    assert found is None if why is None else why in found


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_subscriptions_name_is_short(name):
    assert refusal_of_filters("x" * 64, [{}]) is None
    assert "subscription id" in refusal_of_filters(name, [{}])


async def test_as_a_relay_it_says_no_in_strfrys_words_and_keeps_what_it_refused():
    async with StrfryRelay() as relay, RelayPool([relay.url]) as pool:
        await pool.wait_connected()
        at = int(relay._now())
        good = KEYS.sign(kind=1, created_at=at, tags=[], content="x", aux=b"\x06" * 32)
        long = KEYS.sign(kind=1, created_at=at, tags=[("i", "x" * 1_025)], content="", aux=b"\x06" * 32)
        assert (await pool.publish(good))[relay.url].is_accepted
        outcome = (await pool.publish(long))[relay.url]
        assert (outcome.prefix, outcome.text) == (Prefix.INVALID, "tag val too large")
        assert [one.why for one in relay.refusals] == ["invalid: tag val too large"]
    async with StrfryRelay() as relay, line_to(relay.url) as ws:
        await ws.send(json.dumps(["REQ", "long", {"#k": ["x" * 256]}]))
        assert json.loads(await ws.recv()) == ["CLOSED", "long", "error: bad req: filter item too large"]
        assert [one.why for one in relay.refusals] == ["bad req: filter item too large"]
        await ws.send(json.dumps(["REQ", "good", {"#k": ["x" * 255]}]))
        assert json.loads(await ws.recv()) == ["EOSE", "good"]
