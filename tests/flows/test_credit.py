"""A key's own credit, money first: what came is there, what is used or taken out is gone, and nothing else."""

import asyncio

import pytest

from ledger.audit import audit
from ledger.money import Msats, msats_from_sats
from lightning.backend import Sent
from lightning.simulated import Outcome
from tests.flows.account import Account
from tests.flows.house import ALICE, a_house
from timmy_dvm.agent.offline import OfflineAgent
from timmy_dvm.core.actions import CreditAdded, Delivered, OperationDone, PriceTold, RefundMoved, Refused, Working

BOB = "b" * 64


async def refund_state(house, refund_id):
    row = await house.store.look(lambda view: view.refund(refund_id))
    return str(row.state)


async def came_to_rest(house, refund_id, state):
    async def there():
        return await refund_state(house, refund_id) == state

    await house.until(there)


# In --------------------------------------------------------------------------------------------------------------


async def test_a_topup_is_answered_paid_credited_and_told_and_the_next_job_needs_no_invoice():
    async with a_house() as house:
        alice = Account(house)
        told = await alice.tops_up(500)
        assert told == CreditAdded(added=msats_from_sats(500), credit=msats_from_sats(500))
        answer = house.recorder.last(OperationDone)
        assert (answer.body["op"], answer.body["amountSats"]) == ("topup", 500)
        assert answer.body["invoice"]["paymentRequest"] == house.recorder.last(PriceTold).bolt11
        prices = [message for message in house.recorder.said if isinstance(message, PriceTold)]
        job_id = await house.ask()
        await house.state_is(job_id, "complete")
        assert [message for message in house.recorder.said if isinstance(message, PriceTold)] == prices
        assert house.recorder.last(Working).covered_by == "credit"
        job = await house.job(job_id)
        spent = job.charge_eval + job.charge_work
        assert 0 < spent < job.share_eval + job.share_work
        assert await alice.balance() == msats_from_sats(500) - spent
        await house.books_are_right()


@pytest.mark.parametrize("msat", [1, 999, 1_000, 250_500, 999_999])
async def test_paid_too_little_or_too_much_what_came_is_credited(msat):
    async with a_house() as house:
        alice = Account(house)
        price = await alice.asks_to_top_up(500)
        house.wallet.settle(price.payment_hash, Msats(msat))
        assert (await alice.hears_of_credit()).added == msat
        assert await alice.balance() == msat


async def test_unpaid_it_ends_in_silence_and_paid_after_that_it_is_credited_all_the_same():
    async with a_house() as house:
        alice = Account(house)
        price = await alice.asks_to_top_up(500)
        said = len(house.recorder.said)
        await house.clock.advance(3_600 + 61)
        await house.until(
            lambda: house.store.look(lambda view: view.topup_of_invoice(price.payment_hash).ended_at)
        )
        assert len(house.recorder.said) == said
        house.wallet.settle(price.payment_hash)
        assert (await alice.hears_of_credit()).credit == msats_from_sats(500)
        await house.books_are_right()


async def test_a_payment_heard_of_twice_by_push_and_listing_is_credited_once():
    async with a_house() as house:
        alice = Account(house)
        price = await alice.asks_to_top_up(500)
        house.customer.pays(price.bolt11)
        house.wallet.push(price.payment_hash)
        await alice.hears_of_credit()
        house.wallet.push(price.payment_hash)
        await house.clock.advance(120)
        assert await alice.balance() == msats_from_sats(500)
        await house.books_are_right()


async def test_while_the_wallet_is_away_the_customer_waits_and_is_told_when_it_lasts_too_long():
    async with a_house() as house:
        alice = Account(house)
        house.wallet.down = True
        await house.engine.handle(alice.topup(500))
        await house.clock.advance(121)
        await house.until(lambda: house.recorder.last(Refused))
        assert house.recorder.last(Refused).code == "wallet_away"
        house.wallet.down = False
        await alice.tops_up(300, "again")
        assert await alice.balance() == msats_from_sats(300)


async def test_a_short_absence_of_the_wallet_is_not_noticed():
    async with a_house() as house:
        alice = Account(house)
        house.wallet.down = True
        await house.engine.handle(alice.topup(500))
        await house.clock.advance(10)
        house.wallet.down = False
        await house.clock.advance(10)
        await house.until(lambda: house.recorder.last(PriceTold))


async def test_taken_back_it_frees_its_place_and_paid_all_the_same_it_is_credited():
    async with a_house() as house:
        alice = Account(house)
        for number in range(3):
            price = await alice.asks_to_top_up(500, f"topup {number}")
        await house.engine.handle(alice.topup(500, "one too many"))
        assert house.recorder.last(Refused).code == "too_many_open"
        await alice.cancels("topup 2")
        await alice.asks_to_top_up(100, "in its place")
        house.customer.pays(price.bolt11)
        assert (await alice.hears_of_credit()).credit == msats_from_sats(500)


async def test_unpaid_jobs_and_topups_share_a_keys_places():
    async with a_house() as house:
        alice = Account(house)
        await house.ask()
        await alice.asks_to_top_up(100, "one")
        await alice.asks_to_top_up(100, "two")
        await house.ask()
        assert house.recorder.last(Refused).code == "too_many_open"


# Out -------------------------------------------------------------------------------------------------------------


async def test_taken_out_it_is_debited_sent_at_its_own_cost_and_told():
    async with a_house() as house:
        alice = Account(house)
        await alice.tops_up(500)
        house.wallet.fee_msat = 1_500
        refund_id = await alice.takes_out(400)
        assert await alice.balance() <= msats_from_sats(100)
        await came_to_rest(house, refund_id, "sent")
        assert list(house.customer.received.values()) == [msats_from_sats(400)]
        assert await alice.balance() == msats_from_sats(500) - msats_from_sats(400) - 1_500
        moved = house.recorder.last(RefundMoved)
        assert (moved.state, moved.sats) == ("sent", 400)
        assert "routing_fees" not in {name for name, held in (await house.store.balances()).items() if held}
        await house.books_are_right()


async def test_of_fifty_claims_at_once_one_is_paid(tmp_path):
    async with a_house(f"sqlite:///{tmp_path / 'timmy.db'}") as house:
        alice = Account(house)
        await alice.tops_up(500)
        claims = [
            alice.payout(house.customer.invoice(msats_from_sats(300)), f"claim {number}") for number in range(50)
        ]
        await asyncio.gather(*(house.engine.handle(claim) for claim in claims))
        refused = [message.code for message in house.recorder.said if isinstance(message, Refused)]
        await house.until(lambda: house.customer.received)
        await house.dispatch.idle()
        assert len(refused) == 49
        assert list(house.customer.received.values()) == [msats_from_sats(300)]
        assert await alice.balance() == msats_from_sats(200)
        await house.books_are_right()
    assert audit(tmp_path / "timmy.db") == []


async def test_credit_on_its_way_out_covers_no_job():
    async with a_house() as house:
        alice = Account(house)
        await alice.tops_up(30)
        topup = house.recorder.last(PriceTold)
        house.wallet.next_outcomes.append(Outcome.IN_FLIGHT)
        await alice.takes_out(28)
        await house.ask()
        await house.until(lambda: house.recorder.last(PriceTold) is not topup)
        assert house.recorder.last(PriceTold).credit == 0


async def test_credit_that_a_job_holds_is_not_paid_out():
    agent = OfflineAgent()
    agent.evaluate = lambda *_, **__: asyncio.Event().wait()
    async with a_house(agent=agent) as house:
        alice = Account(house)
        await alice.tops_up(30)
        job_id = await house.ask()
        await house.state_is(job_id, "evaluating")
        await alice.takes_out(28)
        refused = house.recorder.last(Refused)
        assert refused.code in ("wrong_amount", "nothing_owed")
        assert not house.customer.received


async def test_a_payment_that_failed_for_certain_is_credit_again_and_another_invoice_is_paid():
    async with a_house() as house:
        alice = Account(house)
        await alice.tops_up(500)
        house.wallet.next_outcomes.append(Outcome.FAILED)
        refund_id = await alice.takes_out(400, "one")
        await came_to_rest(house, refund_id, "credited")
        assert await alice.balance() == msats_from_sats(500)
        again = await alice.takes_out(400, "two")
        await came_to_rest(house, again, "sent")
        assert list(house.customer.received.values()) == [msats_from_sats(400)]
        await house.books_are_right()


@pytest.mark.parametrize("truth", [Sent.SUCCEEDED, Sent.FAILED])
async def test_a_payment_in_doubt_is_looked_up_and_frees_nothing_until_the_wallet_says(truth):
    async with a_house() as house:
        alice = Account(house)
        await alice.tops_up(500)
        house.wallet.next_outcomes.append(Outcome.IN_FLIGHT)
        refund_id = await alice.takes_out(400)
        await came_to_rest(house, refund_id, "in_doubt")
        assert await alice.balance() == msats_from_sats(96)
        await alice.takes_out(50, "another")
        assert house.recorder.last(Refused).code == "already_sending"
        row = await house.store.look(lambda view: view.refund(refund_id))
        house.wallet.resolve_payment(row.payment_hash, truth)
        await house.clock.advance(120)
        await came_to_rest(house, refund_id, "sent" if truth is Sent.SUCCEEDED else "credited")
        expected = 100 if truth is Sent.SUCCEEDED else 500
        assert await alice.balance() == msats_from_sats(expected)


async def test_one_keys_credit_is_nobody_elses():
    async with a_house() as house:
        alice, bob = Account(house), Account(house, BOB)
        await alice.tops_up(500)
        await bob.takes_out(10)
        assert house.recorder.last(Refused).code == "nothing_owed"
        await bob.cancels("topup")
        assert await alice.balance() == msats_from_sats(500)
        assert await bob.balance() == 0


# Forgotten -------------------------------------------------------------------------------------------------------


async def test_forgotten_nothing_of_a_job_is_left_but_its_books(tmp_path):
    async with a_house(f"sqlite:///{tmp_path / 'timmy.db'}") as house:
        alice = Account(house)
        await alice.tops_up(500)
        job_id = await house.ask("Whisper my secret word to me")
        await house.state_is(job_id, "complete")
        await house.until(lambda: house.recorder.last(Delivered))
        await house.dispatch.idle()
        before = await house.store.story(job_id)
        await alice.forgets()
        assert house.recorder.last(OperationDone).body == {"op": "forget", "forgottenJobs": 1, "moreJobs": False}
        after = await house.store.story(job_id)
        assert after.texts.forgotten
        assert [event.json for event, _ in after.events] == ["" for _ in before.events]
        assert (after.entries, after.refunds, after.invoices) == (before.entries, before.refunds, before.invoices)
        await alice.forgets("again")
        assert house.recorder.last(OperationDone).body == {"op": "forget", "forgottenJobs": 0, "moreJobs": False}
        await house.books_are_right()
    assert audit(tmp_path / "timmy.db") == []
    assert b"Whisper" not in (tmp_path / "timmy.db").read_bytes()


async def test_while_relays_are_away_what_was_said_is_delivered_first_and_then_forgotten():
    async with a_house() as house:
        alice = Account(house)
        await alice.tops_up(500)
        house.recorder.relays_up = False
        job_id = await house.ask()
        await house.state_is(job_id, "complete")
        await alice.forgets()
        story = await house.store.story(job_id)
        assert story.texts.forgotten
        assert all(event.json for event, _ in story.events)
        house.recorder.relays_up = True
        await house.clock.advance(30)

        async def all_forgotten():
            story = await house.store.story(job_id)
            return not any(event.json for event, _ in story.events)

        await house.until(all_forgotten)
        assert any(text.startswith("Delivered") for text in house.recorder.published)


async def test_with_something_open_or_owed_nothing_is_forgotten_and_it_is_told_what_comes_first():
    async with a_house() as house:
        alice = Account(house)
        job_id = await house.ask()
        price = await house.priced()
        await alice.forgets("one")
        assert "1 request of yours must end" in house.recorder.last(Refused).sentence
        house.customer.pays(price.bolt11)
        await house.state_is(job_id, "complete")
        await alice.forgets("two")
        assert "claim them (op refund)" in house.recorder.last(Refused).sentence
        assert (await house.store.texts(job_id)).request
        assert house.recorder.last(OperationDone) is None


async def test_paid_late_to_a_key_that_is_forgotten_the_money_is_booked_all_the_same():
    async with a_house() as house:
        alice = Account(house)
        await house.ask()
        price = await house.priced()
        await house.clock.advance(3_600 + 120)
        await house.until(lambda: house.store.look(lambda view: not view.unfinished_of(ALICE).payable_until))
        await alice.forgets()
        house.wallet.settle(price.payment_hash)
        await house.until(lambda: house.store.refunds(open_only=True))
        (refund,) = await house.store.refunds(open_only=True)
        assert (refund.amount, refund.reason) == (price.amount, "late")
        await house.books_are_right()
