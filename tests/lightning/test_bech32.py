import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning import bech32

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bech32_nip19_nip06_lnurl.json").read_text())


@pytest.mark.parametrize("text", VECTORS["bip173"]["valid"])
def test_the_valid_examples_of_bip173_read_and_write(text):
    prefix, words = bech32.decode(text)
    assert bech32.encode(prefix, words) == text.lower()


@pytest.mark.parametrize("text", [text for text, why in VECTORS["bip173"]["invalid"] if "over 90" not in why])
def test_the_invalid_examples_of_bip173_are_refused(text):
    with pytest.raises(ValueError, match="it"):
        bech32.decode(text)


@pytest.mark.parametrize("text", VECTORS["bech32m_must_fail_as_bech32"]["strings"])
def test_bech32m_is_another_checksum(text):
    with pytest.raises(ValueError, match="checksum"):
        bech32.decode(text)


@pytest.mark.parametrize("example", VECTORS["lnurl"]["valid"])
def test_an_lnurl_reads_as_its_url(example):
    prefix, words = bech32.decode(example["lnurl"])
    assert prefix == "lnurl"
    url = bech32.bytes_from_words(words)
    assert url.decode() == example["url"]
    assert bech32.encode("lnurl", bech32.words_from_bytes(url)) == example["lnurl"].lower()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "separator"),
        ("abcdef", "separator"),
        ("1qqqqqq", "separator"),
        ("a1qqqqq", "too few"),
        ("a1qqbqqqqq", "characters"),
        ("a1qqqqqq ", "characters"),
        ("a\n1qqqqqq", "characters"),
        ("ln1qqqqqq\u017f", "characters"),
        ("A1qqqqqq", "mixes"),
        ("a1qqqqqq", "checksum"),
    ],
)
def test_each_fault_has_its_reason(text, why):
    with pytest.raises(ValueError, match=why):
        bech32.decode(text)


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12), st.binary(max_size=300))
def test_what_is_encoded_reads_back_in_either_case(prefix, data):
    text = bech32.encode(prefix, bech32.words_from_bytes(data))
    for written in (text, text.upper()):
        read_prefix, words = bech32.decode(written)
        assert (read_prefix, bech32.bytes_from_words(words)) == (prefix, data)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_any_single_changed_character_is_noticed(data, draw):
    text = bech32.encode("ln", bech32.words_from_bytes(data))
    place = draw.draw(st.integers(3, len(text) - 1))
    other = draw.draw(st.sampled_from([one for one in "qpzry9x8gf2tvdw0s3jn54khce6mua7l" if one != text[place]]))
    with pytest.raises(ValueError, match="checksum"):
        bech32.decode(text[:place] + other + text[place + 1 :])


@given(st.integers(0, 2**80), st.integers(0, 20))
def test_numbers_take_as_few_words_as_they_need(number, length):
    words = bech32.words_from_int(number, length)
    assert bech32.int_from_words(words) == number
    assert len(words) == max(length, (number.bit_length() + 4) // 5)


def test_a_rest_below_a_byte_is_dropped_or_padded():
    words = bytes([0b10101, 0b11111])
    assert bech32.bytes_from_words(words) == bytes([0b10101111])
    assert bech32.bytes_from_words(words, pad=True) == bytes([0b10101111, 0b11000000])
