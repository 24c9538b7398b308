"""The steps that touch the wallet: an invoice is watched to its end, and no refund ever leaves twice or blind.

Ledger, engine and wallet are the real parts; each step is taken by hand, on a clock that stands still.
"""

import asyncio
import contextlib
import logging

import pytest

from ledger.money import Msats
from ledger.store import StoreUnavailable
from lightning.backend import InvoiceStatus, Paid, PayStatus, Sent
from lightning.errors import InvalidInvoice, WalletUnavailable
from lightning.simulated import Outcome
from tests.timmy_dvm.by_hand import by_hand
from timmy_dvm.core.actions import CheckInvoice, CreateInvoice, FindPayment, PriceTold, Refused
from timmy_dvm.core.facts import PaymentSeen

TIMEOUT_S = 10
DAY_S = 86_400
LIFE_LEFT_S = 30


# --- invoices are made


async def test_an_invoice_is_made_written_down_and_told():
    async with by_hand() as house:
        job_id = await house.ask()
        row_id, wanted = await house.row(CreateInvoice)
        assert await house.steps.create_invoice(row_id, wanted)
        (invoice,) = (await house.store.story(job_id)).invoices
        assert (invoice.amount, invoice.expires_at) == (wanted.amount, house.now + wanted.expiry_s)
        assert house.recorder.last(PriceTold).bolt11 == invoice.bolt11
        assert await house.is_done(row_id)


async def test_while_the_wallet_is_away_there_is_no_outcome_until_the_customers_patience_ends():
    async with by_hand() as house:
        job_id = await house.ask()
        row_id, wanted = await house.row(CreateInvoice)
        house.wallet.down = True
        await house.clock.advance(wanted.give_up_at - house.now - 1)
        assert not await house.steps.create_invoice(row_id, wanted)
        assert not await house.is_done(row_id)
        assert house.recorder.said == []
        await house.clock.advance(1)
        assert await house.steps.create_invoice(row_id, wanted)
        assert await house.is_done(row_id)
        assert house.recorder.last(Refused).code == "wallet_away"
        assert (await house.job(job_id)).state == "cancelled"


async def test_an_invoice_whose_answer_was_lost_is_the_one_that_is_told():
    async with by_hand() as house:
        await house.ask()
        row_id, wanted = await house.row(CreateInvoice)
        house.wallet.lose_creates = 1
        assert not await house.steps.create_invoice(row_id, wanted)
        await house.clock.advance(60)
        assert await house.steps.create_invoice(row_id, wanted)
        assert len(house.wallet._state.invoices) == 1
        assert house.recorder.last(PriceTold).payment_hash in house.wallet._state.invoices


@pytest.mark.parametrize(("life_left_s", "is_replaced"), [(LIFE_LEFT_S, False), (LIFE_LEFT_S - 1, True)])
async def test_an_invoice_that_has_hardly_any_life_left_is_replaced(life_left_s, is_replaced):
    async with by_hand() as house:
        await house.ask()
        row_id, wanted = await house.row(CreateInvoice)
        house.wallet.lose_creates = 1
        assert not await house.steps.create_invoice(row_id, wanted)
        (old,) = house.wallet._state.invoices
        await house.clock.advance(wanted.expiry_s - life_left_s)
        assert await house.steps.create_invoice(row_id, wanted)
        told = house.recorder.last(PriceTold)
        assert (told.payment_hash != old) is is_replaced
        assert told.expires_at - house.now == (wanted.expiry_s if is_replaced else life_left_s)


async def test_an_old_invoice_that_cannot_be_replaced_is_not_handed_out():
    async with by_hand() as house:
        await house.ask()
        row_id, wanted = await house.row(CreateInvoice)
        house.wallet.lose_creates = 1
        assert not await house.steps.create_invoice(row_id, wanted)
        await house.clock.advance(wanted.expiry_s)
        remembers = house.wallet.create_invoice

        async def makes_no_new_one(amount, **terms):
            if terms["key"] != wanted.key:
                raise WalletUnavailable("away; try again later")
            return await remembers(amount, **terms)

        house.wallet.create_invoice = makes_no_new_one
        assert await house.steps.create_invoice(row_id, wanted)
        assert house.recorder.last(PriceTold) is None
        assert house.recorder.last(Refused).code == "wallet_away"


# --- invoices are read when their time is over


async def overdue(house):
    """A job whose invoice has to be read: its id, the invoice, the outbox row and its action."""
    job_id, invoice = await house.asked()
    await house.overdue(job_id)
    return job_id, invoice, *(await house.row(CheckInvoice))


async def test_a_settled_invoice_is_paid_though_nobody_told_us():
    async with by_hand() as house:
        job_id, invoice, row_id, look = await overdue(house)
        house.customer.pays(invoice.bolt11, Msats(invoice.amount + 5_000))
        assert await house.steps.check_invoice(row_id, look)
        assert (await house.job(job_id)).state == "evaluating"
        assert await house.balance(f"job:{job_id}") == invoice.amount + 5_000
        assert await house.is_done(row_id)


@pytest.mark.parametrize("state", [Paid.OPEN, Paid.EXPIRED, Paid.CANCELED])
async def test_an_unpaid_invoice_ends_its_job_whatever_the_wallet_calls_that(state):
    async with by_hand() as house:
        job_id, invoice, row_id, look = await overdue(house)
        if state is Paid.EXPIRED:
            await house.clock.advance(invoice.expires_at - house.now)
        elif state is Paid.CANCELED:
            house.wallet.cancel(invoice.payment_hash)
        assert (await house.wallet.lookup_invoice(invoice.payment_hash)).state is state
        assert await house.steps.check_invoice(row_id, look)
        assert (await house.job(job_id)).state == "expired"
        assert await house.is_done(row_id)


async def test_money_that_is_held_on_its_way_is_waited_for():
    async with by_hand() as house:
        job_id, _, row_id, look = await overdue(house)
        await house.clock.advance(10 * DAY_S)
        house.wallet.says_of_invoice = InvoiceStatus(Paid.HELD)
        assert not await house.steps.check_invoice(row_id, look)
        assert (await house.job(job_id)).state == "awaiting_eval_payment"
        assert not await house.is_done(row_id)


async def test_an_invoice_the_wallet_does_not_know_is_waited_for_a_day_and_money_after_that_is_given_back():
    async with by_hand() as house:
        job_id, invoice, row_id, look = await overdue(house)
        house.wallet.lookups_unknown = True
        await house.clock.advance(invoice.expires_at + DAY_S - 1 - house.now)
        assert not await house.steps.check_invoice(row_id, look)
        assert (await house.job(job_id)).state == "awaiting_eval_payment"
        await house.clock.advance(1)
        assert await house.steps.check_invoice(row_id, look)
        assert (await house.job(job_id)).state == "expired"
        house.wallet.settle(invoice.payment_hash)
        await house.engine.handle(PaymentSeen(payment_hash=invoice.payment_hash, received=None, at=house.now))
        (refund,) = await house.store.refunds(open_only=True)
        assert (refund.amount, refund.reason) == (invoice.amount, "late")
        await house.books_are_right()


async def test_a_wallet_that_is_away_says_nothing_about_an_invoice():
    async with by_hand() as house:
        job_id, invoice, row_id, look = await overdue(house)
        await house.clock.advance(invoice.expires_at + 2 * DAY_S - house.now)
        house.wallet.down = True
        with pytest.raises(WalletUnavailable):
            await house.steps.check_invoice(row_id, look)
        assert (await house.job(job_id)).state == "awaiting_eval_payment"


# --- refunds are sent


async def test_a_refund_is_known_to_be_begun_before_it_leaves_and_arrives_once():
    async with by_hand() as house:
        row_id, refund = await house.claimed()
        noted = []

        async def look():
            noted.append(await house.is_started(row_id))

        house.wallet.before_paying = look
        await house.steps.pay_refund(row_id, refund, interrupted=False)
        assert noted == [True]
        assert await house.refund_state() == "sent"
        assert list(house.customer.received) == [refund.payment_hash]
        assert await house.is_done(row_id)
        await house.books_are_right()


async def test_what_cannot_be_noted_is_not_sent():
    async with by_hand() as house:
        row_id, refund = await house.claimed()
        house.store.fails["mark_started"] = 1
        with pytest.raises(StoreUnavailable):
            await house.steps.pay_refund(row_id, refund, interrupted=False)
        assert house.wallet.paid == []
        await house.steps.pay_refund(row_id, refund, interrupted=False)
        assert house.wallet.paid == [refund.bolt11]


async def test_what_was_sent_is_booked_when_the_ledger_is_back_and_not_sent_again():
    async with by_hand() as house:
        row_id, refund = await house.claimed()
        house.store.fails["commit"] = 3
        sending = asyncio.create_task(house.steps.pay_refund(row_id, refund, interrupted=False))
        async with asyncio.timeout(TIMEOUT_S):
            for pause_s in (0.5, 1, 2):
                await house.clock.wait_for_sleepers(1)
                assert await house.refund_state() == "sending"
                await house.clock.advance(pause_s)
            await sending
        assert await house.refund_state() == "sent"
        assert house.wallet.paid == [refund.bolt11]
        await house.books_are_right()


async def test_an_invoice_our_wallet_cannot_read_is_a_payment_that_failed():
    async with by_hand() as house:
        row_id, refund = await house.claimed()

        async def cannot_read():
            raise InvalidInvoice("a feature bit nobody knows")

        house.wallet.before_paying = cannot_read
        await house.steps.pay_refund(row_id, refund, interrupted=False)
        assert await house.refund_state() == "owed"
        assert (await house.store.refunds(open_only=True))[0].note == "a feature bit nobody knows"


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(None, "in_doubt"), (Outcome.SUCCEEDED, "sent"), (Outcome.FAILED, "owed"), (Outcome.IN_FLIGHT, "in_doubt")],
)
async def test_what_a_dead_process_began_is_looked_up_and_never_sent_blind(outcome, state):
    async with by_hand() as house:
        row_id, refund = await house.claimed()
        if outcome is not None:
            house.wallet.next_outcomes.append(outcome)
            await house.wallet.pay(refund.bolt11, max_fee_msat=Msats(0), key="died")
        house.wallet.paid.clear()
        await house.steps.pay_refund(row_id, refund, interrupted=True)
        assert house.wallet.paid == []
        assert await house.refund_state() == state


async def test_what_a_dead_process_began_is_in_doubt_while_the_wallet_is_away():
    async with by_hand() as house:
        row_id, refund = await house.claimed()
        house.wallet.down = True
        await house.steps.pay_refund(row_id, refund, interrupted=True)
        assert await house.refund_state() == "in_doubt"
        assert [action.bolt11 for _, action in await house.rows(FindPayment)] == [refund.bolt11]


async def test_a_send_that_was_cut_short_in_this_process_is_looked_up_too():
    async with by_hand() as house:
        row_id, refund = await house.claimed()
        on_its_way, never = asyncio.Event(), asyncio.Event()

        async def hangs():
            on_its_way.set()
            await never.wait()

        house.wallet.before_paying = hangs
        sending = asyncio.create_task(house.steps.pay_refund(row_id, refund, interrupted=False))
        async with asyncio.timeout(TIMEOUT_S):
            await on_its_way.wait()
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        await house.steps.pay_refund(row_id, refund, interrupted=False)
        assert house.wallet.paid == [refund.bolt11]
        assert await house.refund_state() == "in_doubt"


# --- payments in doubt are found


async def test_a_wallet_that_is_away_has_not_said_that_it_knows_nothing():
    async with by_hand() as house:
        row_id, sought = await house.in_doubt(Outcome.LOST)
        house.wallet.down = True
        await house.clock.advance(30 * DAY_S)
        with pytest.raises(WalletUnavailable):
            await house.steps.find_payment(row_id, sought)
        assert house.wallet.paid == [sought.bolt11]
        assert await house.refund_state() == "in_doubt"


async def test_what_the_wallet_does_not_know_for_long_goes_out_once_more_with_the_same_bolt11():
    async with by_hand() as house:
        row_id, sought = await house.in_doubt(Outcome.LOST)
        await house.clock.advance(sought.resend_until - 1 - house.now)
        assert not await house.steps.find_payment(row_id, sought)
        assert house.wallet.paid == [sought.bolt11]
        await house.clock.advance(1)
        assert await house.steps.find_payment(row_id, sought)
        assert house.wallet.paid == [sought.bolt11, sought.bolt11]
        assert await house.refund_state() == "sent"
        assert list(house.customer.received) == [sought.payment_hash]
        assert await house.is_done(row_id)
        await house.books_are_right()


async def test_a_payment_that_arrived_unseen_is_not_paid_again_by_the_second_send():
    async with by_hand() as house:
        row_id, sought = await house.in_doubt(Outcome.UNKNOWN_THEN_SUCCEEDED)
        before = dict(house.customer.received)
        house.wallet.lookups_unknown = True
        await house.clock.advance(sought.resend_until - house.now)
        assert await house.steps.find_payment(row_id, sought)
        assert await house.refund_state() == "sent"
        assert house.customer.received == before


@pytest.mark.parametrize("state", [Sent.IN_FLIGHT, Sent.UNKNOWN])
async def test_a_second_send_without_an_end_is_no_outcome(state):
    async with by_hand() as house:
        row_id, sought = await house.in_doubt(Outcome.LOST)
        house.wallet.next_outcomes.append(Outcome(state.value))
        await house.clock.advance(sought.resend_until - house.now)
        assert not await house.steps.find_payment(row_id, sought)
        assert await house.refund_state() == "in_doubt"
        assert not await house.is_done(row_id)


async def test_after_the_invoice_ended_the_money_is_free_only_after_a_day_of_silence():
    async with by_hand() as house:
        row_id, sought = await house.in_doubt(Outcome.LOST)
        house.wallet.lookups_unknown = True
        await house.clock.advance(sought.since + DAY_S - 1 - house.now)
        assert not await house.steps.find_payment(row_id, sought)
        assert await house.refund_state() == "in_doubt"
        await house.clock.advance(1)
        assert await house.steps.find_payment(row_id, sought)
        assert await house.refund_state() == "owed"
        assert house.customer.received == {}


@pytest.mark.parametrize(("end", "state"), [(Sent.SUCCEEDED, "sent"), (Sent.FAILED, "owed")])
async def test_what_is_in_flight_is_waited_for_and_its_end_is_what_the_wallet_says(end, state):
    async with by_hand() as house:
        row_id, sought = await house.in_doubt(Outcome.IN_FLIGHT)
        await house.clock.advance(sought.resend_until + DAY_S - house.now)
        assert not await house.steps.find_payment(row_id, sought)
        house.wallet.resolve_payment(sought.payment_hash, end)
        assert await house.steps.find_payment(row_id, sought)
        assert await house.refund_state() == state
        assert house.wallet.paid == [sought.bolt11]


async def test_a_fee_above_the_cap_is_booked_and_shouted_about(caplog):
    async with by_hand() as house:
        row_id, refund = await house.claimed()
        house.wallet.fee_msat, house.wallet.ignores_fee_limit = Msats(refund.max_fee + 1), True
        with caplog.at_level(logging.ERROR):
            await house.steps.pay_refund(row_id, refund, interrupted=False)
        (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
        assert record.getMessage() == "the wallet spent more on routing than it was allowed"
        assert (await house.store.refunds(open_only=False))[0].fee == refund.max_fee + 1
        await house.books_are_right()


async def test_a_fee_at_the_cap_is_nothing_to_shout_about(caplog):
    async with by_hand() as house:
        row_id, refund = await house.claimed()
        house.wallet.fee_msat = Msats(refund.max_fee)
        with caplog.at_level(logging.ERROR):
            await house.steps.pay_refund(row_id, refund, interrupted=False)
        assert await house.refund_state() == "sent"
        assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_a_fee_the_wallet_does_not_tell_is_booked_as_none():
    async with by_hand() as house:
        row_id, refund = await house.claimed()

        async def tells_no_fee(*_, **__):
            return PayStatus(Sent.SUCCEEDED)

        house.wallet.pay = tells_no_fee
        await house.steps.pay_refund(row_id, refund, interrupted=False)
        assert (await house.store.refunds(open_only=False))[0].fee == 0
