"""What the way back costs, and whose sats pay for it (money.md 5, Fees)."""

import pytest

from ledger.audit import audit
from ledger.money import Msats
from lightning import bolt11
from tests.flows.house import ALICE, a_house
from tests.flows.test_refund_addresses import Way, invoices_of, refund_is, sold
from tests.lnurl_server import ADDRESS, NAME, an_address
from timmy_dvm.core.actions import PriceTold, RefundMoved, Refused
from timmy_dvm.core.facts import CancelAsked, RefundClaimed


async def cancelled(house, **wishes):
    """A request that was paid in part and is taken back: its refund, which pays its own way."""
    job_id = await house.ask(**wishes)

    async def is_written():
        price = house.recorder.last(PriceTold)
        invoice = price and await house.store.invoice(price.payment_hash)
        return invoice is not None and invoice.job_id == job_id

    await house.until(is_written)
    price = house.recorder.last(PriceTold)
    house.wallet.settle(price.payment_hash, Msats(price.amount - 1_000))

    async def is_there():
        return await house.balance(f"job:{job_id}") > 0

    await house.until(is_there)
    job, now = await house.job(job_id), int(house.clock.now())
    await house.engine.handle(
        CancelAsked(event_id=job_id * 2, request_event_id=job.event_id, pubkey=ALICE, at=now)
    )
    return next(row for row in await house.store.refunds(open_only=False) if row.job_id == job_id)


async def claim(house, row, amount):
    text = house.customer.invoice(amount)
    job, now = await house.job(row.job_id), int(house.clock.now())
    payment_hash = bolt11.decode(text).payment_hash
    fact = RefundClaimed(
        event_id=payment_hash, request_event_id=job.event_id, pubkey=ALICE, bolt11=text, payment_hash=payment_hash,
        amount=amount, rail_ok=True, expires_at=now + 3_600, origin="{}", at=now,
    )  # fmt: skip
    await house.engine.handle(fact)


async def test_paying_and_cancelling_in_a_loop_against_a_dear_last_hop_costs_us_nothing(tmp_path):
    url = f"sqlite:///{tmp_path / 'timmy.db'}"
    async with a_house(url) as house:
        house.wallet.fee_msat = Msats(1_999)
        for done in range(1, 6):
            row = await cancelled(house)
            assert row.kept_for_way == row.amount - row.sendable >= 2_000
            await claim(house, row, row.sendable)
            await refund_is(house, *["sent"] * done)
            assert await house.balance("routing_fees") == 0
            assert await house.balance(f"customer:{ALICE}") == done * (row.kept_for_way - 1_999)
            await house.clock.advance(61)
        await house.books_are_right()
    assert not audit(tmp_path / "timmy.db")


async def test_a_cancelled_request_is_told_what_it_can_claim_and_only_that_is_paid():
    async with a_house() as house:
        row = await cancelled(house)
        told = house.recorder.last(Refused).sentence
        assert f"{row.sendable // 1_000} sats are yours" in told
        assert f"Up to {-(-row.kept_for_way // 1_000)} more of your sats pay for the way" in told
        await claim(house, row, row.amount)
        assert house.recorder.last(Refused).code == "wrong_amount"
        assert house.customer.received == {}


@pytest.mark.parametrize("fee", [0, 1_000])
async def test_at_an_address_a_cancelled_request_pays_its_own_way(fee):
    way = Way()
    async with a_house(fetch=way) as house, an_address(invoices_of(house)) as service:
        way.ports[NAME] = service.port
        house.wallet.fee_msat = Msats(fee)
        row = await cancelled(house, refund_to=ADDRESS)
        await refund_is(house, "sent")
        assert list(house.customer.received.values()) == [row.sendable]
        assert await house.balance("routing_fees") == 0
        assert await house.balance(f"customer:{ALICE}") == row.kept_for_way - fee
        await house.books_are_right()


async def test_a_way_dearer_than_what_is_kept_for_it_is_not_gone_and_the_money_stays_whole():
    async with a_house() as house:
        row = await cancelled(house)
        house.wallet.fee_msat = Msats(row.kept_for_way + 1)
        await claim(house, row, row.sendable)
        (owed,) = await refund_is(house, "owed", tries=1)
        assert await house.balance(f"refund:{row.id}") == row.amount == owed.amount
        house.wallet.fee_msat = Msats(row.kept_for_way)
        await house.clock.advance(60)
        await refund_is(house, "sent")
        await house.books_are_right()


async def test_a_way_dearer_than_what_we_pay_is_gone_at_the_customers_cost_after_it_was_said(tmp_path):
    url = f"sqlite:///{tmp_path / 'timmy.db'}"
    async with a_house(url) as house:
        await sold(house)
        (row,) = await refund_is(house, "held")
        house.wallet.fee_msat = Msats(4_000)
        await claim(house, row, row.amount)
        for tries, pause_s in enumerate((60, 600, 3_600, 21_600), start=1):
            await refund_is(house, "owed", tries=tries)
            await house.clock.advance(pause_s)
        (row,) = await refund_is(house, "held", tries=5)
        assert row.amount - row.sendable == row.kept_for_way == 5_000
        assert "Up to 5 more of your sats pay for the way" in house.recorder.last(RefundMoved).sentence
        await claim(house, row, row.sendable)
        await refund_is(house, "sent")
        assert list(house.customer.received.values()) == [row.sendable]
        assert await house.balance("routing_fees") == 0
        assert await house.balance(f"customer:{ALICE}") == 1_000
        await house.books_are_right()
    assert not audit(tmp_path / "timmy.db")
