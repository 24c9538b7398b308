"""Sessions in a whole Timmy: filled over Lightning, used, closed, across restarts; the books right at each end."""

import asyncio
import functools

import pytest

from ledger import accounts
from ledger.audit import audit
from ledger.money import Msats, msats_from_sats
from ledger.sqlite import open_ledger
from lightning import bolt11
from lightning.simulated import Outcome
from tests.flows.holder import Holder
from tests.flows.house import House, a_house
from timmy_dvm.agent.offline import OfflineAgent
from timmy_dvm.clock import ManualClock
from timmy_dvm.core.actions import Delivered
from timmy_dvm.core.policy import Policy

DAY = 86_400


async def test_a_session_is_opened_used_filled_and_closed_and_each_sat_is_where_it_belongs(tmp_path):
    async with a_house(f"sqlite:///{tmp_path / 'timmy.db'}") as house:
        holder = await Holder(house).opens(500)
        job = await holder.is_served()
        spent = job.charge_eval + job.charge_work
        assert 0 < spent < job.share_eval + job.share_work
        assert await holder.has() == msats_from_sats(500) - spent
        house.customer.pays(await holder.asks_to_top_up(300))
        await house.until(lambda: _has(holder, msats_from_sats(800) - spent))
        rest = (800 - spent // 1_000) * 100 // 101
        await holder.closes(rest)
        await holder.is_in("closed")
        await house.until(lambda: house.customer.received)
        assert list(house.customer.received.values()) == [msats_from_sats(rest)]
        assert await holder.has() == 0
        await house.dispatch.idle()
        await house.books_are_right()
    assert audit(tmp_path / "timmy.db") == []


async def _has(holder, msats) -> bool:
    return await holder.has() == msats


async def test_of_twenty_requests_at_once_those_that_the_credit_covers_are_served(tmp_path):
    """SES-21: over the real writer's thread, with real runs beside each other."""
    async with a_house(f"sqlite:///{tmp_path / 'timmy.db'}") as house:
        holder = await Holder(house).opens(100)
        asked = await asyncio.gather(*(holder.requests() for _ in range(20)))
        jobs = [job for job in [await house.store.job(job_id) for job_id in asked] if job]
        assert 0 < len(jobs) < 20
        for job in jobs:
            await house.state_is(job.id, "complete")
        ended = [await house.job(job.id) for job in jobs]
        assert await holder.has() == msats_from_sats(100) - sum(j.charge_eval + j.charge_work for j in ended)
        assert len([m for m in house.recorder.said if isinstance(m, Delivered)]) == len(jobs)
        await house.books_are_right()
    assert audit(tmp_path / "timmy.db") == []


@pytest.mark.parametrize(("text", "state", "debit"), [("[reject] x", "rejected", 2), ("[fail] x", "failed", 0)])
async def test_rejected_costs_the_eval_and_failed_nothing(text, state, debit):
    async with a_house() as house:
        holder = await Holder(house).opens(500)
        job = await holder.is_served(text)
        assert str(job.state) == state
        assert await holder.has() == msats_from_sats(500 - debit)
        await house.books_are_right()


@pytest.mark.parametrize("sats", [100, 101, 9_999, 50_000])
async def test_depositing_and_closing_in_a_loop_against_a_last_hop_that_takes_a_hundredth_costs_us_nothing(sats):
    async with a_house() as house:
        rest = sats * 100 // 101
        house.wallet.fee_msat = Msats(max(rest * 10, 1_999))  # less than two sats are within the least we keep
        if sats < 201:
            rest = sats - 2
        ours = accounts.OPERATOR, accounts.EARNED, accounts.SHORTFALL, accounts.ROUTING_FEES
        before, node = [await house.balance(each) for each in ours], await house.balance(accounts.NODE)
        for _ in range(4):
            holder = await Holder(house).opens(sats)
            await holder.closes(rest)
            await house.until(functools.partial(_all_is_sent, holder))
            assert [await house.balance(each) for each in ours] == before
        assert await house.balance(accounts.NODE) <= node  # a debit: what the wallet holds is no less
        await house.books_are_right()


async def _all_is_sent(holder) -> bool:
    return any(str(row.state) == "sent" for row in await holder.refunds())


async def test_unpaid_it_expires_and_paid_after_that_it_opens():
    async with a_house() as house:
        holder = Holder(house)
        invoice = await holder.asks(500)
        await house.clock.advance(600 + 61)
        await holder.is_in("expired")
        house.wallet.settle(bolt11.decode(invoice).payment_hash)
        await holder.is_in("active")
        assert await holder.has() == msats_from_sats(500)


async def test_nobody_there_for_thirty_days_it_is_closed_and_the_rest_is_its_owners():
    async with a_house() as house:
        holder = await Holder(house).opens(500)
        await house.clock.advance(15 * DAY)
        await holder.is_served()
        left = await holder.has()
        await house.clock.advance(15 * DAY + 60)
        await house.dispatch.idle()
        assert str((await holder.row()).state) == "active"
        await house.clock.advance(15 * DAY)
        await holder.is_in("closed")
        await holder.owes(f"held {left // 1_000}")
        await house.books_are_right()


async def test_a_rest_that_could_not_be_sent_is_held_and_sent_to_another_invoice():
    async with a_house() as house:
        holder = await Holder(house).opens(500)
        house.wallet.next_outcomes.append(Outcome.FAILED)
        await holder.closes(495)
        await holder.owes("held 499")
        await holder.closes(495)
        await holder.owes("sent 499", "held 4")
        assert list(house.customer.received.values()) == [msats_from_sats(495)]
        await house.books_are_right()


async def test_a_restart_goes_on_with_everything_a_session_was_in(tmp_path):
    """The deposit is paid, a request waits for the model and the idle look is due, all while nobody is there."""
    url, clock = f"sqlite:///{tmp_path / 'timmy.db'}", ManualClock()
    agent = OfflineAgent()
    agent.evaluate = lambda *_, **__: asyncio.Event().wait()
    policy = Policy(session_idle_s=3 * DAY)
    store = open_ledger(url)
    async with House(store, clock, agent=agent, policy=policy).living() as house:
        holder, later = await Holder(house).opens(500), Holder(house)
        invoice = await later.asks(300)
        job_id = await holder.requests()
        await house.state_is(job_id, "evaluating")
        wallet, customer = house.wallet, house.customer
    await store.close()
    customer.pays(invoice)
    store = open_ledger(url)
    again = House(store, clock, policy=policy, wallet=wallet)
    async with again.living() as house:
        holder.house = later.house = house
        await house.state_is(job_id, "complete")
        await later.is_in("active")
        assert await later.has() == msats_from_sats(300)
        await house.clock.advance(3 * DAY)
        await later.is_in("closed")
        await holder.is_in("closed")
        await house.books_are_right()
    await store.close()
    assert audit(tmp_path / "timmy.db") == []
