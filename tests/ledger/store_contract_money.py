"""What a store promises of money: balances, entries, invoices and refunds. Part of `StoreContract`."""

import asyncio
import dataclasses

import pytest

from ledger import accounts
from ledger.accounts import POOL
from ledger.entries import Code, reverse
from ledger.money import Msats
from ledger.records import (
    Applied,
    InvoiceState,
    RefundState,
    Short,
    Stale,
)
from ledger.store import RuleBroken
from tests.ledger.books import (
    HASH,
    JOB,
    KEY,
    NOW,
    applied,
    balance,
    begun,
    identity,
    invoice,
    moves,
    new_job,
    paid_in,
    refund,
    write,
)


class MoneyContract:
    """Balances, floors, and entries that are booked once."""

    async def test_an_account_can_be_emptied_and_not_a_msat_more(self, store):
        await applied(store, entries=(paid_in(POOL, 100),))
        assert await write(store, entries=(moves(POOL, "session:a", 101),)) == Short(POOL)
        assert isinstance(await write(store, entries=(moves(POOL, "session:a", 100),)), Applied)
        assert await write(store, entries=(moves(POOL, "session:a", 1),)) == Short(POOL)
        assert (await balance(store, POOL), await balance(store, "session:a")) == (0, 100)

    async def test_a_short_change_leaves_no_trace(self, store):
        change = {"new_job": new_job(), "entries": (paid_in("job:x", 5), moves(POOL, "job:x", 1))}
        assert await write(store, fact_id="f", **change) == Short(POOL)
        assert await store.job(JOB) is None
        assert await balance(store, "job:x") == 0
        assert isinstance(await write(store, fact_id="f"), Applied)

    async def test_a_thousand_at_once_for_the_last_msat_and_one_gets_it(self, store):
        await applied(store, entries=(paid_in(POOL, 1),))
        outcomes = await asyncio.gather(
            *(write(store, entries=(moves(POOL, f"session:{n}", 1),)) for n in range(1_000))
        )
        assert sum(isinstance(outcome, Applied) for outcome in outcomes) == 1
        assert outcomes.count(Short(POOL)) == 999
        assert await balance(store, POOL) == 0

    async def test_assets_income_and_expenses_have_no_floor(self, store):
        await applied(store, entries=(paid_in("job:x", 5), moves(accounts.SHORTFALL, accounts.EARNED, 7)))
        balances = await store.balances()
        assert (balances["node"], balances["shortfall"], balances["earned"]) == (-5, -7, 7)

    async def test_entries_are_booked_in_their_order(self, store):
        passing_through = (paid_in("job:x", 5), moves("job:x", accounts.EARNED, 5))
        assert isinstance(await write(store, entries=passing_through), Applied)
        assert await write(
            store, entries=tuple(reversed((paid_in("job:y", 5), moves("job:y", POOL, 5))))
        ) == Short("job:y")

    async def test_the_same_entry_is_never_booked_twice(self, store):
        await applied(store, entries=(paid_in(POOL, 5, "settled:h"),))
        with pytest.raises(RuleBroken, match=r"entries\.entry_id"):
            await write(store, entries=(paid_in(POOL, 5, "settled:h"),))
        assert await balance(store, POOL) == 5

    async def test_a_reversal_puts_everything_back(self, store):
        wrong = paid_in("job:x", 5)
        await applied(store, entries=(wrong, reverse(wrong, "reversal:1", "never paid")))
        assert await balance(store, "job:x") == 0
        assert await balance(store, accounts.NODE) == 0

    async def test_more_than_all_bitcoin_is_refused(self, store):
        with pytest.raises(RuleBroken, match="amount"):
            await write(store, entries=(paid_in(POOL, 2_100_000_000_000_000_001),))

    async def test_balances_list_the_named_accounts_and_those_that_hold_something(self, store):
        await applied(store, entries=(paid_in("job:x", 5), paid_in("job:y", 5), moves("job:y", "customer:k", 5)))
        assert await store.balances() == {
            "node": -10,
            "operator": 0,
            "pool": 0,
            "earned": 0,
            "shortfall": 0,
            "routing_fees": 0,
            "job:x": 5,
            "customer:k": 5,
        }

    async def test_payable_is_what_could_be_asked_back_and_the_pool_is_not(self, store):
        owed = ("job:x", "customer:k", "session:s", "refund:r", POOL)
        await applied(store, entries=tuple(paid_in(account, 10) for account in owed))
        assert await store.look(lambda view: view.payable()) == 40

    async def test_refund_fees_are_counted_from_a_moment_on(self, store):
        await applied(store, at=100, entries=(moves(accounts.ROUTING_FEES, accounts.NODE, 3, Code.ROUTING),))
        await applied(store, at=200, entries=(moves(accounts.ROUTING_FEES, accounts.NODE, 4, Code.ROUTING),))
        for since, fees in ((100, 7), (101, 4), (201, 0)):
            assert await store.look(lambda view, since=since: view.refund_fees_since(since)) == fees

    async def test_free_answers_are_counted_from_a_moment_on(self, store):
        for at, amount in ((100, 3), (200, 4)):
            await applied(
                store, at=at, entries=(moves(accounts.SHORTFALL, accounts.EARNED, amount, Code.FREE_ANSWER),)
            )
        await applied(store, at=300, entries=(moves(accounts.SHORTFALL, accounts.EARNED, 50, Code.SETTLEMENT),))
        for since, given in ((100, 7), (101, 4), (201, 0)):
            assert await store.look(lambda view, since=since: view.free_answers_since(since)) == given

    async def test_what_could_be_seen_is_kept_for_a_while_newest_first(self, store):
        await store.note_world_events([(NOW + count, f"event:{count}") for count in range(1_200)])
        await store.note_world_events(())
        kept = await store.world_events(5_000)
        assert len(kept) == 1_000
        assert kept[0] == (NOW + 1_199, "event:1199")
        assert await store.world_events(1) == kept[:1]

    async def test_the_books_are_opened_once_for_ever(self, store):
        assert await store.open_books(Msats(1_000_000), Msats(600), NOW)
        assert await balance(store, POOL) == 600
        await applied(store, entries=(moves(POOL, "session:a", 600),))
        assert not await store.open_books(Msats(5), Msats(600), NOW + 1)
        assert await balance(store, POOL) == 0
        assert await balance(store, accounts.NODE) == -1_000_000
        assert await balance(store, accounts.OPERATOR) == 999_400

    async def test_an_empty_wallet_and_pool_open_the_books_all_the_same(self, store):
        assert await store.open_books(Msats(0), Msats(0), NOW)
        assert not await store.open_books(Msats(7), Msats(7), NOW)
        assert set((await store.balances()).values()) == {0}


class MoneyBackContract:
    """Invoices and refunds."""

    async def test_an_invoice_closes_and_may_still_be_paid_late(self, store):
        await begun(store)
        made = invoice(job_id=JOB)
        newer = invoice("03" * 32, job_id=JOB)
        await applied(store, invoices=(made, newer, invoice("04" * 32, account="customer:k")))
        assert await store.look(lambda view: view.open_invoice_of(JOB)) == newer
        assert [row.payment_hash[:2] for row in await store.open_invoices()] == ["01", "03", "04"]
        await applied(store, invoices=(dataclasses.replace(made, state=InvoiceState.EXPIRED),))
        settled = dataclasses.replace(made, state=InvoiceState.SETTLED, received=Msats(60_000))
        await applied(store, invoices=(settled, dataclasses.replace(newer, state=InvoiceState.CANCELLED)))
        assert await store.invoice("01" * 32) == settled
        assert await store.look(lambda view: view.open_invoice_of(JOB)) is None
        assert await store.look(lambda view: view.invoice("05" * 32)) is None

    @pytest.mark.parametrize(
        "fields",
        [{"amount": Msats(1)}, {"account": "job:other"}, {"bolt11": "lnbc2"}],
        ids=["amount", "account", "text"],
    )
    async def test_the_terms_of_an_invoice_stay(self, store, fields):
        await applied(store, invoices=(invoice(),))
        with pytest.raises(RuleBroken, match="change its state and nothing else"):
            await write(store, invoices=(invoice(**fields),))

    async def test_a_settled_invoice_stays_settled_at_what_it_received(self, store):
        settled = invoice(state=InvoiceState.SETTLED, received=Msats(9))
        await applied(store, invoices=(settled,))
        await applied(store, invoices=(settled,))
        for change in ({"received": Msats(10)}, {"state": InvoiceState.EXPIRED}):
            with pytest.raises(RuleBroken, match="settled"):
                await write(store, invoices=(dataclasses.replace(settled, **change),))

    async def test_a_refund_is_tried_fails_and_is_sent(self, store):
        await begun(store)
        await applied(store, refunds=(refund(job_id=JOB), refund("r2", state=RefundState.CREDITED)))
        row = await store.look(lambda view: view.refund("r1"))
        assert row == refund(job_id=JOB, version=1)
        assert not await store.look(lambda view: view.payment_is_known(HASH))
        flight = {"payment_hash": HASH, "bolt11": "lnbc1", "max_fee": Msats(3_000)}
        for state, fields in (
            (RefundState.SENDING, flight | {"attempts": 1}),
            (RefundState.IN_DOUBT, {"note": "no answer"}),
            (RefundState.OWED, {"due_at": NOW + 60}),
            (RefundState.SENDING, {"attempts": 2}),  # the same BOLT11 again, for it failed for certain
            (RefundState.SENDING, {"note": "said again"}),
            (RefundState.HELD, {}),
            (RefundState.SENDING, flight | {"payment_hash": "03" * 32, "bolt11": "lnbc2"}),
            (RefundState.SENT, {"fee": Msats(1_000), "due_at": None}),
        ):
            changed = dataclasses.replace(row, state=state, **fields)
            await applied(store, refunds=(changed,))
            row = await store.look(lambda view: view.refund("r1"))
            assert row == dataclasses.replace(changed, version=changed.version + 1)
        assert await store.look(lambda view: view.payment_is_known(HASH))
        assert await store.refunds(open_only=True) == ()
        assert [r.id for r in await store.refunds(open_only=False)] == ["r1", "r2"]
        assert await store.look(lambda view: view.refunds_of(JOB)) == (row,)
        with pytest.raises(RuleBroken, match="may not go"):
            await write(store, refunds=(dataclasses.replace(row, state=RefundState.OWED),))

    async def test_a_keys_open_refunds_are_told_with_their_requests_and_no_others(self, store):
        async def told(pubkey=KEY, limit=10):
            found = await store.look(lambda view: view.open_refunds_of(pubkey, limit))
            return [(event_id, row.id, row.job_id) for event_id, row in found]

        other = "cd" * 32
        for number, event_id, pubkey in (("01", "e1" * 32, KEY), ("02", None, KEY), ("03", "e3" * 32, other)):
            job = new_job(number * 16, event_id=event_id, pubkey=pubkey)
            await applied(store, new_job=job, identity=identity(pubkey) if number != "02" else None)
            rows = (
                refund(f"{state} {number}", job_id=number * 16, pubkey=pubkey, state=state)
                for state in (RefundState.HELD, RefundState.OWED, RefundState.CREDITED)
            )
            await applied(store, refunds=tuple(rows))
        mine = [
            ("e1" * 32, "held 01", "01" * 16),
            ("e1" * 32, "owed 01", "01" * 16),
            (None, "held 02", "02" * 16),
            (None, "owed 02", "02" * 16),
        ]
        assert await told() == mine
        assert await told(limit=3) == mine[:3]
        assert [row[1] for row in await told(other)] == ["held 03", "owed 03"]
        assert await told("ef" * 32) == []

    async def test_a_refund_that_moved_since_it_was_read_is_stale(self, store):
        await applied(store, refunds=(refund(),))
        assert await write(store, refunds=(refund(),)) == Stale()
        assert isinstance(await write(store, refunds=(refund(version=1, state=RefundState.HELD),)), Applied)
        assert await write(store, refunds=(refund(version=1, state=RefundState.CREDITED),)) == Stale()

    async def test_a_thousand_claims_at_once_and_one_payment_begins(self, store):
        await applied(store, refunds=(refund(state=RefundState.HELD),))
        claims = (
            write(
                store,
                refunds=(refund(version=1, state=RefundState.SENDING, payment_hash=f"{n:064x}", bolt11="lnbc1"),),
            )
            for n in range(1_000)
        )
        outcomes = await asyncio.gather(*claims)
        assert sum(isinstance(outcome, Applied) for outcome in outcomes) == 1
        assert outcomes.count(Stale()) == 999

    async def test_fee_caps_count_while_their_payment_may_be_on_its_way(self, store):
        async def caps():
            return await store.look(lambda view: view.fee_caps_in_flight())

        flight = {"payment_hash": HASH, "bolt11": "lnbc1", "max_fee": Msats(3_000)}
        await begun(store)
        await applied(store, refunds=(refund(job_id=JOB),))
        assert await caps() == 0
        for version, (state, expected) in enumerate(
            [(RefundState.SENDING, 3_000), (RefundState.IN_DOUBT, 3_000), (RefundState.SENT, 0)], start=1
        ):
            await applied(store, refunds=(refund(job_id=JOB, version=version, state=state, **flight),))
            assert await caps() == expected

    async def test_a_payment_hash_serves_one_refund_once(self, store):
        sending = {"state": RefundState.SENDING, "payment_hash": HASH, "bolt11": "lnbc1"}
        await applied(store, refunds=(refund(), refund("r2")))
        await applied(store, refunds=(refund(version=1, **sending),))
        with pytest.raises(RuleBroken, match="was used before"):
            await write(store, refunds=(refund("r2", version=1, **sending),))
        with pytest.raises(RuleBroken, match="payments"):
            await write(store, refunds=(refund(version=2, **sending | {"payment_hash": "03" * 32}),))

    async def test_only_a_payment_in_flight_arrives(self, store):
        sending = {"payment_hash": HASH, "bolt11": "lnbc1"}
        await applied(store, refunds=(refund(),))
        await applied(store, refunds=(refund(version=1, state=RefundState.SENDING, **sending),))
        with pytest.raises(RuleBroken, match="was not in flight"):
            await write(
                store, refunds=(refund(version=2, state=RefundState.SENT, payment_hash="03" * 32, bolt11="x"),)
            )
        with pytest.raises(RuleBroken, match="in_flight_has_its_hash"):
            await write(store, refunds=(refund(version=2, state=RefundState.SENT),))

    @pytest.mark.parametrize("state", [RefundState.SENDING, RefundState.IN_DOUBT, RefundState.SENT])
    async def test_a_refund_begins_owed_held_or_credited(self, store, state):
        with pytest.raises(RuleBroken, match="a refund begins"):
            await write(store, refunds=(refund(state=state, payment_hash=HASH, bolt11="lnbc1"),))

    async def test_the_amount_of_a_refund_is_never_changed(self, store):
        await applied(store, refunds=(refund(),))
        with pytest.raises(RuleBroken, match="amount of a refund"):
            await write(store, refunds=(refund(version=1, amount=Msats(30_001)),))
