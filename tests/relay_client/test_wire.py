"""Messages as text and as types: both directions agree, and hostile text ends in InvalidFrame only."""

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_client import wire
from relay_client.errors import InvalidFilter, InvalidFrame, InvalidRelayUrl
from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.keys import Keys
from relay_client.wire import Prefix

KEYS = Keys.from_bytes(b"\x01" * 32)
EVENT = KEYS.sign(kind=1, created_at=1_700_000_000, tags=[["t", "é\u2028"]], content='say "hi"\n', aux=bytes(32))

RELAY_MESSAGES = [
    ('["EOSE","jobs"]', wire.RelayEose("jobs")),
    ('["EOSE","jobs","extra"]', wire.RelayEose("jobs")),
    ('["NOTICE","slow down"]', wire.RelayNotice("slow down")),
    ('["AUTH","abc"]', wire.RelayAuth("abc")),
    ('["OK","id",true,""]', wire.RelayOk("id", True, Prefix.NONE, "")),
    ('["OK","id",true]', wire.RelayOk("id", True, Prefix.NONE, "")),
    ('["OK",null,false,"x"]', wire.RelayOk("", False, Prefix.NONE, "x")),
    ('["OK","",false,"pow: 28 bits"]', wire.RelayOk("", False, Prefix.POW, "28 bits")),
    ('["CLOSED","jobs","auth-required: log in"]', wire.RelayClosed("jobs", Prefix.AUTH_REQUIRED, "log in")),
    ('["CLOSED","jobs"]', wire.RelayClosed("jobs", Prefix.NONE, "")),
    (' [ "EOSE" , "a" ] ', wire.RelayEose("a")),
]


@pytest.mark.parametrize(("text", "message"), RELAY_MESSAGES)
def test_what_a_relay_says_is_read(text, message):
    assert wire.decode_relay_message(text) == message
    assert wire.decode_relay_message(text.encode()) == message


def test_the_event_inside_a_message_comes_back_whole():
    message = wire.decode_relay_message(wire.relay_event_message('a"b', EVENT.to_json()))
    assert isinstance(message, wire.RelayEvent)
    assert message.subscription == 'a"b'
    assert Event.from_wire(message.event) == EVENT


UNREADABLE = [
    b"",
    b"null",
    b"{}",
    b"[]",
    b'["EVENT"]',
    b'["EVENT","a"]',
    b'["EVENT",1,{}]',
    b'["OK",1,true,""]',
    b'["OK","id","true",""]',
    b'["OK","id",1,""]',
    b'["EOSE",null]',
    b'["AUTH",["x"]]',
    b'["COUNT","a",{"count":1}]',
    b'["eose","a"]',
    b'["EOSE","a"] trailing',
    b'["EOSE","\xff"]',
    b'["EOSE","\\ud800"]',
    b'["NOTICE",NaN]',
    b"[" * 100_000,
    b'["EVENT","a",' + b'{"a":' * 100_000,
    b'["OK","a",' + b"1" * 5_000 + b"]",
]


@pytest.mark.parametrize("frame", UNREADABLE)
def test_anything_unreadable_is_an_invalid_frame(frame):
    with pytest.raises(InvalidFrame):
        wire.decode_relay_message(frame)


def test_half_a_surrogate_pair_is_an_invalid_frame():
    with pytest.raises(InvalidFrame):
        wire.decode_relay_message('["EOSE","\ud800"]')


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_no_text_raises_anything_else(frame):
    for decode in (wire.decode_relay_message, wire.decode_client_message):
        with contextlib.suppress(InvalidFrame):
            decode(frame)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_no_json_raises_anything_else(value):
    for name in ("EVENT", "OK", "REQ", "AUTH"):
        frame = json.dumps([name, value, value])
        for decode in (wire.decode_relay_message, wire.decode_client_message):
            try:
                message = decode(frame)
                if isinstance(message, wire.ClientReq):
                    message.read_filters()
            except InvalidFrame:
                pass


def test_what_a_client_says_is_read_back():
    wanted = Filter(kinds=frozenset({1}), tags={"p": frozenset({"ab" * 32})}, since=5)
    req = wire.decode_client_message(wire.req_message('q"', [wanted, Filter(limit=0)]))
    assert isinstance(req, wire.ClientReq)
    assert (req.subscription, req.read_filters()) == ('q"', (wanted, Filter(limit=0)))
    assert wire.decode_client_message(wire.close_message("a")) == wire.ClientClose("a")
    for text, kind in ((wire.event_message(EVENT), wire.ClientEvent), (wire.auth_message(EVENT), wire.ClientAuth)):
        message = wire.decode_client_message(text)
        assert isinstance(message, kind)
        assert Event.from_wire(message.event) == EVENT


@pytest.mark.parametrize(
    "frame",
    ["", "[]", "{}", '["REQ"]', '["REQ","a"]', '["CLOSE"]', '["EVENT"]', '["PING"]', '["REQ",1,{}]', "[1,2]"],
)
def test_a_client_message_without_its_parts_is_invalid(frame):
    with pytest.raises(InvalidFrame):
        wire.decode_client_message(frame)


@pytest.mark.parametrize("filter_", ["1", "[]", '{"kinds":"1"}', '{"search":"x"}', '{"ids":["zz"]}', '{"a":'])
def test_a_filter_that_cannot_be_read_is_told_apart_from_the_message(filter_):
    req = wire.ClientReq("a", (msgspec.Raw(filter_.encode()),))
    with pytest.raises(InvalidFilter):
        req.read_filters()


def test_a_relays_answers_are_json_whatever_the_words():
    assert json.loads(wire.relay_ok_message("id", False, 'pow: "x"\n')) == ["OK", "id", False, 'pow: "x"\n']
    assert json.loads(wire.relay_message("CLOSED", 'a"', "why")) == ["CLOSED", 'a"', "why"]


@pytest.mark.parametrize(
    ("text", "prefix", "words"),
    [
        ("", Prefix.NONE, ""),
        ("duplicate: exists", Prefix.DUPLICATE, "exists"),
        ("Duplicate:exists", Prefix.DUPLICATE, "exists"),
        ("rate-limited: slow: down", Prefix.RATE_LIMITED, "slow: down"),
        ("blocked: rate-limited: x", Prefix.BLOCKED, "rate-limited: x"),
        ("restricted:", Prefix.RESTRICTED, ""),
        ("duplicate", Prefix.NONE, "duplicate"),
        ("oops: broken", Prefix.NONE, "oops: broken"),
        (": x", Prefix.NONE, ": x"),
    ],
)
def test_the_prefix_is_told_from_the_words(text, prefix, words):
    assert wire.split_reason(text) == (prefix, words)


def test_a_strangers_words_become_one_short_printable_line():
    line = wire.one_line("a\n\x1b[31mb\u202e\x00" + "c" * 10_000)
    assert line.isprintable()
    assert len(line) == wire.MAX_REASON_CHARS


@pytest.mark.parametrize(
    ("given_url", "url"),
    [
        ("wss://relay.example", "wss://relay.example"),
        ("WSS://Relay.Example:443/", "wss://relay.example"),
        ("ws://relay.example:80", "ws://relay.example"),
        ("ws://relay.example:443", "ws://relay.example:443"),
        ("wss://relay.example/Path/?a=B", "wss://relay.example/Path/?a=B"),
        ("ws://[::1]:7777/", "ws://[::1]:7777"),
        ("ws://127.0.0.1:7777", "ws://127.0.0.1:7777"),
    ],
)
def test_a_relay_has_one_spelling(given_url, url):
    assert wire.parse_relay_url(given_url) == url
    assert wire.parse_relay_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "relay.example",
        "http://relay.example",
        "wss://",
        "wss:///path",
        "wss://user@relay.example",
        "wss://user:pw@relay.example",
        "wss://relay.example/#part",
        "wss://relay.example:99999",
        "wss://relay.example:0",
        "wss://relay example",
        "wss://relay.example/\n",
        "wss://[::1",
        "wss://rélay.example",
        "wss://" + "a" * 300,
    ],
)
def test_what_cannot_be_dialled_is_no_relay(url):
    with pytest.raises(InvalidRelayUrl):
        wire.parse_relay_url(url)
