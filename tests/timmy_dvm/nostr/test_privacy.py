import pytest

from relay_client.errors import DecryptionFailed
from tests.timmy_dvm.nostr.kit import ALICE, P_TIMMY, SCHEMES, TIMMY, sealed, signed
from timmy_dvm.nostr.privacy import MAX_SEALED_BYTES, Scheme, decrypt, encrypt, scheme_of


def entropy(count):
    return b"\x0b" * count


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("text", ["x", "ünï\ncode ☃", "x" * MAX_SEALED_BYTES])
def test_what_one_side_encrypts_the_other_reads(scheme, text):
    payload = encrypt(text, scheme, TIMMY, ALICE.public_key, entropy)
    assert decrypt(payload, scheme, ALICE, TIMMY.public_key) == text
    assert (payload == text) is (scheme is Scheme.NONE)


def test_a_private_message_is_wrapped_whole_and_never_here():
    with pytest.raises(ValueError, match="whole"):
        encrypt("x", Scheme.NIP59, TIMMY, ALICE.public_key, entropy)
    with pytest.raises(ValueError, match="whole"):
        decrypt("x", Scheme.NIP59, TIMMY, ALICE.public_key)


@pytest.mark.parametrize("scheme", [Scheme.NIP04, Scheme.NIP44])
def test_the_longest_text_makes_an_event_that_relays_take(scheme):
    assert len(encrypt("x" * MAX_SEALED_BYTES, scheme, TIMMY, ALICE.public_key, entropy)) < 55_000


def test_an_empty_text_can_be_said_in_nip44_too():
    payload = encrypt("", Scheme.NIP44, TIMMY, ALICE.public_key, entropy)
    assert not decrypt(payload, Scheme.NIP44, ALICE, TIMMY.public_key).strip()


def test_a_scheme_is_not_taken_for_the_other():
    with pytest.raises(DecryptionFailed):
        decrypt(sealed("x", "nip04"), Scheme.NIP44, TIMMY, ALICE.public_key)
    with pytest.raises(DecryptionFailed):
        decrypt(sealed("x", "nip44"), Scheme.NIP04, TIMMY, ALICE.public_key)


@pytest.mark.parametrize(
    ("tags", "content", "has_clear_input", "scheme"),
    [
        ([("encrypted",)], "anything", True, Scheme.NIP44),
        ([("encrypted",)], sealed("x", "nip04"), True, Scheme.NIP04),
        ([], sealed("x", "nip04"), False, Scheme.NIP04),
        ([], sealed("x", "nip44"), False, Scheme.NIP44),
        ([], sealed("x", "nip44"), True, Scheme.NONE),
        ([], "What does abc?iv=def mean?", False, Scheme.NONE),
        ([], "A" * 200, False, Scheme.NONE),
        ([], "", False, Scheme.NONE),
    ],
)
def test_the_tag_decides_and_without_it_content_that_can_be_nothing_else(tags, content, has_clear_input, scheme):
    assert scheme_of(signed(P_TIMMY, *tags, content=content), has_clear_input=has_clear_input) is scheme
