"""What a store promises of gifts to the pool: counted apart, booked whole, and named only where that is wanted.

Part of `StoreContract`.
"""

import dataclasses

from ledger.accounts import NODE, POOL
from ledger.entries import Code
from ledger.money import Msats
from ledger.records import InvoiceState
from ledger.reservations import Donor
from tests.ledger.books import HASH, KEY, NOW, applied, balance, identity, invoice, moves, topup

OTHER = "5a" * 32


def gift(topup_id="t1", **fields):
    return topup(topup_id, account=POOL, origin='{"door":"gift"}', **fields)


async def given(store, topup_id, payment_hash, received, at=NOW, **fields):
    """A gift that was asked for, and paid."""
    row = gift(topup_id, payment_hash=payment_hash, **fields)
    await applied(store, invoices=(invoice(payment_hash, account=POOL),), topups=(row,))
    paid = invoice(payment_hash, account=POOL, state=InvoiceState.SETTLED, received=Msats(received))
    booked = moves(NODE, POOL, received, Code.SETTLED, f"settled:{payment_hash}")
    await applied(store, invoices=(paid,), topups=(dataclasses.replace(row, ended_at=at),), entries=(booked,))


class DonationsContract:
    """Gifts that wait, and gifts that came."""

    async def test_a_gift_that_waits_is_counted_as_such_and_takes_nobodys_place(self, store):
        await applied(store, identity=identity())
        await applied(store, topups=(gift(),))
        made = gift(payment_hash=HASH)
        await applied(store, invoices=(invoice(HASH, account=POOL),), topups=(made,))
        await applied(store, topups=(gift("t2", pubkey=None), topup("t3")))

        def counts(view):
            of_key = view.open_jobs_of(KEY), view.jobs_since(KEY, NOW - 60), view.cancelled_since(KEY, NOW - 60)
            return view.open_donations(), view.open_invoices(), of_key, len(view.waiting_topups_of(KEY, 9))

        assert await store.look(counts) == (2, 1, (1, 1, 0), 1)
        await applied(store, topups=(dataclasses.replace(made, ended_at=NOW),))
        assert await store.look(counts) == (1, 1, (1, 1, 0), 1)

    async def test_all_that_came_is_in_the_pool_and_only_who_wants_it_is_named(self, store):
        await store.open_books(Msats(0), Msats(10_000), NOW)
        await given(store, "t1", HASH, 7_000, at=NOW + 1)
        await given(store, "t2", OTHER, 5_500, pubkey=None)
        await applied(store, topups=(gift("waits", pubkey="cd" * 32),))
        assert await balance(store, POOL) == 22_500
        books = await store.pool(since=0, limit=5)
        assert books.donors == (Donor(NOW + 1, KEY, Msats(7_000)),)
        assert books.given == 22_500
        assert [move.amount for move in books.moves] == [5_500, 7_000, 10_000]

    async def test_the_newest_donors_are_told_first_and_not_more_than_wanted(self, store):
        for number in range(3):
            await given(store, f"t{number}", f"{number:064x}", 1_000 + number, at=NOW + number)
        books = await store.pool(since=0, limit=2)
        assert [donor.amount for donor in books.donors] == [1_002, 1_001]

    async def test_who_is_forgotten_is_named_no_more_and_the_books_stay(self, store):
        await applied(store, identity=identity())
        await given(store, "t1", HASH, 7_000)
        await applied(store, forget=KEY)
        assert (await store.pool(since=0, limit=5)).donors == ()
        assert await balance(store, POOL) == 7_000

    async def test_nobody_is_forgotten_while_the_invoice_of_a_gift_that_names_them_is_made_or_can_be_paid(
        self, store
    ):
        """Else it would name them once it is paid."""

        async def unfinished():
            left = await store.look(lambda view: view.unfinished_of(KEY))
            return left.topups, left.payable_until is not None

        await applied(store, identity=identity())
        await applied(store, topups=(gift(),))
        assert await unfinished() == (1, False)
        await applied(store, invoices=(invoice(HASH, account=POOL),), topups=(gift(payment_hash=HASH),))
        assert await unfinished() == (0, True)
