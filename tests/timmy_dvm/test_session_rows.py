"""Sessions, row by row of the requirements (SES, IDN): a deposit is credit, requests use it, and no sat is lost.

The production engine over a real ledger; its books are audited at the end of each test.
"""

import asyncio
import dataclasses

import pytest

from ledger import accounts
from ledger.money import msats_from_sats
from tests.timmy_dvm.generosity import POLICY, generosity
from tests.timmy_dvm.session_holder import Holder, code
from timmy_dvm.core.facts import Step

# Opened ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("came", [100, 500, 700])
async def test_ses_01_03_a_deposit_that_is_paid_is_the_balance_all_of_it(came):
    async with generosity() as world:
        holder = Holder(world)
        assert await holder.asks(500) == []
        assert (await holder.state(), await holder.has()) == ("awaiting_payment", 0)
        payment_hash = await holder.bill(holder.deposit)
        for _ in range(2):
            await holder.settles(payment_hash, came)
        assert (await holder.state(), await holder.has()) == ("active", came)


@pytest.mark.parametrize("sats", [0, 99, 1_000_001])
async def test_a_deposit_out_of_bounds_is_refused_and_leaves_nothing(sats):
    async with generosity() as world:
        holder = Holder(world)
        assert code(await holder.asks(sats)) == "deposit_amount"
        assert await world.store.look(lambda view: view.session(holder.id)) is None
        assert not [a for a in await world.store.pending() if a.kind == "CreateInvoice"]


@pytest.mark.parametrize("sats", [100, 1_000_000])
async def test_the_bounds_themselves_are_taken(sats):
    async with generosity() as world:
        await Holder(world).opens(sats)


async def test_when_too_many_invoices_wait_no_session_is_opened():
    async with generosity(policy=dataclasses.replace(POLICY, open_invoices=2)) as world:
        await Holder(world).asks()
        assert code(await Holder(world).asks()) == "busy"


async def test_ses_10_23_a_session_refers_to_its_key_which_is_known_from_then_on():
    async with generosity() as world:
        holder = Holder(world, "5e" * 32)
        await holder.opens()
        assert (await holder.row()).pubkey == "5e" * 32
        assert await world.store.look(lambda view: view.identity("5e" * 32)) is not None
        await Holder(world, "5e" * 32).opens()


async def test_unpaid_it_expires_and_paid_late_it_opens_all_the_same():
    async with generosity() as world:
        holder = Holder(world)
        await holder.asks()
        payment_hash = await holder.bill(holder.deposit)
        await holder.expires(payment_hash)
        assert await holder.state() == "expired"
        await holder.settles(payment_hash)
        assert (await holder.state(), await holder.has()) == ("active", 500)
        await holder.expires(payment_hash)
        assert (await holder.state(), await holder.has()) == ("active", 500)


async def test_where_no_invoice_can_be_made_it_has_expired():
    async with generosity() as world:
        holder = Holder(world)
        await holder.asks()
        await holder.wallet_is_away(holder.deposit)
        assert await holder.state() == "expired"


@pytest.mark.parametrize("paid", [False, True])
async def test_ses_04_nothing_is_done_for_a_session_that_is_not_there_or_not_paid(paid):
    async with generosity() as world:
        holder, stranger = Holder(world), Holder(world)
        await holder.asks()
        for each, says in ((holder, "session_unpaid"), (stranger, "unknown_session")):
            assert code((await each.requests(50))[1]) == says
            assert code((await each.asks_to_top_up())[1]) == says
            assert code(await each.closes(50 if paid else None)) == says


# Filled ----------------------------------------------------------------------------------------------------------


async def test_ses_07_a_topup_is_added_once():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        topup_id, told = await holder.asks_to_top_up(300)
        assert told == []
        payment_hash = await holder.bill(topup_id)
        await holder.settles(payment_hash)
        await holder.settles(payment_hash)
        assert await holder.has() == 800


async def test_ses_08_09_while_one_waits_there_is_no_second_and_after_its_expiry_there_is():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        first, _ = await holder.asks_to_top_up(300)
        assert code((await holder.asks_to_top_up(300))[1]) == "pending_topup"
        late = await holder.bill(first)
        assert code((await holder.asks_to_top_up(300))[1]) == "pending_topup"
        waiting = await world.store.look(lambda view: view.open_topup_of(holder.id))
        assert (waiting.id, waiting.payment_hash) == (first, late)
        world.now += 601
        second, told = await holder.asks_to_top_up(200)
        assert told == []
        waiting = await world.store.look(lambda view: view.open_topup_of(holder.id))
        assert waiting.id == second
        await holder.settles(late)
        await holder.settles(await holder.bill(second))
        assert await holder.has() == 1_000


async def test_one_with_too_little_life_left_makes_room_for_a_fresh_one():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        await holder.bill((await holder.asks_to_top_up())[0])
        world.now += 541
        assert code((await holder.asks_to_top_up(life_s=59))[1]) == "pending_topup"
        assert (await holder.asks_to_top_up(life_s=60))[1] == []


@pytest.mark.parametrize("sats", [99, 1_000_001])
async def test_a_topup_has_the_bounds_of_a_deposit(sats):
    async with generosity() as world:
        holder = await Holder(world).opens()
        assert code((await holder.asks_to_top_up(sats))[1]) == "deposit_amount"


async def test_a_topup_that_nobody_pays_ends():
    async with generosity() as world:
        holder = await Holder(world).opens()
        topup_id, _ = await holder.asks_to_top_up()
        await holder.expires(await holder.bill(topup_id))
        assert await world.store.look(lambda view: view.open_topup_of(holder.id)) is None
        assert await holder.state() == "active"


# Used ------------------------------------------------------------------------------------------------------------


async def test_ses_06_a_request_takes_what_it_may_cost_and_is_debited_what_it_did():
    """SES-12: estimated and set aside, judged, done, and only then reconciled."""
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        job_id, told = await holder.requests(98)
        assert told == []
        assert await holder.has() == 400
        await world.accept(job_id)
        assert await holder.has() == 400
        await world.answer(job_id, 48)
        job = await world.job(job_id)
        assert (str(job.state), job.charge_eval + job.charge_work) == ("complete", msats_from_sats(50))
        assert await holder.has() == 450
        assert (await world.store.story(job_id)).refunds == ()


async def test_ses_22_the_pool_has_ten_percent_of_the_debit_in_whole_sats():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        await holder.is_served(98, 57)
        assert await world.pool() == 10_005


async def test_ses_21_credit_that_covers_the_estimate_to_the_last_sat_is_enough():
    async with generosity() as world:
        holder = await Holder(world).opens(100)
        assert (await holder.requests(98))[1] == []
        assert await holder.has() == 0


async def test_ses_13_21_where_it_does_not_the_model_is_not_called_and_nothing_moves():
    async with generosity() as world:
        holder = await Holder(world).opens(100)
        job_id, told = await holder.requests(99)
        assert code(told) == "insufficient_credit"
        assert "101 sats" in told[0].sentence
        assert await world.store.job(job_id) is None
        assert await holder.has() == 100
        assert not [a for a in await world.store.pending() if a.kind == "RunAgent"]


async def test_ses_21_of_twenty_at_once_as_many_run_as_the_credit_covers():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        asked = await asyncio.gather(*(holder.requests(98) for _ in range(20)))
        jobs = [await world.store.job(job_id) for job_id, _ in asked]
        assert len([job for job in jobs if job]) == 5
        assert await holder.has() == 0


async def test_ses_25_a_text_that_is_too_long_is_refused_and_the_balance_unchanged():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        assert code((await holder.requests(9, text="x" * 501))[1]) == "too_long"
        assert code((await holder.requests(9, text=" "))[1]) == "empty"
        assert (await holder.requests(9, text="x" * 500))[1] == []
        assert await holder.has() == 489


async def test_a_request_that_is_rejected_costs_the_eval_fee():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        job_id, _ = await holder.requests(98)
        await world.reject(job_id)
        assert await holder.has() == 498
        assert (await world.job(job_id)).charge_eval == msats_from_sats(2)


@pytest.mark.parametrize("step", Step)
async def test_a_request_that_fails_costs_nothing(step):
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        job_id, _ = await holder.requests(98)
        if step is Step.WORK:
            await world.accept(job_id)
        await world.fail(job_id, step)
        assert (await holder.has(), await world.pool()) == (500, 10_000)
        assert (await world.job(job_id)).charge_eval == 0


async def test_what_overran_the_estimate_is_our_own_loss():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        job = await holder.is_served(98, 150)
        assert (await holder.has(), job.shortfall) == (400, msats_from_sats(52))


async def test_another_sessions_credit_and_the_keys_own_are_left_alone():
    async with generosity() as world:
        alice = await world.key("new")
        await world.credit(alice, 500)
        one, other = await Holder(world, alice).opens(100), await Holder(world, alice).opens(500)
        assert code((await one.requests(200))[1]) == "insufficient_credit"
        await other.is_served(98, 48)
        assert [await one.has(), await other.has(), await world.balance(accounts.customer(alice))] == [
            100,
            450,
            500,
        ]


# The pool --------------------------------------------------------------------------------------------------------

ROWS = [
    # name, tier, used before, pool, work estimate, actual work, absorbed, debited
    ("SES-16 all of it", "trusted", 0, 10_000, 60, 53, 55, 0),
    ("SES-16 not all of it", "trusted", 160, 10_000, 60, 53, 40, 15),
    ("all of the estimate", "trusted", 0, 10_000, 60, 60, 60, 2),
    ("SES-14 cheaper", "established", 0, 10_000, 48, 28, 30, 0),
    ("partly, dear", "established", 20, 10_000, 60, 60, 30, 32),
    ("partly, cheap", "established", 20, 10_000, 60, 18, 20, 0),
    ("a small pool", "trusted", 0, 25, 60, 53, 25, 30),
    ("new", "new", 0, 10_000, 60, 53, 0, 55),
    ("no pool", "trusted", 0, 0, 60, 53, 0, 55),
]


@pytest.mark.parametrize(
    ("tier", "used", "pool", "work", "actual", "absorbed", "debited"),
    [row[1:] for row in ROWS],
    ids=[row[0] for row in ROWS],
)
async def test_ses_15_16_what_the_pool_absorbs_the_session_is_not_debited(
    tier, used, pool, work, actual, absorbed, debited
):
    async with generosity() as world:
        alice = await world.key(tier)
        holder = await Holder(world, alice).opens(500)
        await world.use(alice, used)
        if pool < 10_000:
            await world.drain(pool)
        before = await world.pool()
        job = await holder.is_served(work, actual)
        assert (job.absorbed_sats, await holder.has()) == (absorbed, 500 - debited)
        assert await world.pool() == before - absorbed + debited // 10
        assert absorbed + debited == actual + 2
        assert await world.used(alice) == used + absorbed


async def test_ses_17_a_part_is_advisory_until_the_model_returned():
    async with generosity() as world:
        alice = await world.key("established")
        holder = await Holder(world, alice).opens(100)
        job_id, _ = await holder.requests(98)
        assert (await holder.has(), await world.pool()) == (50, 10_000)
        await world.accept(job_id)
        assert (await world.pool(), await world.used(alice)) == (10_000, 0)
        await world.answer(job_id, 78)
        assert (await holder.has(), await world.used(alice)) == (70, 50)


@pytest.mark.parametrize(("deposit", "left", "short"), [(500, 420, 0), (100, 20, 0), (160, 80, 0)])
async def test_ses_18_a_pool_that_is_empty_when_the_work_is_done_leaves_all_of_it_to_the_session(
    deposit, left, short
):
    async with generosity() as world:
        alice = await world.key("established")
        holder = await Holder(world, alice).opens(deposit)
        job_id, _ = await holder.requests(98)
        await world.accept(job_id)
        await world.drain(0)
        await world.answer(job_id, 78)
        job = await world.job(job_id)
        assert (job.absorbed_sats, await holder.has(), job.shortfall // 1_000) == (0, left, short)


async def test_ses_21_what_neither_pool_nor_session_has_is_our_own_loss_and_nobody_is_below_nothing():
    async with generosity() as world:
        alice = await world.key("established")
        holder = await Holder(world, alice).opens(150)
        one, _ = await holder.requests(98)
        two, _ = await holder.requests(98)
        assert await holder.has() == 0
        await world.accept(one)
        await world.accept(two)
        await world.drain(0)
        await world.answer(one, 78)
        assert (await world.job(one)).shortfall == msats_from_sats(30)
        await world.fail(two)
        assert await holder.has() == 100


async def test_what_the_pool_offers_to_requests_of_one_key_at_once_stays_within_its_day():
    async with generosity() as world:
        alice = await world.key("established")
        holder = await Holder(world, alice).opens(240)
        jobs = [job_id for job_id, told in [await holder.requests(60) for _ in range(20)] if not told]
        assert (len(jobs), await holder.has()) == (4, 42)  # 12 beside the pool's 50, then three of the whole price
        for job_id in jobs:
            await world.accept(job_id)
            await world.answer(job_id, 60)
        assert await world.balance(accounts.SHORTFALL) == 0
        assert (await world.used(alice), await holder.has()) == (50, 42)


async def test_ses_19_what_was_set_aside_for_work_that_fails_is_the_pools_again():
    async with generosity() as world:
        alice = await world.key("trusted")
        holder = await Holder(world, alice).opens(500)
        job_id, _ = await holder.requests(60)
        assert (await world.pool(), await holder.has()) == (9_940, 498)
        await world.accept(job_id)
        await world.fail(job_id)
        assert (await world.pool(), await holder.has(), await world.used(alice)) == (10_000, 500, 0)


async def test_a_trusted_key_needs_no_more_credit_than_the_pool_leaves_due():
    async with generosity() as world:
        alice = await world.key("trusted")
        holder = await Holder(world, alice).opens(100)
        await holder.is_served(98, 98)
        assert await holder.has() == 98
        await holder.is_served(198, 98)
        assert await holder.has() == 98


# Trust -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "points"), [("answer", 21), ("free", 20), ("reject", 15), ("fail", 19), ("fail_early", 19)]
)
async def test_ses_20_idn_21_22_each_end_of_a_request_moves_its_keys_trust_once(ends, points):
    async with generosity() as world:
        alice = await world.key("established")
        await world.use(alice, 0 if ends == "free" else 50)
        holder = await Holder(world, alice).opens(500)
        job_id, _ = await holder.requests(48)
        match ends:
            case "reject":
                await world.reject(job_id)
            case "fail_early":
                await world.fail_early(job_id)
            case "fail":
                await world.accept(job_id)
                await world.fail(job_id)
            case _:
                await world.accept(job_id)
                for _ in range(2):
                    await world.answer(job_id, 28)
        row = await world.store.look(lambda view: view.identity(alice))
        assert row.trust_score == points
