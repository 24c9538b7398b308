import pytest

from ledger.money import Msats
from timmy_dvm.core import free_answers
from timmy_dvm.core.free_facts import FreeAnswerGiven, Purpose
from timmy_dvm.core.pricing import BtcPrice, Freshness, PicoUsd, PriceList, Usage

BTC = BtcPrice.from_usd(100_000, source="test", freshness=Freshness.FIXED, at=0)


def fact(cost, purpose=Purpose.CHAT):
    return FreeAnswerGiven(answer_id="ab", purpose=purpose, cost=Msats(cost), at=5)


@pytest.mark.parametrize("purpose", Purpose)
def test_it_is_a_loss_of_ours_and_names_its_reason(purpose):
    (entry,) = free_answers.given(fact(1_500, purpose)).entries
    assert [(p.account, p.amount) for p in entry.postings] == [("shortfall", -1_500), ("earned", 1_500)]
    assert (entry.id, entry.code, entry.reason) == ("free:ab", "free_answer", purpose.value)


def test_what_cost_nothing_is_no_entry():
    assert free_answers.given(fact(0)).entries == ()


@pytest.mark.parametrize(
    ("given", "promised", "fits"), [(0, 0, True), (98, 0, True), (99, 0, False), (90, 8, True), (90, 9, False)]
)
def test_an_answer_fits_where_its_most_does_beside_what_is_promised(given, promised, fits):
    limit = Msats(100)
    assert free_answers.fits(Msats(2), given_today=Msats(given), promised=Msats(promised), limit=limit) is fits


def test_its_cost_is_the_models_without_margin_in_msat_rounded_up():
    usage = Usage("claude-haiku-4-5", 200, 60)  # 200 + 300 micro-USD is half a sat
    assert free_answers.cost(usage, PriceList(), BTC) == 500
    assert free_answers.msats_up(PicoUsd(1), BTC) == 1
    assert free_answers.msats_up(PicoUsd(0), BTC) == 0


def test_a_day_begins_at_midnight_utc():
    assert free_answers.midnight(1_700_000_000) == 1_699_920_000
