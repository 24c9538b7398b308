import json
from pathlib import Path

import pytest

from ledger.money import MAX_MSATS, ZERO, msats_from_sats, parse_msats, sats_down, sats_up

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "amount_strings.json").read_text("utf-8"))[
    "cases"
]


@pytest.mark.parametrize("case", VECTORS, ids=[repr(case["text"]) for case in VECTORS])
def test_amount_vectors_are_read_as_stated(case):
    text = case["text"] * (case["repeat"] or 1)
    if case["expect"] == "accept":
        assert parse_msats(text) == int(text)
    else:
        with pytest.raises(ValueError, match=r"amount|bitcoin"):
            parse_msats(text)


@pytest.mark.parametrize(
    "text", ["+5", " 5", "5 ", "0", "\uff10\uff15", "\uff15", "0x5", "1_0", "1" * 5_000, 5, None, b"5"]
)
def test_other_ways_to_write_a_number_are_refused(text):
    with pytest.raises(ValueError, match=r"amount|bitcoin"):
        parse_msats(text)


def test_all_bitcoin_there_is_and_not_a_msat_more():
    assert parse_msats(str(MAX_MSATS)) == MAX_MSATS == 2_100_000_000_000_000_000
    with pytest.raises(ValueError, match="more than all bitcoin"):
        parse_msats(str(MAX_MSATS + 1))


def test_rounding_goes_where_its_name_says():
    assert [sats_up(n) for n in (0, 1, 999, 1_000, 1_001)] == [0, 1, 1, 1, 2]
    assert [sats_down(n) for n in (0, 1, 999, 1_000, 1_999)] == [0, 0, 0, 1, 1]
    assert msats_from_sats(7) == 7_000
    assert ZERO == 0
