"""How a session ends: closed by its owner or by silence, its rest on its way back, and never ours.

The production engine over a real ledger; its books are audited at the end of each test.
"""

import dataclasses

import pytest

from ledger import accounts
from ledger.records import InvoiceState
from tests.timmy_dvm.generosity import POLICY, generosity, hexed
from tests.timmy_dvm.session_holder import Holder, code
from timmy_dvm.core.facts import PayResult

DAY = 86_400


# Closed ----------------------------------------------------------------------------------------------------------


async def test_closed_with_an_invoice_the_rest_is_sent_and_the_way_comes_out_of_it():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        (told,) = await holder.closes(495)
        assert (told.body["state"], told.body["refundAmountSats"], told.body["maxFeeSats"]) == ("closed", 495, 5)
        assert (await holder.state(), await holder.has()) == ("closed", 0)
        assert await holder.owed() == ["sending 499 closed"]
        await holder.sent(fee=1)
        assert await holder.owed() == ["sent 499 closed", "held 3 fee"]
        assert await world.balance("node") == -4


async def test_closed_without_one_the_rest_is_held_and_claimed_later():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        await holder.closes()
        assert await holder.owed() == ["held 500 closed"]
        assert code(await holder.closes(500)) == "wrong_amount"
        assert code(await holder.closes(494)) == "wrong_amount"
        assert (await holder.closes(495))[0].body["refundAmountSats"] == 495
        assert code(await holder.closes(495)) == "already_sending"
        await holder.sent()
        assert await holder.owed() == ["sent 500 closed", "held 5 fee"]
        assert (await holder.closes(3))[0].body["maxFeeSats"] == 2
        await holder.sent(fee=2)
        assert code(await holder.closes(3)) == "nothing_owed"
        assert await world.balance("node") == 0


@pytest.mark.parametrize("limits_fees", [True, False])
async def test_sats_too_few_for_a_way_are_sent_only_where_the_wallet_goes_none_that_costs(limits_fees):
    """Else depositing, closing in parts and claiming the last sats would have us pay for their way each time."""
    async with generosity(policy=dataclasses.replace(POLICY, wallet_limits_fees=limits_fees)) as world:
        holder = await Holder(world).opens(500)
        await holder.closes(495)
        await holder.sent(fee=2)
        assert await holder.owed() == ["sent 499 closed", "held 2 fee"]
        told = await holder.closes(2)
        if limits_fees:
            assert told[0].body["maxFeeSats"] == 0
        else:
            assert code(told) == "fee_reserve"
            assert await holder.owed() == ["sent 499 closed", "held 2 fee"]


async def test_whoever_lost_the_answer_and_sends_the_same_invoice_again_gets_it_and_is_paid_once():
    same = {"bolt11": "lnbc1same", "payment_hash": hexed("same")}
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        await holder.closes(200, **same)
        for _ in range(2):
            (again,) = await holder.closes(200, **same)
            assert (again.body["state"], again.body["refundAmountSats"]) == ("closed", 200)
            assert (again.body["maxFeeSats"], again.body["refundState"]) == (2, "pending")
        assert await holder.owed() == ["sending 202 closed", "held 298 closed"]
        await holder.sent()
        (again,) = await holder.closes(200, **same)
        assert (again.body["refundAmountSats"], again.body["refundState"]) == (200, "paid")
        assert await holder.owed() == ["sent 202 closed", "held 298 closed", "held 2 fee"]


async def test_an_invoice_whose_payment_failed_for_certain_is_not_taken_for_paid():
    same = {"bolt11": "lnbc1same", "payment_hash": hexed("same")}
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        await holder.closes(495, **same)
        await holder.sent(PayResult.FAILED)
        assert code(await holder.closes(495, **same)) == "used_invoice"


ADDRESS = "alice@example.com"


async def test_closed_with_an_address_that_is_asked_for_the_rest_less_what_the_way_may_cost():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        (told,) = await holder.closes(refund_to=ADDRESS)
        assert "the address you named" in told.body["message"]
        assert (await holder.row()).refund_to == ADDRESS
        assert await holder.owed() == ["owed 500 closed"]
        assert await holder.is_asked_for() == (ADDRESS, 495_000)
        await holder.address_gives(495)
        assert await holder.owed() == ["sending 500 closed"]
        await holder.sent(fee=2)
        assert await holder.owed() == ["sent 500 closed", "held 3 fee"]


async def test_an_address_that_gives_nothing_is_asked_again_and_its_owner_may_claim_meanwhile():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        await holder.closes(refund_to=ADDRESS)
        await holder.address_is_away()
        assert await holder.owed() == ["owed 500 closed"]
        assert [a.kind for a in await world.store.pending() if a.kind == "RetryRefund"] == ["RetryRefund"]
        await holder.closes(495)
        assert await holder.owed() == ["sending 500 closed"]
        await holder.sent(PayResult.FAILED)
        assert await holder.owed() == ["held 500 closed"]


async def test_what_an_address_was_sent_and_did_not_arrive_is_tried_there_again():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        await holder.closes(refund_to=ADDRESS)
        await holder.address_gives(495)
        await holder.sent(PayResult.FAILED)
        assert await holder.owed() == ["owed 500 closed"]
        assert (await holder.refunds())[0].target == ADDRESS


async def test_what_comes_later_goes_where_the_rest_went_and_what_is_too_small_for_a_way_is_held():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        late = await holder.bill((await holder.asks_to_top_up(300))[0])
        await holder.closes(refund_to=ADDRESS)
        await holder.settles(late, 300)
        assert await holder.owed() == ["owed 500 closed", "owed 300 late"]
        other = await Holder(world).opens(100)
        await other.is_served(96, 96)
        await other.closes(refund_to=ADDRESS)
        assert await other.owed() == ["held 2 closed"]


async def test_an_address_that_is_named_after_all_has_what_was_held():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        await holder.closes()
        await holder.closes(refund_to=ADDRESS)
        assert await holder.owed() == ["held 500 closed"]
        assert await holder.is_asked_for() == (ADDRESS, 495_000)
        await holder.address_gives(495)
        await holder.sent()
        assert await holder.owed() == ["sent 500 closed", "held 5 fee"]


async def test_an_invoice_for_a_part_goes_first_and_the_rest_to_the_address():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        await holder.closes(100, refund_to=ADDRESS)
        assert await holder.owed() == ["sending 102 closed", "owed 398 closed"]


async def test_closed_twice_it_only_says_how_it_stands():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        await holder.closes()
        (told,) = await holder.closes()
        assert (told.body["state"], told.body["refundState"]) == ("closed", "pending")
        assert await holder.owed() == ["held 500 closed"]


async def test_an_empty_session_is_closed_and_owes_nothing():
    async with generosity() as world:
        holder = await Holder(world).opens(100)
        await holder.is_served(98, 98)
        (told,) = await holder.closes(50)
        assert (told.body["refundState"], await holder.state()) == ("not_applicable", "closed")


@pytest.mark.parametrize(
    ("says", "sats", "changes"),
    [
        ("wrong_amount", 496, {}),
        ("wrong_amount", 0, {}),
        ("wrong_amount", 9, {"amount": None}),
        ("wrong_network", 495, {"rail_ok": False}),
        ("expires_too_soon", 495, {"expires_at": 0}),
    ],
)
async def test_an_invoice_that_can_not_be_paid_closes_nothing(says, sats, changes):
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        assert code(await holder.closes(sats, **changes)) == says
        assert (await holder.state(), await holder.has()) == ("active", 500)


async def test_our_own_invoice_and_one_used_before_are_refused():
    async with generosity() as world:
        holder, other = await Holder(world).opens(500), await Holder(world).opens(500)
        own = await holder.bill((await holder.asks_to_top_up())[0])
        assert code(await holder.closes(495, payment_hash=own)) == "own_invoice"
        await other.closes(495, payment_hash="0d" * 32)
        assert code(await holder.closes(495, payment_hash="0d" * 32)) == "used_invoice"


async def test_less_than_all_may_be_sent_and_the_rest_is_held():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        await holder.closes(100)
        assert await holder.owed() == ["sending 102 closed", "held 398 closed"]


@pytest.mark.parametrize("first", [PayResult.UNKNOWN, PayResult.IN_FLIGHT, PayResult.FAILED])
async def test_only_what_failed_for_certain_can_be_claimed_again(first):
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        await holder.closes(495)
        await holder.sent(first)
        failed = first is PayResult.FAILED
        assert await holder.owed() == ["held 499 closed" if failed else "in_doubt 499 closed"]
        if not failed:
            assert code(await holder.closes(495)) == "already_sending"
            await holder.sent(PayResult.FAILED)
        assert code(await holder.closes(494)) == "wrong_amount"
        assert (await holder.closes(495))[0].body["refundAmountSats"] == 495
        await holder.sent()
        assert (await holder.owed())[0] == "sent 499 closed"


async def test_a_session_that_is_closed_serves_no_more_and_what_comes_is_owed():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        late = await holder.bill((await holder.asks_to_top_up(300))[0])
        await holder.closes()
        assert code((await holder.requests(50))[1]) == "session_closed"
        assert code((await holder.asks_to_top_up())[1]) == "session_closed"
        await holder.settles(late, 300, msat=7)
        await holder.settles(late, 300, msat=7)
        assert await holder.owed() == ["held 500 closed", "held 300 late"]
        assert await world.store.look(lambda view: view.balance(accounts.POOL)) == 10_000_007


async def test_a_request_that_ends_after_its_session_did_gives_the_rest_to_its_owner():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        job_id, _ = await holder.requests(98)
        await world.accept(job_id)
        await holder.closes()
        await world.answer(job_id, 48)
        assert await holder.owed() == ["held 400 closed", "held 50 closed"]


async def test_small_change_of_a_closed_session_is_its_keys_own_credit():
    async with generosity() as world:
        alice = await world.key("new")
        holder = await Holder(world, alice).opens(100)
        await holder.is_served(88, 89)
        await holder.closes()
        assert await holder.owed() == ["held 10 closed"]
        other = await Holder(world, alice).opens(100)
        await other.is_served(89, 89)
        await other.closes()
        assert await other.owed() == ["credited 9 closed"]
        assert await world.balance(accounts.customer(alice)) == 9


# Idle ------------------------------------------------------------------------------------------------------------


async def test_a_session_that_nobody_used_for_thirty_days_is_closed_and_its_rest_owed():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        world.now += 10 * DAY
        await holder.is_served(98, 98)
        await holder.time_is_over()
        assert await holder.state() == "active"
        await holder.time_is_over()
        assert await holder.state() == "closed"
        assert world.now == (await holder.row()).used_at + 30 * DAY
        assert await holder.owed() == ["held 400 idle"]


async def test_a_payment_is_a_use_and_a_closed_session_is_looked_at_in_vain():
    async with generosity() as world:
        holder = await Holder(world).opens(500)
        world.now += 29 * DAY
        await holder.settles(await holder.bill((await holder.asks_to_top_up())[0]))
        await holder.time_is_over()
        assert await holder.state() == "active"
        await holder.closes()
        await holder.time_is_over()
        assert await holder.owed() == ["held 1000 closed"]


async def test_an_invoice_of_a_session_is_for_no_job_and_goes_to_its_account():
    async with generosity() as world:
        holder = Holder(world)
        await holder.asks()
        invoice = await world.store.invoice(await holder.bill(holder.deposit))
        assert (invoice.account, invoice.job_id, invoice.state) == (
            accounts.session(holder.id), None, InvoiceState.OPEN,
        )  # fmt: skip
        await holder.settles(invoice.payment_hash)
