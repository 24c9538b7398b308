"""Death before and after every step of an account's life: filled, drawn on, paid out and forgotten, each once.

As everywhere (``lives``) one process plays all lives of a Timmy. Customer, wallet and relays live on, and in
each life the relays tell the customer's events again.
"""

import pytest

from ledger import accounts
from ledger.audit import audit
from ledger.money import msats_from_sats
from ledger.records import JobState, RefundState
from ledger.sqlite import open_ledger
from lightning.backend import Sent
from tests.flows import lives
from tests.flows.account import Account, event_id
from tests.flows.house import House
from tests.flows.lives import PATIENCE_S, SHARDS, die_at_each_step, die_twice

TOPUP, PAYOUT = 500, 100


class World(lives.World):
    """What is outside, and what is on disk."""

    async def _ask_pay_and_claim(self, house: House) -> None:
        account = Account(house)
        await house.engine.handle(account.topup(TOPUP))
        await house.until(lambda: self._published("PriceTold"), PATIENCE_S)
        topup = await house.store.look(lambda view: view.topup_of_event(event_id("topup")))
        if str((await self._wallet.lookup_invoice(topup.payment_hash)).state) == "open":
            self._customer.pays((await house.store.invoice(topup.payment_hash)).bolt11)
        await house.until(lambda: self._published("CreditAdded"), PATIENCE_S)

        await house.engine.handle(self._request())
        await house.until(lambda: self._published("Delivered"), PATIENCE_S)

        self._claim = self._claim or self._customer.invoice(msats_from_sats(PAYOUT), expiry_s=7_200)
        await house.engine.handle(account.payout(self._claim))
        while (row := await self._payout(house.store)).state is not RefundState.SENT:
            await house.dispatch.idle()
            if row.state is RefundState.IN_DOUBT:
                await self._clock.advance(60)
            await house.until(lambda: True)

        async def all_is_delivered() -> bool:
            return all(row.kind != "Publish" for row in await house.store.pending())

        await house.until(all_is_delivered, PATIENCE_S)
        await account.forgets()
        await house.until(all_is_delivered, PATIENCE_S)

    async def _payout(self, store):
        (row,) = [row for row in await store.refunds(open_only=False) if row.job_id is None]
        return row

    async def is_settled_once(self) -> None:
        """One invoice, one credit, one job, one pay-out; forgotten, and the books balanced."""
        assert audit(self._file) == []
        store = open_ledger(f"sqlite:///{self._file}", read_only=True)
        try:
            (job,) = await store.jobs(limit=10)
            story = await store.story(job.id)
            topup = await store.look(lambda view: view.topup_of_event(event_id("topup")))
            payout = await self._payout(store)
            balances = await store.balances()
        finally:
            await store.close()
        state = self._wallet._state
        assert list(state.invoices) == [row.payment_hash for row in state.settlements] == [topup.payment_hash]
        said = ("PriceTold", "CreditAdded", "Delivered", "RefundMoved")
        assert [len(self._published(message)) for message in said] == [1, 1, 1, 1]
        assert topup.ended_at is not None
        assert job.state is JobState.COMPLETE
        assert story.texts.forgotten
        assert [event.json for event, _ in story.events] == [""] * len(story.events)
        charge = job.charge_eval + job.charge_work
        assert balances["earned"] == charge - job.pool_credit
        left = msats_from_sats(TOPUP) - charge - msats_from_sats(PAYOUT)
        assert balances[accounts.customer(job.pubkey)] == left
        sent = [(p.state, p.payment_hash, p.amount_msat) for p in state.payments.values()]
        assert sent == [(Sent.SUCCEEDED, payout.payment_hash, msats_from_sats(PAYOUT))]
        assert list(self._customer.received.values()) == [msats_from_sats(PAYOUT)]
        assert -balances["node"] == await self._wallet.balance_msat()


@pytest.mark.parametrize("shard", range(SHARDS))
async def test_dead_at_any_step_the_next_life_settles_everything_once(tmp_path, shard):
    await die_at_each_step(World, tmp_path, shard, least=60)


@pytest.mark.parametrize("shard", range(SHARDS))
async def test_dead_again_at_any_step_of_the_next_life_all_the_same(tmp_path, shard):
    await die_twice(World, tmp_path, shard)
