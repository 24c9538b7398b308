import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entries import Code, Entry, Posting, gather, reverse, transfer
from ledger.money import Msats


def test_a_transfer_goes_out_of_the_first_into_the_second():
    entry = transfer("settled:h", Code.SETTLED, "node", "job:a", Msats(5))
    assert entry == Entry("settled:h", Code.SETTLED, (Posting("node", -5), Posting("job:a", 5)))


def test_gathering_leaves_out_what_gives_nothing():
    debits = [("job:a", Msats(3)), ("reserved:a", Msats(0)), ("shortfall", Msats(4))]
    entry = gather("settlement:a", Code.SETTLEMENT, debits, "earned", "overrun")
    assert entry.postings == (Posting("job:a", -3), Posting("shortfall", -4), Posting("earned", 7))
    assert entry.reason == "overrun"


@pytest.mark.parametrize(
    ("postings", "error"),
    [
        ((), "moves nothing"),
        ((Posting("pool", 0), Posting("node", 0)), "moves nothing"),
        ((Posting("pool", 5),), "moves nothing"),
        ((Posting("pool", 5), Posting("node", -4)), "does not balance"),
        ((Posting("pool", 5), Posting("pool", -5)), "names an account twice"),
        ((Posting("pool", 5), Posting("nobody", -5)), "chart of accounts"),
    ],
)
def test_what_is_no_entry_can_not_be_made(postings, error):
    with pytest.raises(ValueError, match=error):
        Entry("id", Code.DUST, postings)


def test_nothing_gathered_is_no_entry():
    with pytest.raises(ValueError, match="moves nothing"):
        gather("settlement:a", Code.SETTLEMENT, [("job:a", Msats(0))], "earned")


@given(st.lists(st.integers(min_value=1, max_value=10**15), min_size=1, max_size=5))
def test_a_reversal_undoes_whatever_was_gathered(amounts):
    debits = [(f"job:{number}", Msats(amount)) for number, amount in enumerate(amounts)]
    entry = gather("e", Code.SETTLEMENT, debits, "earned")
    mirror = reverse(entry, "r", "never happened")
    assert mirror.code is Code.REVERSAL
    assert mirror.reason == "never happened"
    together = {p.account: p.amount for p in entry.postings}
    assert all(together[p.account] + p.amount == 0 for p in mirror.postings)
    assert sum(p.amount for p in entry.postings) == 0


@pytest.mark.parametrize("amount", [0, -5])
def test_money_that_goes_the_other_way_has_its_accounts_the_other_way(amount):
    with pytest.raises(ValueError, match="more than nothing from pool to node"):
        transfer("e", Code.DEPOSIT, "pool", "node", Msats(amount))
    with pytest.raises(ValueError, match=r"less than nothing|moves nothing"):
        gather("e", Code.SETTLEMENT, [("pool", Msats(amount))], "earned")
