"""What a job cost, who paid it, and what comes back, row by row of the requirements (ACC-01 to ACC-18). In sats.

Each test names its row. Prices are the test's own (`generosity.py`); ACC-07 to ACC-10 have the simulated wallet.
"""

import asyncio
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.money import Msats
from ledger.records import JobState, RefundState
from lightning import bolt11
from tests.flows.house import ALICE, a_house
from tests.timmy_dvm.core import builders as b
from tests.timmy_dvm.generosity import EVAL_FEE, RELAY, STEPS, generosity
from timmy_dvm.core.actions import Delivered, OperationDone, Refused
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import RefundClaimed, Step
from timmy_dvm.core.settling import cost_ledger

FIELDS = (
    "actualInputTokens", "actualOutputTokens", "totalTokens", "actualCostUsd",
    "actualAmountSats", "workAmountSats", "refundAmountSats", "refundState",
)  # fmt: skip


async def served(it, estimate: int, actual: int, *, tier="new", used=0, how=STEPS, left: int | None = None):
    """A job from the request to its end: its row, and the cost ledger its customer was told."""
    key = await it.key(tier)
    await it.use(key, used)
    job_id = await it.ask(key, estimate, how=how)
    if how is STEPS:
        await it.accept(job_id)
    if await it.asked_for(job_id):
        bill = await it.bill(job_id)
        if left is not None:
            await it.drain(left)
        await it.settle(bill)
    if how is RELAY:
        await it.accept(job_id)
    await it.answer(job_id, actual)
    return await it.job(job_id), it.recorder.last(Delivered).ledger


PARTIAL = {"tier": "established", "used": 30}
"""Of 50 the pool offers 20, and 30 are paid."""


@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "http"])
@pytest.mark.parametrize(
    "job", [{}, PARTIAL, {"tier": "established"}, PARTIAL | {"left": 0}], ids=["paid", "part", "free", "drained"]
)
async def test_acc_01_02_and_03_every_answer_has_its_cost_ledger_whole(job, how):
    """ACC-03."""
    async with generosity() as it:
        row, ledger = await served(it, 50, 45, how=how, **job)
    assert row.state is JobState.COMPLETE
    assert [ledger.get(name) is not None for name in FIELDS] == [True] * 8
    assert None not in ledger.values()
    assert ledger["totalTokens"] == ledger["actualInputTokens"] + ledger["actualOutputTokens"] == 30
    assert ledger["costSats"] == 45 + (EVAL_FEE if how is STEPS else 0)
    paid = ledger["evalAmountSats"] + ledger["actualAmountSats"]
    assert ledger["costSats"] == paid + ledger["absorbed_sats"] + ledger["shortfallSats"]


@pytest.mark.parametrize("job", [{}, PARTIAL, {"tier": "established"}], ids=["paid", "part", "free"])
async def test_acc_04_the_customers_figure_is_clamped_and_the_loss_stands_beside_it(job):
    async with generosity() as it:
        row, ledger = await served(it, 50, 80, **job)
    assert ledger["actualAmountSats"] == ledger["workAmountSats"]
    assert ledger["refundAmountSats"] == 0
    assert (ledger["shortfallSats"], ledger["costSats"]) == (30, 82)
    assert row.shortfall == 30_000


@settings(max_examples=300)
@given(
    held=st.integers(0, 200), share=st.integers(0, 100), reserved=st.integers(0, 100), charge=st.integers(0, 300)
)  # fmt: skip
def test_acc_05_what_comes_back_is_never_below_nothing_nor_above_what_was_asked(held, share, reserved, charge):
    """pt refund_bounds, and FRE-37: the customer's charge, the grant and the shortfall are the cost."""
    row = b.job(
        JobState.EXECUTING, share_eval=b.sats(min(2, share)), share_work=b.sats(max(0, share - 2)), free_tier=True,
        absorbed_sats=reserved,
    )  # fmt: skip
    case = b.around(row, share + held, reserved=b.sats(reserved))
    job = (decision := decide(case, b.answer(charge), b.POLICY)).job
    ledger = decision.tells[0].message.ledger
    assert 0 <= ledger["refundAmountSats"] <= ledger["workAmountSats"]
    assert job.charge_eval + job.charge_work + b.sats(job.absorbed_sats) + job.shortfall == b.sats(2 + charge)
    assert (decision.reservation_end is None) == (reserved == 0)
    for account, there_was in ((f"reserved:{b.JOB}", case.reserved), (f"job:{b.JOB}", case.held)):
        moved = sum(p.amount for e in decision.entries for p in e.postings if p.account == account)
        assert there_was + moved == 0


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ([], "not_applicable"), (["held"], "pending"), (["sending"], "pending"), (["in_doubt"], "pending"),
        (["sent"], "paid"), (["credited"], "paid"), (["sent", "held"], "pending"), (["sent", "credited"], "paid"),
    ],
)  # fmt: skip
def test_acc_06_refund_state_is_one_of_three(states, shown):
    rows = tuple(b.refund(RefundState(state)) for state in states)
    assert cost_ledger(b.job(JobState.COMPLETE), rows)["refundState"] == shown


async def test_acc_11_and_12_a_part_pays_what_the_pool_did_not_absorb():
    """ACC-12: pt partial_math: estimate 50, absorb 20, paid 30, actual 45: charge 25, refund 5."""
    async with generosity() as it:
        row, ledger = await served(it, 50, 45, **PARTIAL)
    assert ledger["actualAmountSats"] == max(0, 45 - ledger["absorbed_sats"]) == 25
    assert ledger["refundAmountSats"] == ledger["workAmountSats"] - 25 == 5
    assert (row.absorbed_sats, row.charge_work) == (20, 25_000)


async def test_acc_13_what_comes_back_counts_the_subsidy():
    """The older formula, what was paid less all the cost, would give nothing back here."""
    async with generosity() as it:
        _, ledger = await served(it, 50, 45, **PARTIAL)
    forgets_the_subsidy = max(0, ledger["workAmountSats"] - 45)
    assert (forgets_the_subsidy, ledger["refundAmountSats"]) == (0, 5)


async def test_acc_14_and_15_a_part_is_a_paid_job():
    """ACC-15, partial_is_paid: ledger, change, the pool's part and a grant after the work; and it earns trust."""
    async with generosity() as it:
        row, ledger = await served(it, 130, 125, tier="established", used=0)
        key = await it.store.look(lambda view: view.identity(row.pubkey))
        assert row.free_tier is True
        assert (ledger["workAmountSats"], ledger["actualAmountSats"], ledger["refundAmountSats"]) == (80, 75, 5)
        assert (row.pool_credit, await it.grants(), await it.refunded(row.id)) == (7_000, [50], 5)
        assert (key.trust_score, key.paid_jobs) == (21, 1)


@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "http"])
async def test_a_free_answer_earns_no_trust_though_its_eval_was_paid(how):
    """D13: else the free tier farms itself. It keeps the key fresh."""
    async with generosity() as it:
        it.now += 20 * 86_400
        row, _ = await served(it, 50, 45, tier="established", how=how)
        key = await it.store.look(lambda view: view.identity(row.pubkey))
        assert (key.trust_score, key.paid_jobs, key.interaction_count, key.last_seen) == (20, 0, 1, it.now)


async def test_acc_16_a_pool_that_is_empty_when_it_is_paid_leaves_nobody_stranded():
    async with generosity() as it:
        row, ledger = await served(it, 50, 45, **PARTIAL, left=0)
        assert row.state is JobState.COMPLETE
        assert (ledger["actualAmountSats"], ledger["refundState"], ledger["shortfallSats"]) == (
            30,
            "not_applicable",
            15,
        )
        assert row.free_tier is False


async def test_acc_17_a_free_job_meets_the_invariants_of_the_ledger():
    """pt free_job_ledger."""
    async with generosity() as it:
        row, ledger = await served(it, 50, 42, tier="established", how=RELAY)
    assert (ledger["actualAmountSats"], ledger["workAmountSats"], ledger["refundAmountSats"]) == (0, 0, 0)
    assert (ledger["refundState"], ledger["absorbed_sats"], row.absorbed_sats) == ("not_applicable", 42, 42)


@pytest.mark.parametrize("how", [RELAY, STEPS], ids=["relay", "http"])
@pytest.mark.parametrize(("job", "share"), [({}, 50), (PARTIAL, 30)], ids=["paid", "part"])
async def test_acc_18_work_that_fails_gives_all_of_the_work_fee_back(job, share, how):
    async with generosity() as it:
        key = await it.key(job.get("tier", "new"))
        await it.use(key, job.get("used", 0))
        job_id = await it.ask(key, 50, how=how)
        if how is STEPS:
            await it.accept(job_id)
        assert await it.pay(job_id) == share
        if how is RELAY:
            await it.accept(job_id)
        await it.fail(job_id, Step.WORK)
        row = await it.job(job_id)
        assert (row.state, row.charge_work, row.charge_eval) == (JobState.FAILED, 0, 2_000)
        assert await it.refunded(job_id) == share - (EVAL_FEE if how is RELAY else 0)
        assert (await it.pool(), row.absorbed_sats) == (10_000 - job.get("used", 0), 0)


# Claiming what is held, with the wallet --------------------------------------------------------------------------


async def owed(house):
    """A job that was paid, and the refund that is held for it."""
    job_id = await house.ask()
    house.customer.pays((await house.priced()).bolt11)
    await house.state_is(job_id, "complete")
    (refund,) = await house.store.refunds(open_only=True)
    return await house.job(job_id), refund


def claim(house, job, text, number=1, **changes):
    invoice = bolt11.decode(text)
    fact = RefundClaimed(
        event_id=f"{number:064x}", request_event_id=job.event_id, pubkey=ALICE, bolt11=text,
        payment_hash=invoice.payment_hash, amount=invoice.amount_msat, rail_ok=True, expires_at=invoice.expires_at,
        origin="{}", at=int(house.clock.now()),
    )  # fmt: skip
    return house.engine.handle(dataclasses.replace(fact, **changes))


async def test_acc_07_an_overpayment_goes_back_to_the_invoice_its_customer_names():
    async with a_house() as house:
        job, refund = await owed(house)
        before = await house.wallet.balance_msat()
        await claim(house, job, house.customer.invoice(refund.amount, expiry_s=3_600))
        await house.until(lambda: house.customer.received)
        await house.dispatch.idle()
        assert await house.wallet.balance_msat() == before - refund.amount
        story = await house.store.story(job.id)
        assert cost_ledger(story.job, story.refunds)["refundState"] == "paid"
        await house.books_are_right()


async def test_acc_08_five_claims_at_once_and_the_wallet_pays_once():
    async with a_house() as house:
        job, refund = await owed(house)
        invoices = [house.customer.invoice(refund.amount, expiry_s=3_600) for _ in range(5)]
        await asyncio.gather(*(claim(house, job, text, n) for n, text in enumerate(invoices)))
        await house.until(lambda: house.customer.received)
        await house.dispatch.idle()
        assert list(house.customer.received.values()) == [refund.amount]
        assert len([m for m in house.recorder.said if isinstance(m, OperationDone)]) == 1


@pytest.mark.parametrize("more", [1_000, -1_000, None])
async def test_acc_09_only_the_sum_that_is_owed_can_be_claimed(more):
    async with a_house() as house:
        job, refund = await owed(house)
        text = house.customer.invoice(refund.amount, expiry_s=3_600)
        await claim(house, job, text, amount=None if more is None else Msats(refund.amount + more))
        assert house.recorder.last(Refused).code == "wrong_amount"
        assert house.customer.received == {}


async def test_acc_10_only_the_key_that_asked_may_claim():
    async with a_house() as house:
        job, refund = await owed(house)
        await claim(house, job, house.customer.invoice(refund.amount, expiry_s=3_600), pubkey="b" * 64)
        assert house.recorder.last(Refused).code == "not_yours"
        assert await house.store.refunds(open_only=True) == (refund,)
