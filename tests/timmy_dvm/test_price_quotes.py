"""What sources answer, and the price that follows (lightning.md's table, PRI-04)."""

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy_dvm.price_quotes import NoPrice, Told, agree, read

NOW = 1_700_000_000
GECKO = "https://api.coingecko.com/api/v3/simple/price"


@pytest.mark.parametrize(
    ("body", "usd"),
    [
        (b'{"bitcoin":{"usd":97123.45,"last_updated_at":1699999990}}', "97123.45"),
        (b'{"bitcoin":{"usd":97123}}', "97123"),
        (b'{"time":1700000000,"USD":97123,"EUR":90000}', "97123"),
        (b'{"error":[],"result":{"XXBTZUSD":{"a":["1"],"b":["1"],"c":["97123.10000","0.002"]}}}', "97123.10000"),
        (b'{"data":{"amount":"97123.455","base":"BTC","currency":"USD"}}', "97123.455"),
        (b'{"last":"97123","timestamp":"1700000000","bid":"1"}', "97123"),
    ],
)
def test_each_source_is_read_to_the_last_digit(body, usd):
    assert read(GECKO, body, NOW) == Told("api.coingecko.com", Decimal(usd))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"97123",
        b"<html>busy</html>",
        b'{"bitcoin":{}}',
        b'{"bitcoin":{"usd":null}}',
        b'{"bitcoin":{"usd":true}}',
        b'{"bitcoin":{"usd":"cheap"}}',
        b'{"bitcoin":{"usd":0}}',
        b'{"bitcoin":{"usd":-97123}}',
        b'{"bitcoin":{"usd":999.99}}',
        b'{"bitcoin":{"usd":10000000.01}}',
        b'{"bitcoin":{"usd":1e400}}',
        b'{"bitcoin":{"usd":"NaN"}}',
        b'{"bitcoin":{"usd":"Infinity"}}',
        b'{"error":["EGeneral:Internal error"],"result":{}}',
        b'{"result":{"XXBTZUSD":{"c":[]}}}',
        b'{"last":"97123","timestamp":"1699999399"}',
        b'{"USD":97123,"time":1700000601}',
        b'{"USD":97123,"time":"later"}',
        b'{"USD":97123,"time":1e999}',
        b'{"a":' * 9_000,
        b'{"bitcoin":{"usd":97123',
    ],
)
def test_what_is_no_price_absurd_or_old_is_no_answer(body):
    with pytest.raises(NoPrice):
        read(GECKO, body, NOW)


@given(st.binary(max_size=200))
def test_no_answer_breaks_the_reader(body):
    with contextlib.suppress(NoPrice):
        assert read(GECKO, body, NOW).usd


def told(*prices):
    return [Told(f"source{number}", Decimal(usd)) for number, usd in enumerate(prices)]


@pytest.mark.parametrize(
    ("prices", "last", "usd"),
    [
        ((), None, None),
        ((100_000,), None, 100_000),
        ((100_000,), 99_000, 100_000),
        ((100_000, 102_000), None, 101_000),
        ((100_000, 101_000, 150_000), None, 100_500),  # the third is 49 % off and left out
        ((100_000, 100_500, 101_000, 50_000), None, 100_500),
        ((100_000, 200_000, 300_000), None, 200_000),  # all differ: the one in the middle stands alone
        ((120_000,), 100_000, 120_000),  # just 20 %
        ((120_001,), 100_000, None),  # a jump, and nobody else says so
        ((79_999,), 100_000, None),
        ((130_000, 130_500), 100_000, 130_250),  # a jump that two tell of
        ((130_000, 100_000), 90_000, None),  # two that do not agree are no second opinion of the mean
        ((130_000, 130_100, 100_000), 100_000, 130_050),
    ],
)
def test_the_price_that_follows(prices, last, usd):
    price = agree(told(*prices), None if last is None else Decimal(last))
    assert (None if price is None else price.usd) == usd


def test_the_price_says_who_told_it():
    assert agree(told(100_000), None).source == "source0"
    assert agree(told(100_000, 100_100), None).source == "median of source0, source1"


@given(st.lists(st.decimals(1_000, 10_000_000, places=2), min_size=1, max_size=6))
def test_the_price_lies_among_what_was_told(prices):
    price = agree(told(*prices), None)
    assert price is None or min(prices) <= price.usd <= max(prices)
