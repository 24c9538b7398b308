"""An event is what NIP-01 says it is, or it is refused."""

import copy
import csv
import json
from pathlib import Path

import msgspec
import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

import relay_client
from relay_client.errors import InvalidEvent
from relay_client.event import MAX_CREATED_AT, MAX_EVENT_BYTES, MAX_TAGS, Event, UnverifiedEvent, event_id
from relay_client.keys import Keys

VECTORS = Path(__file__).parents[1] / "vectors"
EDGE_CASES = json.loads((VECTORS / "nip01_id_edge_cases.json").read_text())["cases"]
WILD_EVENTS = json.loads((VECTORS / "nip90_events.json").read_text())["events"]
BIP340 = list(csv.DictReader((VECTORS / "bip340_test-vectors.csv").read_text().splitlines()))

KEYS = Keys.from_hex("3".zfill(64))
AUX = bytes(32)
# All of Unicode that UTF-8 can express, control characters and all.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TAGS = st.lists(st.lists(TEXT, min_size=1, max_size=4), max_size=5)


def signed(**fields):
    return KEYS.sign(**({"kind": 1, "created_at": 1_700_000_000, "tags": [], "aux": AUX} | fields))


def wire(**changes):
    """The text of a good event with some fields changed on the way; None takes the field out."""
    fields = json.loads(signed(content="hello", tags=[["t", "x"]]).to_json()) | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def signed_as_written(**changes):
    """An event whose odd fields are signed just as they stand: only its form can betray it."""
    fields = {"pubkey": KEYS.public_key, "created_at": 1, "kind": 1, "tags": [], "content": ""} | changes
    digest = event_id(*(fields[name] for name in ("pubkey", "created_at", "kind", "tags", "content")))
    signature = KEYS._secret.sign_schnorr(bytes.fromhex(digest), AUX).hex()
    return json.dumps({"id": digest, **fields, "sig": signature})


def verdict(cls, raw):
    try:
        cls.from_wire(raw)
    except InvalidEvent:
        return "reject"
    return "accept"


@pytest.mark.parametrize("case", EDGE_CASES, ids=lambda case: case["name"])
@pytest.mark.parametrize("form", [str, str.encode, lambda text: msgspec.Raw(text.encode())])
def test_edge_cases_come_out_as_stated(case, form):
    assert verdict(Event, form(case["wire"])) == case["expect"]


@pytest.mark.parametrize("case", [case for case in EDGE_CASES if case["id"]], ids=lambda case: case["name"])
def test_ids_of_edge_cases_are_recomputed(case):
    event = UnverifiedEvent.from_wire(case["wire"])
    assert event_id(event.pubkey, event.created_at, event.kind, event.tags, event.content) == case["id"]


@pytest.mark.parametrize("case", WILD_EVENTS, ids=lambda case: case["event"]["id"][:8])
def test_events_from_the_wild_are_judged_as_two_other_verifiers_do(case):
    expected = "accept" if case["independent_check"] == "valid" else "reject"
    assert verdict(Event, json.dumps(case["event"])) == expected


@pytest.mark.parametrize("row", [row for row in BIP340 if len(row["message"]) == 64], ids=lambda row: row["index"])
def test_signatures_are_judged_as_bip340_says(row):
    pubkey, digest, signature = (row[name].lower() for name in ("public key", "message", "signature"))
    assert relay_client.event._is_signed(pubkey, digest, signature) is (row["verification result"] == "TRUE")


def test_the_package_offers_the_event_and_its_error():
    assert (relay_client.Event, relay_client.InvalidEvent) == (Event, InvalidEvent)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "0" * 64},
        {"pubkey": "f" * 64},
        {"content": "hellp"},
        {"kind": 2},
        {"created_at": 1_700_000_001},
        {"tags": [["t", "y"]]},
        {"sig": "0" * 128},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_altered_event_is_read_but_not_believed(changes):
    event = UnverifiedEvent.from_wire(wire(**changes))
    with pytest.raises(InvalidEvent):
        event.verify()
    assert verdict(Event, wire(**changes)) == "reject"


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": True},
        {"kind": "1"},
        {"kind": 65_536},
        {"kind": -1},
        {"created_at": True},
        {"created_at": -1},
        {"created_at": MAX_CREATED_AT + 1},
        {"tags": [[]]},
        {"tags": [["a", ["b"]]]},
        {"tags": [["a", None]]},
        {"tags": {"a": "b"}},
        {"tags": [["t"]] * (MAX_TAGS + 1)},
        {"content": 5},
        {"content": ["x"]},
    ],
    ids=str,
)
def test_a_well_signed_event_of_the_wrong_form_is_refused(changes):
    with pytest.raises(InvalidEvent):
        UnverifiedEvent.from_wire(signed_as_written(**changes))


@pytest.mark.parametrize("field", ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"])
def test_every_field_is_needed(field):
    with pytest.raises(InvalidEvent, match=field):
        UnverifiedEvent.from_wire(wire(**{field: None}))


@pytest.mark.parametrize("field", ["id", "pubkey", "sig"])
@pytest.mark.parametrize(
    "change", [str.upper, lambda text: text + "\n", lambda text: text[:-2], lambda text: text[:-1] + " "]
)
def test_hex_is_lower_case_and_of_full_length(field, change):
    with pytest.raises(InvalidEvent):
        UnverifiedEvent.from_wire(wire(**{field: change(getattr(signed(content="hello"), field))}))


@pytest.mark.parametrize(
    "raw",
    [
        "",
        b"",
        "null",
        "[]",
        '"\ud800"',
        b'{"content":"\xff"}',
        wire() + "x",
        "\ufeff" + wire(),
        "[" * 60_000,
        '{"deep":' + "[" * 60_000,
        '{"kind":' + "9" * 5_000 + "}",
        wire(content="\ud800"),
    ],
    ids=range(12),
)
def test_hostile_text_meets_no_other_error(raw):
    with pytest.raises(InvalidEvent):
        UnverifiedEvent.from_wire(raw)
    with pytest.raises(InvalidEvent):
        Event.from_wire(raw)


def test_an_error_repeats_nothing_of_what_was_sent():
    with pytest.raises(InvalidEvent) as caught:
        UnverifiedEvent.from_wire(wire(kind="\x1b[2J evil", evil_key="evil"))
    assert "evil" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_limit_counts_bytes_and_holds_for_what_we_sign():
    room = MAX_EVENT_BYTES - len(signed(content="").to_json())
    assert len(signed(content="x" * room).to_json()) == MAX_EVENT_BYTES
    with pytest.raises(InvalidEvent, match="131,072 bytes"):
        signed(content="x" * (room + 1))
    with pytest.raises(InvalidEvent, match="131,072 bytes"):
        UnverifiedEvent.from_wire(wire(content="é").replace("\\u00e9", "é" * (room // 2 + 1)))


def test_the_most_tags_and_the_latest_time_are_still_read():
    event = signed(tags=[["t", "x"]] * MAX_TAGS, created_at=MAX_CREATED_AT, kind=65_535)
    assert Event.from_wire(event.to_json()) == event


def test_unknown_keys_are_ignored():
    assert Event.from_wire(wire(relay="wss://somewhere")).content == "hello"


def test_an_event_is_proved_however_it_is_made():
    good = signed(content="hello")
    fields = {name: getattr(good, name) for name in good.__struct_fields__}
    assert Event(**fields) == good
    for forged in (
        {"content": "hellp"},
        {"sig": good.sig[:-2]},
        {"sig": "z" * 128},
        {"content": "\ud800"},
    ):
        with pytest.raises(InvalidEvent):
            Event(**(fields | forged))
    with pytest.raises(InvalidEvent):
        msgspec.structs.replace(good, content="hellp")
    with pytest.raises(InvalidEvent):
        msgspec.convert(fields | {"content": "hellp"}, Event)


@pytest.mark.parametrize("pubkey", [KEYS.public_key[:-2], KEYS.public_key + "00"])
def test_a_key_of_the_wrong_length_never_reaches_the_library(pubkey):
    """The library reads 32 bytes from wherever it is told, so the longer one would even pass."""
    digest = event_id(pubkey, 1, 1, (), "")
    signature = KEYS._secret.sign_schnorr(bytes.fromhex(digest), AUX).hex()
    with pytest.raises(InvalidEvent, match="signature"):
        Event(digest, pubkey, 1, 1, (), "", signature)


def test_an_event_cannot_be_changed():
    event = signed()
    with pytest.raises(AttributeError):
        event.content = "other"
    assert copy.copy(event) == event


def test_verify_gives_the_same_event_and_proves_it_once():
    event = signed(content="hello")
    unverified = UnverifiedEvent.from_wire(event.to_json())
    assert type(unverified.verify()) is Event
    assert unverified.verify() == event
    assert event.verify() is event


def test_json_is_compact_in_the_order_of_nip01():
    event = signed(tags=[["e", "x"]], content='a "b"\n')
    assert event.to_json() == (
        f'{{"id":"{event.id}","pubkey":"{event.pubkey}","created_at":1700000000,"kind":1,'
        f'"tags":[["e","x"]],"content":"a \\"b\\"\\n","sig":"{event.sig}"}}'
    )


def test_tags_are_found_by_name():
    event = signed(tags=[["e"], ["p", "one"], ["e", "two", "wss://r"], ["p", "three"], ["-"]])
    assert event.tag("e") == ("e",)
    assert event.tag("p") == ("p", "one")
    assert event.tag("x") is None
    assert event.tag_values("e") == ["two"]
    assert event.tag_values("p") == ["one", "three"]
    assert event.tag_values("-") == []


@given(content=TEXT, tags=TAGS, kind=st.integers(0, 65_535), created_at=st.integers(0, MAX_CREATED_AT))
def test_what_is_signed_can_be_read_back(content, tags, kind, created_at):
    event = signed(content=content, tags=tags, kind=kind, created_at=created_at)
    again = Event.from_wire(event.to_json())
    assert again == event
    assert again.to_json() == event.to_json()
    assert Event.from_wire(json.dumps(json.loads(event.to_json()), indent=1)) == event


@given(
    raw=st.one_of(
        st.text(),
        st.binary(),
        st.recursive(
            st.none() | st.booleans() | st.floats() | TEXT,
            lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
        ).map(json.dumps),
    )
)
def test_noise_is_refused(raw):
    assert verdict(Event, raw) == "reject"


@pytest.mark.peer
class TestWithNostrSdk:
    @given(content=TEXT, tags=TAGS)
    def test_it_believes_our_events(self, content, tags):
        theirs = nostr_sdk.Event.from_json(signed(content=content, tags=tags).to_json())
        assert theirs.verify()

    @given(content=TEXT)
    def test_we_believe_its_events(self, content):
        keys = nostr_sdk.Keys.generate()
        theirs = nostr_sdk.EventBuilder(nostr_sdk.Kind(1), content).finalize(keys)
        event = Event.from_wire(theirs.as_json())
        assert (event.id, event.content) == (theirs.id().to_hex(), content)
        assert event.pubkey == keys.public_key().to_hex()


def test_a_signature_is_worked_out_once_and_vouches_for_nothing_else():
    event = KEYS.sign(kind=1, created_at=1_700_000_000, tags=[], content="proved", aux=AUX)
    relay_client.event._is_signed.cache_clear()
    assert Event.from_wire(event.to_json()) == UnverifiedEvent.from_wire(event.to_json()).verify() == event
    assert relay_client.event._is_signed.cache_info().misses == 1
    fields = json.loads(event.to_json())
    for other in ({"sig": "ab" * 64}, {"content": "altered"}, {"pubkey": "cd" * 32}):
        with pytest.raises(InvalidEvent):
            Event.from_wire(json.dumps(fields | other))
