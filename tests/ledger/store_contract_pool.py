"""What a store promises of the pool: set aside once a job, granted or given back once, never above a key's day.

Part of `StoreContract`. FRE rows stand where they are proved; what decides on the amounts is tested with the core.
"""

import asyncio
import dataclasses

import pytest

from ledger import accounts
from ledger.accounts import POOL
from ledger.entries import Code
from ledger.money import MicroUsd, Msats
from ledger.records import Applied, JobState, Short, Stale
from ledger.reservations import Grant, PoolMove, ReservationEnd, TierUse
from ledger.store import RuleBroken
from tests.ledger.books import (
    JOB,
    KEY,
    NOW,
    applied,
    balance,
    begun,
    granted,
    identity,
    moved,
    moves,
    reservation,
    write,
)

MIDNIGHT = NOW - NOW % 86_400
BUDGET = 50_000


async def a_pool(store, pool=100_000, jobs=1, **job) -> list[str]:
    """A pool, and jobs of one key that may draw on it."""
    await store.open_books(Msats(0), Msats(pool), NOW)
    await applied(store, identity=identity())
    ids = [JOB, *(f"{number:032x}" for number in range(2, jobs + 1))]
    for job_id in ids:
        await begun(store, job_id, pubkey=KEY, **job)
    return ids


async def counted(store) -> tuple[int, int]:
    """The daily counter of the key as its row has it: sats, and since when."""
    row = await store.look(lambda view: view.identity(KEY))
    return row.sats_absorbed_today, row.absorbed_reset_at


async def of_key(store) -> int:
    return await store.look(lambda view: view.reserved_of(KEY))


class PoolContract:
    """Reservations and grants."""

    async def test_what_is_set_aside_is_granted_and_the_rest_comes_back(self, store):
        """FRE-21, FRE-22: 42 of 50 sats."""
        await a_pool(store)
        await applied(store, **reservation())
        assert (await balance(store, POOL), await balance(store, f"reserved:{JOB}")) == (50_000, 50_000)
        assert (await of_key(store), await counted(store)) == (50_000, (0, 0))
        await applied(store, **granted(42_000))
        assert (await balance(store, POOL), await balance(store, f"reserved:{JOB}")) == (58_000, 0)
        assert (await of_key(store), await counted(store)) == (0, (42, MIDNIGHT))

    async def test_what_comes_to_nothing_goes_back_whole_and_is_not_counted(self, store):
        """FRE-29."""
        await a_pool(store)
        await applied(store, **reservation())
        await applied(store, **granted(0))
        assert (await balance(store, POOL), await of_key(store), await counted(store)) == (
            100_000,
            0,
            (0, MIDNIGHT),
        )
        assert (await store.pool(since=0, limit=5)).grants == ()

    async def test_a_reservation_ends_once(self, store):
        """FRE-29: released twice, the pool rises once."""
        await a_pool(store)
        await applied(store, **reservation())
        await applied(store, **granted(0))
        for end in (ReservationEnd(job_id=JOB, granted=Msats(0), at=NOW), granted(0)["reservation_end"]):
            with pytest.raises(RuleBroken, match="it ends once"):
                await write(store, reservation_end=end)
        with pytest.raises(RuleBroken, match=r"is open is filled once|entries\.entry_id"):
            await write(store, entries=(moves(f"reserved:{JOB}", POOL, 1, Code.RELEASED),))
        assert await balance(store, POOL) == 100_000

    async def test_a_job_draws_on_the_pool_once(self, store):
        await a_pool(store)
        await applied(store, **reservation(amount=10_000))
        for again in (reservation(amount=10_000), {"reservation": reservation(amount=1_000)["reservation"]}):
            with pytest.raises(RuleBroken, match="UNIQUE"):
                await write(store, **again)
        await applied(store, **granted(0, 10_000))
        with pytest.raises(RuleBroken, match="UNIQUE"):
            await write(store, **reservation(amount=10_000))

    async def test_reserved_and_granted_in_one_change_it_counts_all_the_same(self, store):
        """A session's part is set aside when its work is done."""
        await a_pool(store)
        both = reservation(amount=20_000), granted(20_000, 20_000)
        entries = tuple(entry for part in both for entry in part["entries"])
        await applied(store, **(both[0] | both[1] | {"entries": entries}))
        assert (await balance(store, POOL), await counted(store)) == (80_000, (20, MIDNIGHT))

    @pytest.mark.parametrize("part", ["reservation", "entries"])
    async def test_a_row_without_its_money_never_ends_and_money_without_its_row_is_refused(self, store, part):
        await a_pool(store)
        whole = reservation()
        if part == "entries":
            with pytest.raises(RuleBroken, match="is open is filled once"):
                await write(store, entries=whole["entries"])
            return
        await applied(store, reservation=whole["reservation"])
        with pytest.raises(RuleBroken, match="ends drained"):
            await write(store, reservation_end=ReservationEnd(job_id=JOB, granted=Msats(0), at=NOW))

    async def test_the_money_is_the_rows_amount_and_comes_once(self, store):
        await a_pool(store)
        row = reservation()["reservation"]
        for amount in (49_000, 51_000):
            with pytest.raises(RuleBroken, match="is open is filled once"):
                await write(store, reservation=row, entries=(moves(POOL, f"reserved:{JOB}", amount),))
        twice = (moves(POOL, f"reserved:{JOB}", 50_000), moves(POOL, f"reserved:{JOB}", 50_000))
        with pytest.raises(RuleBroken, match="is open is filled once"):
            await write(store, reservation=row, entries=twice)
        assert await balance(store, POOL) == 100_000

    @pytest.mark.parametrize(
        ("grant", "says"), [(42_000, 41_000), (42_000, 0), (0, 1_000)], ids=["less", "nothing", "more"]
    )
    async def test_a_grant_is_what_the_settlement_took(self, store, grant, says):
        """FRE-25: the row and the books can't differ."""
        await a_pool(store)
        await applied(store, **reservation())
        wrong = granted(grant) | {"reservation_end": ReservationEnd(job_id=JOB, granted=Msats(says), at=NOW)}
        with pytest.raises(RuleBroken, match="ends drained"):
            await write(store, **wrong)
        assert (await of_key(store), await counted(store)) == (50_000, (0, 0))

    async def test_it_ends_drained(self, store):
        await a_pool(store)
        await applied(store, **reservation())
        with pytest.raises(RuleBroken, match="ends drained"):
            await write(store, **granted(20_000, 49_000))

    async def test_a_grant_above_the_reservation_is_short(self, store):
        await a_pool(store)
        await applied(store, **reservation())
        assert await write(store, **granted(50_001, 50_001)) == Short(f"reserved:{JOB}")

    @pytest.mark.parametrize(
        ("debit", "credit", "code"),
        [
            (POOL, accounts.NODE, Code.SENT),
            (POOL, f"customer:{KEY}", Code.CREDITED),
            (f"reserved:{JOB}", accounts.NODE, Code.SENT),
            (f"reserved:{JOB}", f"customer:{KEY}", Code.CREDITED),
            (f"reserved:{JOB}", accounts.OPERATOR, Code.WITHDRAW),
        ],
    )
    async def test_the_pool_pays_nobody(self, store, debit, credit, code):
        await a_pool(store)
        await applied(store, **reservation())
        with pytest.raises(RuleBroken, match="the pool pays nobody"):
            await write(store, entries=(moves(debit, credit, 1_000, code),))

    async def test_only_whole_sats_are_set_aside_and_only_for_keys(self, store):
        await a_pool(store)
        with pytest.raises(RuleBroken, match="CHECK"):
            await write(store, **reservation(amount=1_500))
        await begun(store, "02" * 16)
        with pytest.raises(RuleBroken, match=r"reservations\.nostr_pubkey"):
            await write(store, **reservation("02" * 16))
        with pytest.raises(RuleBroken, match="which is not there"):
            await write(store, **reservation("03" * 16))

    async def test_a_job_that_has_ended_draws_no_more(self, store):
        await a_pool(store)
        await moved(store, await store.job(JOB), JobState.CANCELLED)
        with pytest.raises(RuleBroken, match="has not ended before"):
            await write(store, **reservation(at=NOW + 1))


class BudgetContract:
    """A key's budget of the day, whoever asks and however many at once."""

    async def test_what_is_set_aside_counts_until_it_ends_then_what_was_granted(self, store):
        """FRE-28."""
        one, other, third = await a_pool(store, jobs=3)
        await applied(store, **reservation(one, 30_000))
        with pytest.raises(RuleBroken, match="no more on the pool than its budget"):
            await write(store, **reservation(other, 21_000))
        await applied(store, **reservation(other, 20_000))
        await applied(store, **granted(10_000, 30_000, one))
        with pytest.raises(RuleBroken, match="no more on the pool than its budget"):
            await write(store, **reservation(third, 21_000))
        await applied(store, **reservation(third, 20_000))
        assert (await of_key(store), await counted(store)) == (40_000, (10, MIDNIGHT))

    async def test_two_at_once_and_one_gets_it(self, store):
        one, other = await a_pool(store, jobs=2)

        async def draws(job_id):
            try:
                return await write(store, **reservation(job_id))
            except RuleBroken as error:
                return str(error)

        outcomes = await asyncio.gather(draws(one), draws(other))
        assert sum(isinstance(outcome, Applied) for outcome in outcomes) == 1
        assert await balance(store, POOL) == 50_000

    async def test_a_new_day_begins_anew(self, store):
        """FRE-26: past midnight the counter is this grant alone."""
        one, other = await a_pool(store, jobs=2)
        tomorrow = MIDNIGHT + 86_400
        await applied(store, **reservation(one, at=tomorrow - 1))
        await applied(store, **granted(42_000, job_id=one, at=tomorrow - 1))
        await applied(store, **reservation(other, at=tomorrow))
        assert await counted(store) == (42, MIDNIGHT)
        await applied(store, **granted(7_000, job_id=other, at=tomorrow))
        assert await counted(store) == (7, tomorrow)

    async def test_what_was_set_aside_yesterday_and_goes_on_counts_today(self, store):
        one, other = await a_pool(store, jobs=2)
        tomorrow = MIDNIGHT + 86_400
        await applied(store, **reservation(one, 30_000, at=tomorrow - 1))
        with pytest.raises(RuleBroken, match="budget"):
            await write(store, **reservation(other, 21_000, at=tomorrow))
        await applied(store, **granted(30_000, 30_000, one, at=tomorrow + 5))
        assert await counted(store) == (30, tomorrow)
        with pytest.raises(RuleBroken, match="budget"):
            await write(store, **reservation(other, 21_000, at=tomorrow + 6))

    async def test_a_clock_that_goes_back_over_midnight_gives_no_second_budget(self, store):
        one, other, third = await a_pool(store, jobs=3)
        await applied(store, **reservation(one, at=MIDNIGHT))
        await applied(store, **granted(50_000, job_id=one, at=MIDNIGHT))
        with pytest.raises(RuleBroken, match="budget"):
            await write(store, **reservation(other, 1_000, at=MIDNIGHT - 60))
        wider = reservation(other, 10_000, at=MIDNIGHT - 60, budget=Msats(60_000))
        await applied(store, **wider)
        await applied(store, **granted(10_000, 10_000, other, at=MIDNIGHT - 30))
        assert await counted(store) == (60, MIDNIGHT)
        with pytest.raises(RuleBroken, match="budget"):
            await write(store, **reservation(third, 1_000, at=MIDNIGHT))

    async def test_a_reservation_of_an_identity_that_moved_is_stale(self, store):
        """Where rows are read before they are written, the key's version shows the race."""
        await a_pool(store)
        row = await store.look(lambda view: view.identity(KEY))
        await applied(store, identity=row)
        assert await write(store, identity=row, **reservation()) == Stale()
        assert await balance(store, POOL) == 100_000

    async def test_a_tiers_use_and_whether_a_key_ever_drew(self, store):
        one, other, third = await a_pool(store, jobs=3)

        async def told(since=MIDNIGHT):
            drew = await store.look(lambda view: view.drew_before(KEY))
            return drew, await store.look(lambda view: view.drawn_by_tier("new", since))

        assert await told() == (False, 0)
        await applied(store, **reservation(one, 10_000, tier="new"))
        assert await told() == (True, 10_000)
        await applied(store, **granted(0, 10_000, one))
        assert await told() == (False, 0)
        await applied(store, **reservation(other, 10_000, tier="new"))
        await applied(store, **granted(7_000, 10_000, other))
        assert await told() == (True, 7_000)
        assert await told(NOW + 1) == (True, 0)
        await applied(store, **reservation(third, 10_000))
        assert await told() == (True, 7_000)

    async def test_what_a_key_was_ever_granted_and_what_its_jobs_left_us(self, store):
        one, other, third = await a_pool(store, jobs=3)

        async def told(key=KEY):
            granted = await store.look(lambda view: view.granted_to(key))
            return granted, await store.look(lambda view: view.fees_kept_of(key))

        assert await told() == (0, 0)
        await applied(store, **reservation(one, 10_000))
        assert await told() == (0, 0)
        await applied(store, **granted(7_000, 10_000, one))
        assert await told() == (7_000, 0)
        job = await store.job(other)
        charged = {"charge_eval": Msats(2_000), "charge_work": Msats(18_000), "pool_credit": Msats(1_000)}
        await applied(store, job=dataclasses.replace(job, **charged))
        assert await told() == (7_000, 19_000)
        await applied(store, **reservation(third, 10_000, at=MIDNIGHT + 400 * 86_400))
        await applied(store, **granted(9_000, 10_000, third, at=MIDNIGHT + 400 * 86_400))
        assert await told() == (16_000, 19_000)
        assert await told("ee" * 32) == (0, 0)

    async def test_what_the_model_was_asked_for_today(self, store):
        """What was answered at its cost, what runs or failed over its answer at its estimate; margin taken off."""
        one, other, third = await a_pool(store, jobs=3)

        async def told(since=MIDNIGHT):
            use = await store.look(lambda view: view.model_use_since(since))
            return use.work_micro_usd, use.eval_input_tokens, use.eval_output_tokens, use.given_away

        quote = (await store.job(one)).quote
        estimate = -(-quote.estimated_cost * 100 // (100 + quote.margin_percent))
        assert await told() == (0, 0, 0, 0)
        running = {"paid_at": NOW, "due_at": NOW, "eval_runs": 1}
        for job_id in (one, other, third):
            await moved(store, await store.job(job_id), JobState.EVALUATING, **running)
        assert await told() == (3 * estimate, 0, 0, 0)
        judged = {"eval_input_tokens": 7, "eval_output_tokens": 2}
        await moved(store, await store.job(one), JobState.EXECUTING, work_runs=1, **judged)
        await moved(
            store, await store.job(one), JobState.COMPLETE, actual_cost=MicroUsd(141), due_at=None, ended_at=NOW
        )
        assert await told() == (2 * estimate + -(-14_100 // (100 + quote.margin_percent)), 7, 2, 0)
        await moved(store, await store.job(other), JobState.REJECTED, due_at=None, ended_at=NOW, **judged)
        await moved(store, await store.job(third), JobState.EXECUTING, work_runs=1, **judged)
        await moved(store, await store.job(third), JobState.FAILED, due_at=None, ended_at=NOW)
        assert await told() == (estimate + -(-14_100 // (100 + quote.margin_percent)), 21, 6, 0)
        assert await told(NOW + 1) == (0, 0, 0, 0)

    async def test_what_a_key_is_offered_is_the_price_less_its_share_while_it_is_unpaid(self, store):
        one, other = await a_pool(store, jobs=2, share_work=Msats(30_000))
        await begun(store, "09" * 16, pubkey=KEY)

        async def offered():
            return await store.look(lambda view: view.offered_to(KEY))

        assert await offered() == 40_000
        await moved(store, await store.job(one), JobState.EVALUATING, paid_at=NOW, due_at=NOW)
        assert await offered() == 20_000
        await moved(store, await store.job(other), JobState.CANCELLED)
        assert await offered() == 0


class PoolBooksContract:
    """What the pool's books tell."""

    async def test_the_pools_books(self, store):
        """FRE-34: what it has, what each tier used today, the newest grants and entries."""
        one, other, third = await a_pool(store, jobs=3)
        await applied(store, **reservation(one, 20_000, at=MIDNIGHT - 9))
        await applied(store, at=MIDNIGHT - 5, **granted(15_000, 20_000, one, at=MIDNIGHT - 5))
        trusted = {"tier": "trusted", "budget": Msats(200_000)}
        await applied(store, **reservation(other, 30_000, **trusted))
        await applied(store, **granted(12_000, 30_000, other))
        await applied(store, **reservation(third, 40_000, **trusted))
        await applied(store, entries=(moves(accounts.EARNED, POOL, 3_000, Code.POOL_CREDIT),))
        books = await store.pool(since=MIDNIGHT, limit=3)
        assert (books.balance, books.reserved, books.granted, books.given) == (36_000, 40_000, 27_000, 103_000)
        assert books.today == (TierUse("trusted", Msats(12_000), Msats(40_000), 2),)
        assert books.grants == (
            Grant(NOW, "trusted", Msats(12_000)),
            Grant(MIDNIGHT - 5, "established", Msats(15_000)),
        )
        assert books.moves == (
            PoolMove(NOW, "pool_credit", Msats(3_000)),
            PoolMove(NOW, "reserved", Msats(-40_000)),
            PoolMove(NOW, "released", Msats(18_000)),
        )
        everything = await store.pool(since=0, limit=1)
        assert [use.tier for use in everything.today] == ["established", "trusted"]
        assert (len(everything.grants), len(everything.moves)) == (1, 1)

    async def test_a_pool_that_was_never_used_has_its_books(self, store):
        books = await store.pool(since=0, limit=5)
        assert dataclasses.astuple(books) == (0, 0, 0, (), (), (), ())
