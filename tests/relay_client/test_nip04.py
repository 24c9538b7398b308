"""NIP-04 is read and written as other clients do; what is damaged fails in one way only."""

import base64

import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_client import nip04
from relay_client.errors import DecryptionFailed, InvalidKey, InvalidPlaintext
from relay_client.keys import Keys
from relay_client.nip04 import decrypt, encrypt, is_nip04
from relay_client.nip44 import MAX_PAYLOAD_CHARS, MAX_PLAINTEXT_BYTES

ALICE, BOB, EVE = (Keys.from_hex(str(number).zfill(64)) for number in (3, 4, 5))
IV = bytes(range(16))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)


@given(plaintext=TEXT, iv=st.binary(min_size=16, max_size=16))
def test_both_sides_read_what_one_wrote(plaintext, iv):
    payload = encrypt(plaintext, ALICE, BOB.public_key, iv)
    assert decrypt(payload, BOB, ALICE.public_key) == plaintext
    assert decrypt(payload, ALICE, BOB.public_key) == plaintext


def test_the_payload_is_decided_by_its_arguments_alone():
    payload = encrypt("hello", ALICE, BOB.public_key, IV)
    assert payload == encrypt("hello", ALICE, BOB.public_key, IV)
    assert payload.endswith(f"?iv={base64.b64encode(IV).decode()}")
    assert is_nip04(payload)
    assert not is_nip04("AgAAAA")


@pytest.mark.parametrize(
    "damage",
    [
        lambda payload: "",
        lambda payload: payload.partition("?")[0],
        lambda payload: payload.replace("?iv=", "?IV="),
        lambda payload: payload[:-1],
        lambda payload: payload + "=",
        lambda payload: payload + "\n",
        lambda payload: payload[1:],
        lambda payload: payload[4:],
        lambda payload: "?iv=" + payload.partition("?iv=")[2],
        lambda payload: "AAAA" + payload,
        lambda payload: "ü" + payload[1:],
        lambda payload: payload + "?iv=" + payload.partition("?iv=")[2],
        lambda payload: "A" * 24 + payload[24:],
        lambda payload: "A" * (MAX_PAYLOAD_CHARS + 4) + payload,
    ],
    ids=range(14),
)
def test_damage_fails_in_one_way_only(damage):
    payload = encrypt("hello world " * 5, ALICE, BOB.public_key, IV)
    with pytest.raises(DecryptionFailed, match="could not be decrypted") as caught:
        decrypt(damage(payload), BOB, ALICE.public_key)
    assert caught.value.__cause__ is None


def test_what_is_not_utf8_fails_in_the_same_way():
    cipher_text = encrypt("x" * 32, ALICE, BOB.public_key, IV)
    body, _, _ = cipher_text.partition("?iv=")
    flipped = bytes([IV[0] ^ ord("x") ^ 0xFF]) + IV[1:]
    with pytest.raises(DecryptionFailed):
        decrypt(f"{body}?iv={base64.b64encode(flipped).decode()}", BOB, ALICE.public_key)


@given(
    payload=st.text()
    | st.binary(min_size=16, max_size=64).map(
        lambda body: f"{base64.b64encode(body).decode()}?iv=AAAAAAAAAAAAAAAAAAAAAA=="
    )
)
def test_noise_meets_no_other_error(payload):
    try:
        decrypt(payload, ALICE, BOB.public_key)
    except DecryptionFailed:
        return


def test_the_longest_text_goes_through_and_no_longer_one():
    payload = encrypt("x" * MAX_PLAINTEXT_BYTES, ALICE, BOB.public_key, IV)
    assert decrypt(payload, BOB, ALICE.public_key) == "x" * MAX_PLAINTEXT_BYTES
    for plaintext in ("x" * (MAX_PLAINTEXT_BYTES + 1), "é" * (MAX_PLAINTEXT_BYTES // 2 + 1), "\ud800"):
        with pytest.raises(InvalidPlaintext):
            encrypt(plaintext, ALICE, BOB.public_key, IV)


def test_a_payload_that_is_too_long_is_not_decrypted():
    encryptor = nip04._cipher(ALICE, BOB.public_key, IV).encryptor()
    padded = b"x" * (MAX_PAYLOAD_CHARS // 4 * 3) + bytes([16]) * 16
    body = base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()
    with pytest.raises(DecryptionFailed):
        decrypt(f"{body}?iv={base64.b64encode(IV).decode()}", BOB, ALICE.public_key)


def test_the_randomness_and_the_reader_are_checked():
    for iv in (b"", bytes(15), bytes(17)):
        with pytest.raises(ValueError, match="16 random bytes"):
            encrypt("x", ALICE, BOB.public_key, iv)
    with pytest.raises(InvalidKey):
        encrypt("x", ALICE, "0" * 64, IV)
    with pytest.raises(InvalidKey):
        decrypt(encrypt("x", ALICE, BOB.public_key, IV), BOB, "0" * 64)


@pytest.mark.peer
class TestWithNostrSdk:
    secret = nostr_sdk.SecretKey.parse(BOB.to_nsec())
    sender = nostr_sdk.PublicKey.parse(ALICE.public_key)

    @given(plaintext=TEXT, iv=st.binary(min_size=16, max_size=16))
    def test_it_reads_ours(self, plaintext, iv):
        payload = encrypt(plaintext, ALICE, BOB.public_key, iv)
        assert nostr_sdk.nip04_decrypt(self.secret, self.sender, payload) == plaintext

    @given(plaintext=TEXT)
    def test_we_read_its(self, plaintext):
        payload = nostr_sdk.nip04_encrypt(self.secret, self.sender, plaintext)
        assert decrypt(payload, ALICE, BOB.public_key) == plaintext
