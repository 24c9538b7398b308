"""`timmy books`: what the operator moves, booked beside a running bot."""

import re

import pytest

from ledger.audit import audit


@pytest.fixture
def books(bot, timmy):
    def run(*arguments, code=0):
        done = timmy("books", *arguments[:1], "--data-dir", str(bot.folder), *arguments[1:])
        assert done.code == code, done.err
        return done

    return run


def balances(done):
    return {
        name: int(sats.replace(",", ""))
        for name, sats in re.findall(r"^(\w+) +([\d,]+) sats$", done.out, re.MULTILINE)
    }


def test_every_account_is_shown(books):
    assert {"node", "operator", "pool", "earned"} <= balances(books()).keys()


def test_a_deposit_is_the_operators_and_can_be_taken_out_again(books, bot):
    before = balances(books())
    assert books("deposit", "500", "--note", "for refunds").out == "booked: 500 sats in\n"
    after = balances(books())
    assert (after["node"] - before["node"], after["operator"] - before["operator"]) == (500, 500)
    assert books("withdraw", "500").out == "booked: 500 sats out\n"
    assert balances(books()) == before
    assert not audit(bot.folder / "timmy.db")


def test_what_customers_are_owed_or_nobody_has_cannot_be_taken_out(books, bot):
    done = books("withdraw", "100000000", code=1)
    assert "sats are yours to take out" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("sats", ["0", "-5", "1.5", "many", "99999999999999999999"])
def test_a_sum_that_is_none_is_refused(books, sats):
    assert "Invalid value" in books("deposit", "--", sats, code=2).err


def test_a_move_without_a_sum_asks_how_many(books):
    assert "timmy books deposit SATS" in books("deposit", code=2).err


def test_without_a_ledger_it_says_what_makes_one(timmy, tmp_path):
    done = timmy("books", "deposit", "5", "--data-dir", str(tmp_path / "none"))
    assert (done.code, "timmy run" in done.err) == (1, True)
