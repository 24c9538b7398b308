"""The machine finds each of twelve mistakes that lose money: that it finds none in the product says something."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.money import bugs
from tests.money.machine import Customers

LIVES = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
WORDS = {
    bugs.read_then_write: "a balance is what was posted",
    bugs.release_twice: "pool credit is what went to the pool|the pool is off",
    bugs.credit_at_invoice_time: "what is credited was settled|UNIQUE constraint failed: entries.entry_id",
    bugs.refund_before_record: "paid before it was recorded",
    bugs.unknown_as_failed: "its payment did not fail|left 2 times",
    bugs.margin_twice: "the price is not the estimate's",
    bugs.float_sats: "charge .* cost|the price is not the estimate's",
    bugs.raw_estimate_as_grant: "grant .* cost|which its receipts do not say",
    bugs.forgotten_release: "a reservation is made once, ends once",
    bugs.decay_after_change: "trust of",
    bugs.pool_credit_on_the_invoice: "the pool is off",
    bugs.no_floor: "never below nothing|never less than nothing",
}


def test_there_are_twelve():
    assert len(bugs.BUGS) == len(WORDS) == 12


@pytest.mark.parametrize("bug", WORDS, ids=lambda bug: bug.__name__)
def test_the_machine_finds(bug):
    with bug(), pytest.raises(Exception, match=WORDS[bug]):
        run_state_machine_as_test(Customers, settings=LIVES)
