"""The books against the wallet (money.md, solvency watchdog)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.money import Msats
from timmy_dvm.core.solvency import OnItsWay, alarm, expected, may_take_out, shortage, surplus

amounts = st.integers(0, 10**12).map(Msats)


def off(node, payable, wallet, *sends):
    expect = expected(Msats(node), Msats(payable), [OnItsWay(Msats(a), Msats(b)) for a, b in sends])
    return shortage(expect, Msats(wallet)), surplus(expect, Msats(wallet))


@pytest.mark.parametrize(
    ("node", "payable", "wallet", "sends", "missing", "more"),
    [
        (100, 40, 100, (), 0, 0),
        (100, 40, 99, (), 1, 0),
        (100, 40, 101, (), 0, 1),
        (0, 0, 0, (), 0, 0),  # a fresh wallet at 0: the seeded pool is a promise of our own work
        (30, 40, 30, (), 10, 0),  # the books themselves say that more is owed than there is
        (100, 40, 100, ((0, 13),), 0, 0),  # in flight: it may have left with its fee, or not
        (100, 40, 87, ((0, 13),), 0, 0),
        (100, 40, 86, ((0, 13),), 1, 0),
        (100, 40, 89, ((11, 11),), 0, 0),  # sent for certain and not booked yet
        (100, 40, 100, ((11, 11),), 0, 11),
        (10, 0, 0, ((0, 50),), 0, 0),
    ],
)
def test_what_is_missing_and_what_is_more(node, payable, wallet, sends, missing, more):
    assert off(node, payable, wallet, *sends) == (missing, more)


@given(amounts, amounts, st.lists(st.tuples(amounts, amounts).map(sorted), max_size=4))
def test_a_wallet_that_is_as_the_books_say_is_never_short_and_one_msat_less_always_is(node, payable, sends):
    on_their_way = [OnItsWay(a, b) for a, b in sends]
    expect = expected(node, payable, on_their_way)
    assert shortage(expect, expect.least) == 0
    if expect.least:
        assert shortage(expect, Msats(expect.least - 1)) == 1


@pytest.mark.parametrize(
    ("node", "payable", "caps", "most"), [(100, 40, 5, 55), (100, 100, 0, 0), (10, 40, 0, 0), (0, 0, 0, 0)]
)
def test_the_operator_takes_out_only_what_nobody_is_owed(node, payable, caps, most):
    assert may_take_out(Msats(node), Msats(payable), Msats(caps)) == most


def test_the_alarm_says_how_much_and_what_to_do():
    assert alarm(Msats(0)) == ""
    assert "holds 2 sats less" in alarm(Msats(1_001))
    assert "timmy books withdraw" in alarm(Msats(1))
