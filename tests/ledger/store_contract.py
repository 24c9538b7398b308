"""The contract of `ledger.store.Store`, as claims that run on every store.

A store's test file has a fixture `store`, a fresh and empty one, and a class `TestX(StoreContract)`.
"""

import asyncio
import dataclasses

import pytest

from ledger import accounts
from ledger.entries import Code, Entry, Posting, reverse
from ledger.money import MicroUsd, Msats
from ledger.records import (
    NOTHING,
    PUBLISH,
    Applied,
    Change,
    Door,
    EventRole,
    InvoiceState,
    JobState,
    JobTexts,
    Mode,
    NewAction,
    NewEvent,
    PendingAction,
    RefundState,
    Replayed,
    Short,
    Stale,
)
from ledger.store import Delivery, RuleBroken, StoreUnavailable
from tests.ledger.books import (
    KEY,
    NOW,
    QUOTE,
    applied,
    begun,
    fact,
    identity,
    invoice,
    moved,
    moves,
    new_job,
    paid_in,
    refund,
    write,
)

JOB = "a1" * 16
POOL = accounts.POOL
HASH = "02" * 32


def event(event_id: str = "e1" * 32, job_id: str | None = JOB, role=EventRole.RESULT) -> NewEvent:
    return NewEvent(id=event_id, job_id=job_id, role=role, json='{"kind":6050}', targets='["wss://a"]')


async def balance(store, account: str) -> int:
    return await store.look(lambda view: view.balance(account))


class CommitContract:
    """What one commit promises."""

    async def test_all_of_a_change_is_there_after_it(self, store):
        actions = (
            NewAction(kind="Run", job_id=JOB, body="{}"),
            NewAction(kind="Later", job_id=None, body="[]", due_at=5),
        )
        outcome = await applied(
            store,
            fact_id="request:1",
            identity=identity(),
            new_job=new_job(pubkey=KEY, event_id="ee" * 32),
            entries=(paid_in(accounts.job(JOB), 7),),
            invoices=(invoice(job_id=JOB),),
            actions=actions,
            events=(event(role=EventRole.FEEDBACK),),
        )
        assert outcome.job == await store.job(JOB)
        assert outcome.job.version == 1
        assert [(a.kind, a.job_id, a.body, a.due_at) for a in outcome.actions] == [
            ("Run", JOB, "{}", None),
            ("Later", None, "[]", 5),
            (PUBLISH, JOB, "e1" * 32, None),
        ]
        assert await store.pending() == outcome.actions
        assert await store.texts(JOB) == JobTexts("why?", '{"relay":"here"}', None)
        assert await store.invoice("01" * 32) == invoice(job_id=JOB)
        assert await store.event("e1" * 32) == event(role=EventRole.FEEDBACK)
        assert await balance(store, accounts.job(JOB)) == 7
        assert await store.look(lambda view: view.identity(KEY)) == identity(version=1)

    async def test_a_fact_is_applied_once_for_ever(self, store):
        once = paid_in(POOL, 10)
        assert isinstance(await write(store, fact_id="paid:1", entries=(once,)), Applied)
        for _ in range(3):
            assert await write(store, fact_id="paid:1", entries=(paid_in(POOL, 10),)) == Replayed()
        assert await balance(store, POOL) == 10

    async def test_a_replayed_fact_is_not_decided_on(self, store):
        await write(store, fact_id="paid:1")
        assert await store.commit(fact("paid:1"), lambda _: pytest.fail("decided again")) == Replayed()

    async def test_the_same_fact_twenty_times_at_once_is_applied_once(self, store):
        outcomes = await asyncio.gather(
            *(write(store, fact_id="paid:1", entries=(paid_in(POOL, 10),)) for _ in range(20))
        )
        assert sum(isinstance(outcome, Applied) for outcome in outcomes) == 1
        assert await balance(store, POOL) == 10

    async def test_a_fact_finishes_the_outbox_row_it_reports_on_also_when_replayed(self, store):
        first, second = (await applied(store, actions=(NewAction(kind="A", job_id=None, body=""),) * 2)).actions
        await applied(store, fact_id="done:1", done=first.id)
        assert [row.id for row in await store.pending()] == [second.id]
        assert await write(store, fact_id="done:1", done=second.id) == Replayed()
        assert await store.pending() == ()

    async def test_the_number_of_a_finished_action_is_never_given_again(self, store):
        (old,) = (await applied(store, actions=(NewAction(kind="A", job_id=None, body=""),))).actions
        await store.finish(old.id)
        (new,) = (await applied(store, actions=(NewAction(kind="B", job_id=None, body=""),))).actions
        assert new.id > old.id

    async def test_a_decision_sees_the_books_of_its_own_transaction(self, store):
        await begun(store)

        def decide(view):
            assert view.job(JOB).state is JobState.AWAITING_EVAL_PAYMENT
            return Change(job=dataclasses.replace(view.job(JOB), state=JobState.CANCELLED, ended_at=NOW))

        assert isinstance(await store.commit(fact(), decide), Applied)
        assert (await store.job(JOB)).state is JobState.CANCELLED

    async def test_what_a_decision_raises_reaches_its_caller_alone_and_writes_nothing(self, store):
        class Odd(Exception):
            pass

        def odd(_):
            raise Odd

        def stops(_):
            raise StopIteration

        good = [write(store, entries=(paid_in(POOL, 1),)) for _ in range(10)]
        bad = [store.commit(fact("odd"), odd), store.commit(fact("stops"), stops)]
        outcomes = await asyncio.gather(*good[:5], *bad, *good[5:], return_exceptions=True)
        assert isinstance(outcomes[5], Odd)
        assert isinstance(outcomes[6], RuntimeError)  # what Python makes of a stray StopIteration
        assert sum(isinstance(outcome, Applied) for outcome in outcomes) == 10
        assert await balance(store, POOL) == 10
        assert isinstance(await write(store, fact_id="odd"), Applied)

    async def test_nothing_of_a_refused_change_is_written(self, store):
        with pytest.raises(RuleBroken, match="ledger refuses it"):
            await write(
                store,
                fact_id="f",
                new_job=new_job(),
                entries=(paid_in(POOL, 5, "twice"), paid_in(POOL, 5, "twice")),
                actions=(NewAction(kind="A", job_id=JOB, body=""),),
            )
        assert await store.job(JOB) is None
        assert await store.pending() == ()
        assert await balance(store, POOL) == 0
        assert isinstance(await write(store, fact_id="f"), Applied)

    async def test_a_fact_may_name_a_job_that_was_never_made(self, store):
        refused = fact("request:1", job_id="never")
        assert isinstance(await store.commit(refused, lambda _: NOTHING), Applied)
        assert await store.story("never") is None

    async def test_a_cancelled_commit_happens_or_not_and_is_found_out_by_asking_again(self, store):
        commits = [
            asyncio.ensure_future(write(store, fact_id=f"f{n}", entries=(paid_in(POOL, 1),))) for n in range(50)
        ]
        await asyncio.sleep(0)
        for commit in commits[::2]:
            commit.cancel()
        await asyncio.gather(*commits, return_exceptions=True)
        again = await asyncio.gather(
            *(write(store, fact_id=f"f{n}", entries=(paid_in(POOL, 1),)) for n in range(50))
        )
        assert all(isinstance(outcome, Applied | Replayed) for outcome in again)
        assert await balance(store, POOL) == 50


class MoneyContract:
    """Balances, floors, and entries that are booked once."""

    async def test_an_account_can_be_emptied_and_not_a_msat_more(self, store):
        await applied(store, entries=(paid_in(POOL, 100),))
        assert await write(store, entries=(moves(POOL, "reserved:a", 101),)) == Short(POOL)
        assert isinstance(await write(store, entries=(moves(POOL, "reserved:a", 100),)), Applied)
        assert await write(store, entries=(moves(POOL, "reserved:a", 1),)) == Short(POOL)
        assert (await balance(store, POOL), await balance(store, "reserved:a")) == (0, 100)

    async def test_a_short_change_leaves_no_trace(self, store):
        change = {"new_job": new_job(), "entries": (paid_in("job:x", 5), moves(POOL, "job:x", 1))}
        assert await write(store, fact_id="f", **change) == Short(POOL)
        assert await store.job(JOB) is None
        assert await balance(store, "job:x") == 0
        assert isinstance(await write(store, fact_id="f"), Applied)

    async def test_a_thousand_at_once_for_the_last_msat_and_one_gets_it(self, store):
        await applied(store, entries=(paid_in(POOL, 1),))
        outcomes = await asyncio.gather(
            *(write(store, entries=(moves(POOL, f"reserved:{n}", 1),)) for n in range(1_000))
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
        owed = ("job:x", "customer:k", "session:s", "refund:r", "reserved:z", POOL)
        await applied(store, entries=tuple(paid_in(account, 10) for account in owed))
        assert await store.look(lambda view: view.payable()) == 40

    async def test_refund_fees_are_counted_from_a_moment_on(self, store):
        await applied(store, at=100, entries=(moves(accounts.ROUTING_FEES, accounts.NODE, 3, Code.ROUTING),))
        await applied(store, at=200, entries=(moves(accounts.ROUTING_FEES, accounts.NODE, 4, Code.ROUTING),))
        for since, fees in ((100, 7), (101, 4), (201, 0)):
            assert await store.look(lambda view, since=since: view.refund_fees_since(since)) == fees

    async def test_the_books_are_opened_once_for_ever(self, store):
        assert await store.open_books(Msats(1_000_000), Msats(600), NOW)
        assert await balance(store, POOL) == 600
        await applied(store, entries=(moves(POOL, "reserved:a", 600),))
        assert not await store.open_books(Msats(5), Msats(600), NOW + 1)
        assert await balance(store, POOL) == 0
        assert await balance(store, accounts.NODE) == -1_000_000
        assert await balance(store, accounts.OPERATOR) == 999_400

    async def test_an_empty_wallet_and_pool_open_the_books_all_the_same(self, store):
        assert await store.open_books(Msats(0), Msats(0), NOW)
        assert not await store.open_books(Msats(7), Msats(7), NOW)
        assert set((await store.balances()).values()) == {0}


class JobContract:
    """Jobs, their states, texts and keys."""

    async def test_a_job_comes_back_as_it_was_written(self, store):
        await applied(store, identity=identity())
        born = new_job(
            pubkey=KEY,
            event_id="ee" * 32,
            door=Door.HTTP,
            mode=Mode.STEPS,
            state=JobState.EVALUATING,
            refund_to="me@home",
            credit_used=Msats(3),
            free_tier=True,
            absorbed_sats=20,
            paid_at=NOW,
            due_at=NOW + 9,
            eval_runs=1,
        )
        job = (await applied(store, new_job=born)).job
        assert job == await store.job(JOB)
        assert (job.quote, job.free_tier, job.absorbed_sats, job.eval_passed) == (QUOTE, True, 20, None)
        full = dataclasses.replace(
            job,
            state=JobState.EXECUTING,
            share_work=Msats(40_000),
            eval_passed=True,
            work_runs=2,
            eval_input_tokens=1,
            eval_output_tokens=2,
            actual_input_tokens=3,
            actual_output_tokens=4,
            actual_cost=MicroUsd(5),
            truncated=True,
            charge_eval=Msats(6),
            charge_work=Msats(7),
            shortfall=Msats(8),
            pool_credit=Msats(9),
            reason="r",
            error_message="e",
        )
        outcome = await applied(store, job=full)
        assert outcome.job == dataclasses.replace(full, version=2) == await store.job(JOB)

    async def test_a_job_that_moved_since_it_was_read_is_stale(self, store):
        job = await begun(store)
        await moved(store, job, JobState.EVALUATING)
        late = dataclasses.replace(job, state=JobState.CANCELLED, ended_at=NOW)
        assert await write(store, fact_id="f", job=late, entries=(paid_in(POOL, 1),)) == Stale()
        assert await balance(store, POOL) == 0
        assert isinstance(await write(store, fact_id="f"), Applied)

    async def test_a_request_event_makes_one_job(self, store):
        await begun(store, event_id="ee" * 32)
        with pytest.raises(RuleBroken, match=r"jobs\.event_id"):
            await begun(store, "a2" * 16, event_id="ee" * 32)
        assert (await store.look(lambda view: view.job_of_event("ee" * 32))).id == JOB
        assert await store.look(lambda view: view.job_of_event("dd" * 32)) is None

    async def test_a_job_of_an_unknown_key_is_refused(self, store):
        with pytest.raises(RuleBroken, match="FOREIGN KEY"):
            await begun(store, pubkey=KEY)

    @pytest.mark.parametrize("state", [s for s in JobState if s not in ("awaiting_eval_payment", "evaluating")])
    async def test_a_job_begins_at_the_start(self, store, state):
        with pytest.raises(RuleBroken, match="a job begins"):
            await begun(store, state=state)

    async def test_an_end_is_final(self, store):
        job = await moved(store, await begun(store), JobState.CANCELLED)
        with pytest.raises(RuleBroken, match="may not go"):
            await write(store, job=dataclasses.replace(job, state=JobState.EVALUATING, ended_at=None))

    @pytest.mark.parametrize(
        ("fields", "rule"),
        [
            ({"share_eval": Msats(52_001), "share_work": Msats(0)}, "never_above_the_price"),
            ({"charge_eval": Msats(2_001), "charge_work": Msats(50_000)}, "never_above_the_share"),
            ({"charge_work": Msats(-1)}, "charge_work_msat"),
            ({"shortfall": Msats(-1)}, "shortfall_msat"),
            ({"work_runs": 4}, "work_runs"),
            ({"eval_runs": 4}, "eval_runs"),
            ({"ended_at": NOW}, "ended_has_its_time"),
            ({"state": JobState.CANCELLED}, "ended_has_its_time"),
            ({"state": JobState.CANCELLED, "ended_at": NOW, "due_at": NOW}, "ended_is_not_due"),
        ],
    )
    async def test_a_job_that_breaks_a_rule_is_refused(self, store, fields, rule):
        job = await begun(store)
        with pytest.raises(RuleBroken, match=rule):
            await write(store, job=dataclasses.replace(job, **fields))
        assert await store.job(JOB) == job

    async def test_a_result_is_kept_with_its_job(self, store):
        job = await moved(store, await begun(store, state=JobState.EVALUATING), JobState.EXECUTING)
        await applied(store, job=job, result="because")
        assert await store.texts(JOB) == JobTexts("why?", '{"relay":"here"}', "because")
        assert await store.texts("b" * 32) is None
        assert await store.look(lambda view: view.texts("b" * 32)) == JobTexts("", "", None)

    async def test_a_result_without_a_job_or_two_jobs_at_once_are_refused(self, store):
        job = await begun(store)
        with pytest.raises(RuleBroken, match="without its job"):
            await write(store, result="lost")
        with pytest.raises(RuleBroken, match="can't make a job and change one"):
            await write(store, new_job=new_job("a2" * 16), job=job)

    async def test_two_that_met_a_key_at_once_are_told_apart(self, store):
        assert isinstance(await write(store, identity=identity()), Applied)
        assert await write(store, identity=identity()) == Stale()
        known = await store.look(lambda view: view.identity(KEY))
        better = dataclasses.replace(known, trust_score=7, last_seen=NOW + 5)
        assert isinstance(await write(store, identity=better), Applied)
        assert await write(store, identity=better) == Stale()
        assert await store.look(lambda view: view.identity(KEY)) == dataclasses.replace(better, version=2)
        assert await store.look(lambda view: view.identity("cd" * 32)) is None

    async def test_a_keys_jobs_are_counted(self, store):
        await applied(store, identity=identity())
        for number, created_at in enumerate((NOW, NOW + 10, NOW + 20)):
            await begun(store, f"{number:032x}", pubkey=KEY, created_at=created_at)
        await begun(store)
        await moved(store, await store.job(f"{0:032x}"), JobState.CANCELLED)
        counts = await store.look(
            lambda view: (view.open_jobs_of(KEY), view.jobs_since(KEY, NOW + 10), view.open_invoices())
        )
        assert counts == (2, 2, 3)

    async def test_jobs_are_found(self, store):
        await begun(store, "abcd" + "0" * 28, due_at=NOW + 9)
        await begun(store, "1234" + "0" * 28, event_id="abcd" + "f" * 60, due_at=NOW + 3)
        await begun(store, "beef" + "0" * 28, state=JobState.EVALUATING)
        newest = ["beef", "1234", "abcd"]
        assert [job.id[:4] for job in await store.jobs(limit=9)] == newest
        assert [job.id[:4] for job in await store.jobs(limit=1)] == newest[:1]
        waiting = await store.jobs(limit=9, states=[JobState.AWAITING_EVAL_PAYMENT, JobState.EXPIRED])
        assert [job.id[:4] for job in waiting] == newest[1:]
        assert [job.id[:4] for job in await store.find_jobs("ABCD")] == newest[1:]
        assert [job.id[:4] for job in await store.find_jobs("abcdf")] == ["1234"]
        for nothing in ("abc", "", "abcdg", "abcd%", "____", "a" * 65):
            assert await store.find_jobs(nothing) == ()
        assert await store.due() == ((NOW + 3, "1234" + "0" * 28), (NOW + 9, "abcd" + "0" * 28))
        assert await store.job("beef") is None


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
        await applied(store, refunds=(refund(),))
        assert await caps() == 0
        for version, (state, expected) in enumerate(
            [(RefundState.SENDING, 3_000), (RefundState.IN_DOUBT, 3_000), (RefundState.SENT, 0)], start=1
        ):
            await applied(store, refunds=(refund(version=version, state=state, **flight),))
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


class OutboxContract:
    """What is to be done, and what was published."""

    async def test_an_action_is_started_postponed_and_finished(self, store):
        (action,) = (await applied(store, actions=(NewAction(kind="A", job_id=JOB, body="{}"),))).actions
        await store.mark_started(action.id)
        assert await store.pending() == (dataclasses.replace(action, started=True),)
        await store.postpone(action.id, NOW + 60)
        assert await store.pending() == (
            PendingAction(
                id=action.id, kind="A", job_id=JOB, body="{}", due_at=NOW + 60, attempts=1, started=False
            ),
        )
        await store.finish(action.id)
        assert await store.pending() == ()

    async def test_a_mark_need_not_be_awaited(self, store):
        (action,) = (await applied(store, actions=(NewAction(kind="A", job_id=JOB, body="{}"),))).actions
        store.mark_started(action.id)
        await store.remember("something", "later")
        assert (await store.pending())[0].started

    async def test_a_job_has_one_result(self, store):
        await begun(store)
        await applied(store, events=(event(),))
        with pytest.raises(RuleBroken, match=r"events\.job"):
            await write(store, events=(event("e2" * 32),))
        await applied(store, events=(event("e3" * 32, role=EventRole.FEEDBACK),))
        with pytest.raises(RuleBroken, match=r"events\.id"):
            await write(store, events=(event("e3" * 32, role=EventRole.FEEDBACK),))

    async def test_deliveries_are_noted_until_all_is_done(self, store):
        await begun(store)
        (action,) = (await applied(store, events=(event(),))).actions
        assert (await store.event(action.body)) == event()
        await store.delivered(action.id, action.body, {"wss://a": "accepted", "wss://b": "timeout"}, NOW, NOW + 5)
        assert [(row.due_at, row.attempts) for row in await store.pending()] == [(NOW + 5, 1)]
        await store.delivered(action.id, action.body, {"wss://b": "accepted"}, NOW + 5, None)
        assert await store.pending() == ()
        ((_, deliveries),) = (await store.story(JOB)).events
        assert deliveries == (Delivery("wss://a", "accepted", NOW), Delivery("wss://b", "accepted", NOW + 5))
        assert await store.event("0" * 64) is None

    async def test_a_story_tells_all_of_a_job_in_order(self, store):
        job = await begun(store)
        paid = paid_in(accounts.job(JOB), 52_000)
        owed = moves(accounts.job(JOB), accounts.refund("r1"), 30_000, Code.OWED)
        settlement = Entry(
            "settlement",
            Code.SETTLEMENT,
            (
                Posting(accounts.SHORTFALL, -5),
                Posting(accounts.job(JOB), -22_000),
                Posting(accounts.EARNED, 22_005),
            ),
            "overrun",
        )
        elsewhere = paid_in("job:other", 1)
        await applied(store, fact_id="paid:1", invoices=(invoice(job_id=JOB),), entries=(paid, elsewhere))
        await applied(
            store, fact_id="end", job=job, entries=(settlement, owed), refunds=(refund(job_id=JOB),), result="!"
        )
        await applied(store, fact_id="back", refunds=(refund(job_id=JOB, version=1, state=RefundState.HELD),))
        story = await store.story(JOB)
        assert story.job.version == 2
        assert story.texts.result == "!"
        assert [f.id for f in story.facts][1:] == ["paid:1", "end", "back"]
        assert {f.job_id for f in story.facts} == {JOB}
        assert story.entries == ((NOW, paid), (NOW, settlement), (NOW, owed))
        assert story.invoices == (invoice(job_id=JOB),)
        assert story.refunds == (refund(job_id=JOB, version=2, state=RefundState.HELD),)

    async def test_a_setting_is_remembered(self, store):
        assert await store.setting("cursor") is None
        await store.remember("cursor", "1")
        await store.remember("cursor", "2")
        assert await store.setting("cursor") == "2"

    async def test_after_its_close_a_store_says_so(self, store):
        last = write(store, fact_id="last")
        results = await asyncio.gather(last, store.close())
        assert isinstance(results[0], Applied)
        await store.close()
        for call in (write(store), store.job(JOB), store.mark_started(1), store.remember("k", "v")):
            with pytest.raises(StoreUnavailable, match="closed"):
                await call


class StoreContract(CommitContract, MoneyContract, JobContract, MoneyBackContract, OutboxContract):
    """All of it."""
