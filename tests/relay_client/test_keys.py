"""Keys sign and agree on secrets; their names are read strictly and never show a secret."""

import copy
import csv
import json
import pickle
import traceback
from pathlib import Path

import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynostr import bech32

from relay_client.errors import InvalidEvent, InvalidKey
from relay_client.event import MAX_KIND
from relay_client.keys import (
    MAX_NIP19_CHARS,
    Keys,
    decode_nprofile,
    nevent,
    note,
    nprofile,
    npub,
    nsec,
    parse_event_id,
    parse_public_key,
)

VECTORS = Path(__file__).parents[1] / "vectors"
NAMES = json.loads((VECTORS / "bech32_nip19_nip06_lnurl.json").read_text())
NIP19 = NAMES["nip19"]
BIP340 = list(csv.DictReader((VECTORS / "bip340_test-vectors.csv").read_text().splitlines()))

SECRET = "67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa"
NSEC = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"
ORDER = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
EVENT_ID = "ab" * 32
AUX = bytes(32)

KEYS = st.integers(1, int(ORDER, 16) - 1).map(lambda secret: Keys.from_bytes(secret.to_bytes(32, "big")))
RELAYS = st.lists(st.text(st.characters(codec="ascii"), max_size=255), max_size=8)


def as_bech32(prefix, data, encoding=bech32.Encoding.BECH32):
    return bech32.bech32_encode(prefix, bech32.convertbits(data, 8, 5), encoding)


@pytest.mark.parametrize("row", [row for row in BIP340 if row["secret key"]], ids=lambda row: row["index"])
def test_public_keys_are_those_of_bip340(row):
    assert Keys.from_hex(row["secret key"]).public_key == row["public key"].lower()


@pytest.mark.parametrize("vector", NIP19["bare"], ids=lambda vector: vector["bech32"][:10])
def test_bare_names_are_those_of_nip19(vector):
    if vector["bech32"].startswith("npub"):
        assert parse_public_key(vector["bech32"]) == vector["hex"]
        assert npub(vector["hex"]) == vector["bech32"]
    else:
        assert Keys.from_nsec(vector["bech32"]).public_key == Keys.from_hex(vector["hex"]).public_key
        assert nsec(vector["hex"]) == vector["bech32"]


def test_nprofile_is_that_of_nip19():
    vector = NIP19["nprofile"]
    assert decode_nprofile(vector["bech32"]) == (vector["pubkey"], vector["relays"])
    assert nprofile(vector["pubkey"], vector["relays"]) == vector["bech32"]


@pytest.mark.parametrize("vector", NAMES["nip06"]["vectors"], ids=lambda vector: vector["npub"][:12])
def test_keys_have_the_names_of_nip06(vector):
    keys = Keys.from_hex(vector["secret"])
    assert (keys.to_nsec(), keys.public_key, keys.npub) == (vector["nsec"], vector["pubkey"], vector["npub"])


@pytest.mark.parametrize("case", NIP19["edge_made_here"], ids=lambda case: case["name"])
def test_odd_names_come_out_as_stated(case):
    if case["expect"] == "accept":
        assert parse_public_key(case["s"]) == NIP19["nprofile"]["pubkey"]
    else:
        with pytest.raises(InvalidKey):
            parse_public_key(case["s"])


@pytest.mark.parametrize(
    "text",
    NAMES["bip173"]["invalid"] + [[text] for text in NAMES["bech32m_must_fail_as_bech32"]["strings"]],
    ids=range(18),
)
def test_what_is_not_bech32_is_no_name(text):
    for read in (
        parse_public_key,
        parse_event_id,
        decode_nprofile,
        lambda key: nprofile(key).upper(),
        Keys.from_text,
    ):
        with pytest.raises(InvalidKey):
            read(text[0])


@pytest.mark.parametrize(
    "write",
    [
        str,
        str.upper,
        npub,
        lambda key: npub(key).upper(),
        nprofile,
        lambda key: nprofile(key).upper(),
        lambda key: f" nostr:{npub(key)}\n",
    ],
)
def test_a_public_key_is_read_however_people_write_it(write):
    key = Keys.from_hex(SECRET).public_key
    assert parse_public_key(write(key)) == key


@pytest.mark.parametrize(
    "write",
    [
        str,
        str.upper,
        note,
        nevent,
        lambda event_id: nevent(event_id).upper(),
        lambda event_id: f"nostr:{nevent(event_id, ['wss://r'], kind=MAX_KIND)}",
    ],
)
def test_an_event_id_is_read_however_people_write_it(write):
    assert parse_event_id(write(EVENT_ID)) == EVENT_ID


@pytest.mark.parametrize("read", [Keys.from_text, lambda text: Keys.from_text(f"  {text}\n")])
@pytest.mark.parametrize("text", [SECRET, SECRET.upper(), NSEC, NSEC.upper()])
def test_a_secret_is_read_from_a_key_file(read, text):
    assert read(text).to_nsec() == NSEC


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (parse_public_key, note(EVENT_ID)),
        (parse_public_key, nevent(EVENT_ID)),
        (parse_public_key, NSEC),
        (parse_event_id, npub(EVENT_ID)),
        (parse_event_id, nprofile(EVENT_ID)),
        (parse_event_id, NSEC),
        (Keys.from_nsec, npub(EVENT_ID)),
        (Keys.from_text, npub(EVENT_ID)),
        (Keys.from_hex, NSEC),
    ],
    ids=range(9),
)
def test_a_name_of_another_kind_is_refused(read, text):
    with pytest.raises(InvalidKey):
        read(text)


@pytest.mark.parametrize("length", [0, 31, 33])
@pytest.mark.parametrize(
    ("prefix", "read"), [("npub", parse_public_key), ("note", parse_event_id), ("nsec", Keys.from_nsec)]
)
def test_a_name_holds_32_bytes(prefix, read, length):
    with pytest.raises(InvalidKey):
        read(as_bech32(prefix, bytes([1]) * length))


@pytest.mark.parametrize(
    "data",
    [
        bytes([0]),
        bytes([0, 32]) + bytes(31),
        bytes([0, 31]) + bytes(31),
        bytes([0, 33]) + bytes(33),
        bytes([1, 1]) + b"r",
        bytes([2, 32]) + bytes(32),
        bytes([0, 32]) + bytes(32) + bytes([1, 2]) + b"r",
        bytes([0, 32]) + bytes(32) + bytes([1]),
        b"",
    ],
    ids=range(9),
)
def test_a_broken_list_of_entries_is_refused(data):
    with pytest.raises(InvalidKey):
        parse_event_id(as_bech32("nevent", data))


def test_of_two_special_entries_the_first_counts_and_odd_relays_are_left_out():
    one, two = bytes.fromhex(Keys.from_hex(SECRET).public_key), bytes(32)
    data = b"\x00\x20" + one + b"\x00\x20" + two + b"\x01\x02\xff\xff" + b"\x01\x01r"
    assert decode_nprofile(as_bech32("nprofile", data)) == (one.hex(), ["r"])


def test_bits_beyond_the_last_byte_must_be_zero():
    words = bech32.convertbits(bytes(32), 8, 5)
    words[-1] |= 1
    with pytest.raises(InvalidKey, match="last character"):
        parse_event_id(bech32.bech32_encode("note", words, bech32.Encoding.BECH32))


def test_the_newer_checksum_is_refused():
    with pytest.raises(InvalidKey, match="checksum"):
        parse_event_id(as_bech32("note", bytes(32), bech32.Encoding.BECH32M))


@pytest.mark.parametrize(
    "text", ["", "npub", "npub1", "g" * 64, "0" * 63, "0" * 65, " ", "\ud800", "ü" * 64, "٣" * 64]
)
def test_other_text_is_no_name(text):
    for read in (
        parse_public_key,
        parse_event_id,
        decode_nprofile,
        Keys.from_text,
        Keys.from_hex,
        npub,
        note,
        nsec,
    ):
        with pytest.raises(InvalidKey):
            read(text)


@pytest.mark.parametrize("key", ["0" * 64, "f" * 64, "1234567890abcdef" * 4])
def test_a_public_key_lies_on_the_curve(key):
    for use in (parse_public_key, Keys.from_hex(SECRET).shared_x):
        with pytest.raises(InvalidKey, match="curve"):
            use(key)


@pytest.mark.parametrize("secret", ["0" * 64, ORDER, "f" * 64])
def test_a_secret_is_a_number_of_the_curve(secret):
    with pytest.raises(InvalidKey):
        Keys.from_hex(secret)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_secret_has_32_bytes(length):
    with pytest.raises(InvalidKey):
        Keys.from_bytes(bytes([1]) * length)


def test_too_many_or_odd_relays_are_not_written():
    key = Keys.from_hex(SECRET).public_key
    for relays in (["wss://ü"], ["x" * 256], ["x" * 255] * 13):
        with pytest.raises(InvalidKey):
            nprofile(key, relays)
    assert len(nprofile(key, ["x" * 255] * 11)) <= MAX_NIP19_CHARS


@pytest.mark.parametrize("fields", [{"kind": -1}, {"kind": MAX_KIND + 1}, {"author": "x"}])
def test_a_nevent_with_an_impossible_field_is_not_written(fields):
    with pytest.raises(InvalidKey):
        nevent(EVENT_ID, **fields)


@pytest.mark.parametrize(
    "fail",
    [
        lambda: parse_public_key(NSEC),
        lambda: parse_event_id(NSEC),
        lambda: Keys.from_nsec(NSEC[:-1]),
        lambda: Keys.from_hex(SECRET[:-1]),
        lambda: Keys.from_text(SECRET + "0"),
        lambda: Keys.from_text(NSEC[:-2] + "qq"),
    ],
    ids=range(6),
)
def test_no_error_repeats_a_secret(fail):
    with pytest.raises(InvalidKey) as caught:
        fail()
    told = "".join(traceback.format_exception_only(caught.value))
    assert NSEC[5:20] not in told
    assert SECRET[:16] not in told
    assert caught.value.__cause__ is None


def test_keys_show_nothing_secret_and_do_not_travel():
    keys = Keys.from_hex(SECRET)
    for shown in (repr(keys), str(keys), f"{keys}", f"{[keys]}"):
        assert shown.strip("[]") == f"Keys(public_key='{keys.public_key}')"
    for travel in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            travel(keys)
    assert not hasattr(keys, "__dict__")


def test_equal_secrets_do_not_make_equal_keys():
    assert Keys.from_hex(SECRET) != Keys.from_hex(SECRET)


def test_signing_is_decided_by_its_arguments_alone():
    keys = Keys.from_hex(SECRET)
    fields = {"kind": 5050, "created_at": 1, "tags": [["i", "x", "text"]], "content": "c"}
    assert keys.sign(**fields, aux=AUX) == keys.sign(**fields, aux=AUX)
    other = keys.sign(**fields, aux=b"\x01" * 32)
    assert other.id == keys.sign(**fields, aux=AUX).id
    assert other.sig != keys.sign(**fields, aux=AUX).sig


@pytest.mark.parametrize("aux", [b"", bytes(31), bytes(33)])
def test_signing_wants_its_randomness_from_the_caller(aux):
    with pytest.raises(ValueError, match="32 random bytes"):
        Keys.from_hex(SECRET).sign(kind=1, created_at=1, tags=[], aux=aux)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": 65_536},
        {"kind": -1},
        {"created_at": -1},
        {"created_at": 1.5},
        {"tags": [[]]},
        {"tags": [["a", 1]]},
        {"content": "\ud800"},
    ],
    ids=str,
)
def test_what_others_would_refuse_is_not_signed(fields):
    with pytest.raises(InvalidEvent):
        Keys.from_hex(SECRET).sign(**({"kind": 1, "created_at": 1, "tags": [], "aux": AUX} | fields))


@given(one=KEYS, two=KEYS)
def test_both_sides_share_one_secret(one, two):
    assert one.shared_x(two.public_key) == two.shared_x(one.public_key)


@given(keys=KEYS, relays=RELAYS)
def test_names_round_trip(keys, relays):
    key = keys.public_key
    assert parse_public_key(npub(key)) == key
    assert decode_nprofile(nprofile(key, relays)) == (key, relays)
    assert Keys.from_nsec(keys.to_nsec()).public_key == key


@given(text=st.text(max_size=80) | st.text("0123456789abcdefqpzrynsuote1", max_size=80))
def test_noise_is_no_name(text):
    for read in (parse_event_id, decode_nprofile, Keys.from_nsec):
        with pytest.raises(InvalidKey):
            read(text)


@pytest.mark.peer
class TestWithNostrSdk:
    @given(keys=KEYS)
    def test_it_writes_the_same_names(self, keys):
        theirs = nostr_sdk.Keys.parse(keys.to_nsec())
        assert theirs.public_key().to_hex() == keys.public_key
        assert theirs.public_key().to_bech32() == keys.npub
        assert theirs.secret_key().to_bech32() == keys.to_nsec()

    def test_it_reads_our_pointers(self):
        key = Keys.from_hex(SECRET).public_key
        relays = ["wss://one.example", "wss://two.example"]
        event = nostr_sdk.Nip19Event.from_bech32(nevent(EVENT_ID, relays, author=key, kind=6050))
        assert event.event_id().to_hex() == EVENT_ID
        assert event.author().to_hex() == key
        assert event.kind().as_u16() == 6050
        assert [str(relay) for relay in event.relays()] == relays
        profile = nostr_sdk.Nip19Profile.from_bech32(nprofile(key, relays))
        assert (profile.public_key().to_hex(), [str(relay) for relay in profile.relays()]) == (key, relays)
