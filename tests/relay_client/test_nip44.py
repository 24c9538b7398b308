"""NIP-44 v2 agrees with its vectors and with nostr-sdk; both length forms are read, the short one is written."""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import nostr_sdk
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_client import nip44
from relay_client.errors import DecryptionFailed, InvalidKey, InvalidPlaintext
from relay_client.keys import Keys
from relay_client.nip44 import (
    MAX_PAYLOAD_CHARS,
    MAX_PLAINTEXT_BYTES,
    conversation_key,
    decrypt,
    encrypt,
    message_keys,
    padded_length,
)

VECTORS = Path(__file__).parents[1] / "vectors"
V2 = json.loads((VECTORS / "nip44.vectors.json").read_text())["v2"]
VALID, INVALID = V2["valid"], V2["invalid"]
EXTENDED = json.loads((VECTORS / "nip44_extended.json").read_text())

ALICE, BOB = (Keys.from_hex(str(number).zfill(64)) for number in (3, 4))
KEY = conversation_key(ALICE, BOB.public_key)
NONCE = bytes(range(32))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("vector", VALID["get_conversation_key"], ids=lambda vector: vector["sec1"][:8])
def test_conversation_keys(vector):
    assert conversation_key(Keys.from_hex(vector["sec1"]), vector["pub2"]).hex() == vector["conversation_key"]


@pytest.mark.parametrize("vector", INVALID["get_conversation_key"], ids=lambda vector: vector["note"])
def test_conversation_keys_of_what_is_no_key(vector):
    with pytest.raises(InvalidKey):
        conversation_key(Keys.from_hex(vector["sec1"]), vector["pub2"])


@pytest.mark.parametrize("vector", VALID["get_message_keys"]["keys"], ids=lambda vector: vector["nonce"][:8])
def test_message_keys(vector):
    key = bytes.fromhex(VALID["get_message_keys"]["conversation_key"])
    found = message_keys(key, bytes.fromhex(vector["nonce"]))
    assert [part.hex() for part in found] == [vector["chacha_key"], vector["chacha_nonce"], vector["hmac_key"]]


@pytest.mark.parametrize(("length", "padded"), VALID["calc_padded_len"])
def test_padded_lengths(length, padded):
    assert padded_length(length) == padded


@pytest.mark.parametrize("vector", VALID["encrypt_decrypt"], ids=lambda vector: vector["nonce"][:8])
def test_payloads(vector):
    one, two = Keys.from_hex(vector["sec1"]), Keys.from_hex(vector["sec2"])
    key = conversation_key(one, two.public_key)
    assert key == conversation_key(two, one.public_key) == bytes.fromhex(vector["conversation_key"])
    assert encrypt(vector["plaintext"], key, bytes.fromhex(vector["nonce"])) == vector["payload"]
    assert decrypt(vector["payload"], key) == vector["plaintext"]


@pytest.mark.parametrize("vector", VALID["encrypt_decrypt_long_msg"], ids=lambda vector: f"{vector['repeat']}")
def test_payloads_of_long_texts(vector):
    """All are read; those above our limit are made by the part of `encrypt` below it."""
    plaintext = vector["pattern"] * vector["repeat"]
    assert sha256(plaintext) == vector["plaintext_sha256"]
    key, nonce = bytes.fromhex(vector["conversation_key"]), bytes.fromhex(vector["nonce"])
    payload = nip44._seal(plaintext.encode(), key, nonce)
    assert sha256(payload) == vector["payload_sha256"]
    assert decrypt(payload, key) == plaintext


@pytest.mark.parametrize("row", EXTENDED["rows"], ids=lambda row: str(row["plaintext_len"]))
def test_payloads_with_the_longer_prefix(row):
    plaintext = "a" * row["plaintext_len"]
    assert (sha256(plaintext), padded_length(len(plaintext))) == (row["plaintext_sha256"], row["padded_len"])
    key, nonce = bytes.fromhex(EXTENDED["conversation_key"]), bytes.fromhex(EXTENDED["nonce"])
    payload = nip44._seal(plaintext.encode(), key, nonce)
    assert sha256(payload) == row["payload_sha256"]
    assert decrypt(payload, key) == plaintext
    with pytest.raises(InvalidPlaintext):
        encrypt(plaintext, key, nonce)


@pytest.mark.parametrize("vector", INVALID["decrypt"], ids=lambda vector: vector["note"])
def test_payloads_that_must_fail(vector):
    with pytest.raises(DecryptionFailed):
        decrypt(vector["payload"], bytes.fromhex(vector["conversation_key"]))


@pytest.mark.parametrize("length", [*INVALID["encrypt_msg_lengths"], MAX_PLAINTEXT_BYTES + 1])
def test_lengths_that_are_not_written(length):
    with pytest.raises(InvalidPlaintext):
        encrypt("x" * length, KEY, NONCE)


def test_the_longest_text_that_is_written_is_read():
    plaintext = "é" * (MAX_PLAINTEXT_BYTES // 2)
    assert decrypt(encrypt(plaintext, KEY, NONCE), KEY) == plaintext


def test_only_unicode_is_written():
    with pytest.raises(InvalidPlaintext):
        encrypt("\ud800", KEY, NONCE)


@pytest.mark.parametrize(("key", "nonce"), [(KEY, b""), (KEY, bytes(31)), (KEY, bytes(33)), (KEY[:31], NONCE)])
def test_key_and_nonce_have_their_lengths(key, nonce):
    with pytest.raises(ValueError, match="32 bytes"):
        encrypt("x", key, nonce)


def sealed(padded):
    """An authentic payload whose inside is `padded`, whatever it is."""
    keys = message_keys(KEY, NONCE)
    ciphertext = nip44._chacha20(keys, padded)
    mac = hmac.digest(keys.hmac_key, NONCE + ciphertext, "sha256")
    return base64.b64encode(b"\x02" + NONCE + ciphertext + mac).decode()


@pytest.mark.parametrize(
    "padded",
    [
        bytes(34),
        bytes(38),
        b"\x00\x00\x00\x00\x00\x05hello" + bytes(27),
        b"\x00\x05hello" + bytes(26),
        b"\x00\x05hello" + bytes(28),
        b"\x00\x21" + b"x" * 32,
        b"\xff\xff" + b"x" * 32,
        b"\x00\x00\xff\xff\xff\xff" + b"x" * 32,
        b"\x00\x05\xff\xff\xff\xff\xff" + bytes(27),
    ],
    ids=range(9),
)
def test_an_authentic_payload_of_the_wrong_inside_fails(padded):
    with pytest.raises(DecryptionFailed):
        decrypt(sealed(padded), KEY)


@pytest.mark.parametrize("stray", ["\n", " ", "*", "AA==", "ü"])
def test_base64_holds_nothing_else(stray):
    payload = encrypt("hello", KEY, NONCE)
    for damaged in (payload + stray, stray + payload, payload[:40] + stray + payload[40:]):
        with pytest.raises(DecryptionFailed):
            decrypt(damaged, KEY)


@given(place=st.integers(1, 98), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_fails(place, bit):
    data = bytearray(base64.b64decode(encrypt("hello", KEY, NONCE)))
    data[place] ^= 1 << bit
    with pytest.raises(DecryptionFailed):
        decrypt(base64.b64encode(data).decode(), KEY)


def test_length_is_judged_before_anything_is_decoded(monkeypatch):
    monkeypatch.setattr(base64, "b64decode", None)
    for payload in ("", "A" * 131, "A" * (MAX_PAYLOAD_CHARS + 1)):
        with pytest.raises(DecryptionFailed):
            decrypt(payload, KEY)


@given(
    payload=st.text()
    | st.binary(min_size=99, max_size=200).map(lambda data: base64.b64encode(b"\x02" + data).decode())
)
def test_noise_fails_in_one_way_only(payload):
    with pytest.raises(DecryptionFailed, match="could not be decrypted"):
        decrypt(payload, KEY)


@given(plaintext=TEXT, nonce=st.binary(min_size=32, max_size=32))
def test_both_sides_read_what_one_wrote(plaintext, nonce):
    payload = encrypt(plaintext, KEY, nonce)
    assert decrypt(payload, conversation_key(BOB, ALICE.public_key)) == plaintext


@pytest.mark.peer
class TestWithNostrSdk:
    secret = nostr_sdk.SecretKey.parse(BOB.to_nsec())
    sender = nostr_sdk.PublicKey.parse(ALICE.public_key)

    @given(plaintext=TEXT, nonce=st.binary(min_size=32, max_size=32))
    def test_it_reads_ours(self, plaintext, nonce):
        payload = encrypt(plaintext, KEY, nonce)
        assert nostr_sdk.nip44_decrypt(self.secret, self.sender, payload) == plaintext

    @given(plaintext=TEXT)
    def test_we_read_its(self, plaintext):
        payload = nostr_sdk.nip44_encrypt(self.secret, self.sender, plaintext, nostr_sdk.Nip44Version.V2)
        assert decrypt(payload, KEY) == plaintext

    @settings(max_examples=10)
    @given(length=st.integers(MAX_PLAINTEXT_BYTES - 3, MAX_PLAINTEXT_BYTES))
    def test_it_reads_the_longest_we_write(self, length):
        payload = encrypt("x" * length, KEY, NONCE)
        assert nostr_sdk.nip44_decrypt(self.secret, self.sender, payload) == "x" * length
