"""The watchdog beside the production wallet steps: a sat taken behind our back stops payouts within a minute."""

import asyncio
import contextlib
import logging

import pytest

from ledger.money import Msats
from lightning.errors import WalletUnavailable
from lightning.simulated import Outcome
from tests.flows.account import Account
from tests.timmy_dvm.by_hand import by_hand
from timmy_dvm.core.actions import CreateInvoice, PayRefund
from timmy_dvm.solvency import CONFIRM_S, EVERY_S, Watchdog
from timmy_dvm.wallet import WalletSteps

TIMEOUT_S = 10


@contextlib.asynccontextmanager
async def watched():
    async with asyncio.timeout(TIMEOUT_S), by_hand() as house:
        house.watchdog = Watchdog(house.store, house.wallet, house.clock)
        house.steps = WalletSteps(house.wallet, house.store, house.engine, house.clock, house.watchdog.alarm)
        yield house


@contextlib.asynccontextmanager
async def on_watch(house):
    running = asyncio.create_task(house.watchdog.run())
    await house.clock.wait_for_sleepers(1)
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def passes(house, seconds):
    for _ in range(seconds):
        await house.clock.advance(1)
        await house.clock.wait_for_sleepers(1)


async def holds(house, off_by):
    """The wallet holds that much more than it should, in msat."""
    house.wallet.stale_balance_msat = None
    house.wallet.stale_balance_msat = Msats(await house.wallet.balance_msat() + off_by)


def errors(caplog):
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_wallet_that_is_as_the_books_say_raises_no_alarm(caplog):
    async with watched() as house:
        await house.claimed()
        async with on_watch(house):
            await passes(house, 2 * EVERY_S)
        assert house.watchdog.alarm() == ""
        assert not errors(caplog)


async def test_one_sat_taken_behind_our_back_is_noticed_within_60_seconds(caplog):
    async with watched() as house, on_watch(house):
        await holds(house, -1_000)
        await passes(house, 60)
        assert "holds 1 sats less" in house.watchdog.alarm()
        assert len([line for line in errors(caplog) if "less than the books say" in line]) == 1


async def test_while_it_lasts_no_invoice_is_made_and_no_refund_leaves():
    async with watched() as house:
        await house.ask()
        row_id, wanted = await house.row(CreateInvoice)
        await holds(house, -1_000)
        async with on_watch(house):
            await passes(house, 60)
        assert not await house.steps.create_invoice(row_id, wanted)
        house.wallet.stale_balance_msat = None
        await _looks(house)
        assert await house.steps.create_invoice(row_id, wanted)


async def _looks(house):
    looking = asyncio.create_task(house.watchdog.look())
    while not looking.done():
        await house.clock.advance(CONFIRM_S)
    await looking


async def test_a_refund_that_was_claimed_waits_until_the_wallet_is_whole_again():
    async with watched() as house:
        row_id, refund = await house.claimed()
        (row,) = await house.store.refunds(open_only=True)
        await holds(house, -row.amount - row.max_fee - 1)  # more than this refund could explain
        await _looks(house)
        with pytest.raises(WalletUnavailable, match="less than the books say"):
            await house.steps.pay_refund(row_id, refund, interrupted=False)
        assert house.wallet.paid == []
        assert not await house.is_started(row_id)
        house.wallet.stale_balance_msat = None
        await _looks(house)
        await house.steps.pay_refund(row_id, refund, interrupted=False)
        assert await house.refund_state() == "sent"


@pytest.mark.parametrize("outcome", [Outcome.IN_FLIGHT, Outcome.UNKNOWN, Outcome.UNKNOWN_THEN_SUCCEEDED])
async def test_a_payment_that_is_not_booked_yet_is_no_theft(outcome):
    async with watched() as house:
        await house.in_doubt(outcome)
        await _looks(house)
        assert house.watchdog.alarm() == ""


@pytest.mark.parametrize("outcome", [Outcome.IN_FLIGHT, Outcome.UNKNOWN_THEN_SUCCEEDED])
async def test_of_credit_on_its_way_out_the_fee_is_in_the_sum(outcome, caplog):
    """A sat more than that is missing, and a sat less is none of it."""
    async with watched() as house:
        account = Account(house)
        await account.is_credited(500)
        house.wallet.next_outcomes.append(outcome)
        await account.takes_out(400)
        row_id, refund = await house.row(PayRefund)
        await house.steps.pay_refund(row_id, refund, interrupted=False)
        await _looks(house)
        assert house.watchdog.alarm() == ""
        assert not errors(caplog)
        await holds(house, -5_000)
        await _looks(house)
        assert house.watchdog.alarm()


async def test_a_difference_that_goes_away_by_itself_is_none():
    async with watched() as house:
        await holds(house, -1_000)
        looking = asyncio.create_task(house.watchdog.look())
        await house.clock.wait_for_sleepers(1)
        house.wallet.stale_balance_msat = None
        await house.clock.advance(CONFIRM_S)
        await looking
        assert house.watchdog.alarm() == ""


async def test_a_wallet_that_answers_nothing_neither_raises_the_alarm_nor_ends_it():
    async with watched() as house:
        house.wallet.down = True
        await _looks(house)
        assert house.watchdog.alarm() == ""
        house.wallet.down = False
        await holds(house, -1_000)
        await _looks(house)
        house.wallet.down = True
        await _looks(house)
        assert house.watchdog.alarm()


async def test_more_than_the_books_say_warns_once_and_stops_nothing(caplog):
    async with watched() as house:
        await holds(house, 5_000)
        await _looks(house)
        await _looks(house)
        assert house.watchdog.alarm() == ""
        assert len([line for line in errors(caplog) if "more than the books say" in line]) == 1
