"""NIP-13: how much work an event shows."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_client.event import EventFields
from timmy_dvm.core import facts
from timmy_dvm.nostr import work

MINED = "000006d8c378af1779d2feebc7603a125d99eca0ccf1085959b307f64e5dd358"
"""The id of NIP-13's own example: it committed to 20 bits, and has 21."""


def event(*tags, id_=MINED):
    return EventFields(id=id_, pubkey="ab" * 32, created_at=1, kind=5050, tags=tags, content="")


def test_the_page_s_example():
    assert work.leading_zero_bits(MINED) == 21
    assert work.bits(event(("nonce", "776797", "20"))) == 20


@pytest.mark.parametrize(
    ("tags", "bits"),
    [
        ((("nonce", "776797", "21"),), 21),
        ((("nonce", "776797", "22"),), 21),
        ((("nonce", "776797", "256"),), 21),
        ((("nonce", "776797", "1"),), 1),
        ((("nonce", "776797", "0"),), 0),
        ((("t", "a"), ("nonce", "1", "21", "more")), 21),
        ((("nonce", "1", "21"), ("nonce", "1", "30")), 21),
        ((), 0),
        ((("nonce",),), 0),
        ((("nonce", "776797"),), 0),
        ((("nonce", "776797", ""),), 0),
        ((("nonce", "776797", "-1"),), 0),
        ((("nonce", "776797", "2e1"),), 0),
        ((("nonce", "776797", "٢٠"),), 0),
        ((("nonce", "776797", "9999999999"),), 0),
    ],
)
def test_what_counts_is_what_was_committed_to_and_is_there(tags, bits):
    assert work.bits(event(*tags)) == bits


@pytest.mark.parametrize(
    ("id_", "bits"), [("0" * 64, 256), ("f" * 64, 0), ("0" * 63 + "1", 255), ("1" + "0" * 63, 3)]
)
def test_the_ends_of_the_scale(id_, bits):
    assert work.leading_zero_bits(id_) == bits


@given(st.binary(min_size=32, max_size=32))
def test_it_is_the_count_of_zeros_at_the_front(id_):
    written = "".join(f"{byte:08b}" for byte in id_)
    assert work.leading_zero_bits(id_.hex()) == len(written) - len(written.lstrip("0"))


def test_a_request_tells_of_none_unless_it_says_so():
    fields = {field.name: field.default for field in dataclasses.fields(facts.RequestReceived)}
    assert fields["work_bits"] == 0
