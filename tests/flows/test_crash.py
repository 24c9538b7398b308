"""Killed with SIGKILL at any moment, Timmy goes on: one invoice, one charge, one result, books balanced.

The rows of the crash table in ARCHITECTURE.md, with whole processes, real sockets and files on disk. A moment is
named as `crash_child.py` knows it.
"""

import pytest

from ledger.money import msats_from_sats
from ledger.records import JobState, RefundState
from tests.flows.crash_world import World, a_world

pytestmark = pytest.mark.crash

EVAL_FEE = msats_from_sats(2)
POOL_START = msats_from_sats(10_000)
EVERY_MOMENT = (
    "after commit Opening",
    "before commit RequestReceived",
    "after commit RequestReceived",
    "after create_invoice",
    "after commit InvoiceMade",
    "after settle",
    "after list_settled",
    "after commit PaymentSeen",
    "in evaluate",
    "after commit EvalDone",
    "in work",
    "after commit WorkDone",
    "half published",
    "before commit RefundClaimed",
    "after commit RefundClaimed",
    "after pay",
    "after commit PaymentOut",
)


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path) as world:
        yield world


async def money_is_right(world, ending):
    """What holds after every story, however it went: paid once, charged once, given back once, nothing lost."""
    code, told = await world.audit()
    assert (code, told.splitlines()[-1]) == (0, "The books are in order.")

    (invoice,) = ending.story.invoices
    assert ending.prices == {invoice.payment_hash} == set(ending.wallet.invoices)
    assert [row.payment_hash for row in ending.wallet.settlements] == [invoice.payment_hash]

    job, refund = ending.job, ending.refund
    charge = job.charge_eval + job.charge_work
    assert charge + refund.amount == invoice.received
    assert ending.accounts["earned"] == charge - job.pool_credit
    assert ending.accounts["pool"] == POOL_START + job.pool_credit

    (payment,) = ending.payments
    assert (payment.payment_hash, payment.amount_msat) == (refund.payment_hash, refund.amount)
    assert refund.state is RefundState.SENT
    assert -ending.accounts["node"] == ending.wallet.balance_msat


async def all_is_well(world, ending):
    """The customer has the answer, and everything else is as if nobody had died."""
    await money_is_right(world, ending)
    job = ending.job
    assert job.state is JobState.COMPLETE
    assert (job.charge_eval, job.eval_passed) == (EVAL_FEE, True)
    assert 0 < job.charge_work < job.share_work
    assert len(ending.results) == 1


async def test_whoever_is_not_killed_begins_nothing_twice(world):
    ending = await world.story()
    await all_is_well(world, ending)
    assert (ending.job.eval_runs, ending.job.work_runs) == (1, 1)
    assert ending.facts("PaymentOut") == 1


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("after commit Opening", id="the books were opened at the first start"),
        pytest.param("before commit RequestReceived", id="the request was heard and not written"),
        pytest.param("after commit RequestReceived", id="the request was seen"),
        pytest.param("after create_invoice", id="the invoice was made, not written"),
        pytest.param("after commit InvoiceMade", id="the price was written, not published"),
        pytest.param("after settle", id="the customer was paying"),
        pytest.param("after commit PaymentSeen", id="paid, run not begun"),
        pytest.param("after commit EvalDone", id="judged, work not begun"),
        pytest.param("after commit WorkDone", id="the result was stored"),
        pytest.param("before commit RefundClaimed", id="the claim was heard and not written"),
    ],
)
async def test_killed_once_nothing_is_lost_or_done_twice(world, moment):
    ending = await world.story(moment)
    await all_is_well(world, ending)
    assert (ending.job.eval_runs, ending.job.work_runs) == (1, 1)
    assert ending.facts("PaymentOut") == 1


async def test_half_published_the_same_bytes_go_to_all_relays_also_to_one_that_is_slow_to_reach(world):
    async def far_away(world):
        world.road.delay_s = 0.6

    ending = await world.story("half published", between=far_away)
    await all_is_well(world, ending)
    for events in ending.said:
        assert len([event for event in events if event.id in ending.results]) == 1


@pytest.mark.parametrize(
    "catching_up",
    [
        pytest.param((), id="and he comes back"),
        pytest.param(("after list_settled",), id="and killed again when he had read of it"),
        pytest.param(("after commit PaymentSeen",), id="and killed again when it was booked"),
    ],
)
async def test_paid_while_nobody_runs_it_is_found_at_the_next_start(world, catching_up):
    ending = await world.story("after delivered", *catching_up, between=World.pay_the_node, pays=False)
    await all_is_well(world, ending)


async def test_killed_in_eval_it_is_judged_anew(world):
    ending = await world.story("in evaluate")
    await all_is_well(world, ending)
    assert (ending.job.eval_runs, ending.job.work_runs) == (2, 1)


async def test_killed_twice_in_work_the_third_run_delivers(world):
    ending = await world.story("in work", "in work")
    await all_is_well(world, ending)
    assert (ending.job.eval_runs, ending.job.work_runs) == (1, 3)


async def test_killed_three_times_in_work_it_has_failed_and_the_work_fee_comes_back(world):
    """PHA-14."""
    ending = await world.story("in work", "in work", "in work")
    await money_is_right(world, ending)
    assert ending.job.state is JobState.FAILED
    assert (ending.job.charge_eval, ending.job.charge_work) == (EVAL_FEE, 0)
    assert not ending.results


async def test_killed_three_times_in_eval_it_has_failed_and_all_comes_back(world):
    ending = await world.story("in evaluate", "in evaluate", "in evaluate")
    await money_is_right(world, ending)
    assert ending.job.state is JobState.FAILED
    assert (ending.job.charge_eval, ending.job.charge_work) == (0, 0)
    assert not ending.results


async def test_a_refund_that_was_written_and_not_begun_is_sent_at_once(world):
    ending = await world.story("after commit RefundClaimed")
    await all_is_well(world, ending)
    assert ending.facts("PaymentOut") == 1, "it went through doubt, though nobody had begun it"


async def test_a_refund_that_was_sent_and_not_noted_is_found_by_its_hash(world):
    ending = await world.story("after pay")
    await all_is_well(world, ending)
    assert ending.facts("PaymentOut") == 1, "it went through doubt, though our wallet knows of it"


async def test_a_refund_that_may_have_been_sent_is_not_sent_blind_but_after_ten_minutes_without_a_trace(world):
    ending = await world.story("before pay", "after commit PaymentOut", ahead_s=11 * 60)
    await all_is_well(world, ending)
    assert ending.facts("PaymentOut") == 2
    assert ending.refund.attempts == 1


async def test_killed_at_every_moment_one_after_the_other(world):
    ending = await world.story(*EVERY_MOMENT)
    await all_is_well(world, ending)
