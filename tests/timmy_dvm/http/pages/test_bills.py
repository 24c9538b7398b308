"""What a pay page may show of a job: the invoice that is open, and nothing of one that is paid or none."""

from lightning import bolt11
from tests.timmy_dvm.http.door import a_door
from timmy_dvm.http.pages.bills import bills_of


async def test_a_job_that_waits_shows_its_invoice_and_a_paid_one_shows_none():
    async with a_door() as door:
        bill = bills_of(door.services)
        asked = await door.ask(pay="once")
        shown = await bill(asked["jobId"])
        assert shown.payment_request == asked["evalInvoice"]["paymentRequest"]
        assert shown.amount_sats * 1_000 == bolt11.decode(shown.payment_request).amount_msat
        await door.pay(asked["evalInvoice"])
        await door.reach(asked["jobId"], "complete")
        assert (await bill(asked["jobId"])).payment_request is None


async def test_a_job_that_is_none_has_no_bill():
    async with a_door() as door:
        assert await bills_of(door.services)("0" * 32) is None
