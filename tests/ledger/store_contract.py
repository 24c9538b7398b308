"""The contract of `ledger.store.Store`, as claims that run on every store.

A store's test file has a fixture `store`, a fresh and empty one, and a class `TestX(StoreContract)`. What is
claimed of money and of jobs stands in two files beside this one.
"""

import asyncio
import dataclasses

import pytest

from ledger import accounts
from ledger.accounts import POOL
from ledger.entries import Code, Entry, Posting
from ledger.records import (
    NOTHING,
    PUBLISH,
    Applied,
    Change,
    EventRole,
    JobState,
    JobTexts,
    NewAction,
    PendingAction,
    RefundState,
    Replayed,
)
from ledger.store import Delivery, RuleBroken, StoreUnavailable
from tests.ledger.books import (
    JOB,
    KEY,
    NOW,
    applied,
    balance,
    begun,
    event,
    fact,
    identity,
    invoice,
    moves,
    new_job,
    paid_in,
    refund,
    write,
)
from tests.ledger.store_contract_bootstrap import BootstrapContract
from tests.ledger.store_contract_credit import CreditContract, ForgettingContract
from tests.ledger.store_contract_donations import DonationsContract
from tests.ledger.store_contract_jobs import JobContract
from tests.ledger.store_contract_money import MoneyBackContract, MoneyContract
from tests.ledger.store_contract_pool import BudgetContract, PoolBooksContract, PoolContract
from tests.ledger.store_contract_sessions import SessionContract


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

    async def test_an_event_may_have_to_be_published_later(self, store):
        await begun(store)
        later = dataclasses.replace(event(), due_at=NOW + 60)
        (action,) = (await applied(store, events=(later,))).actions
        assert action.due_at == NOW + 60
        assert await store.pending() == (action,)
        assert (await store.event(action.body)) == event()

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


class StoreContract(
    CommitContract,
    MoneyContract,
    JobContract,
    MoneyBackContract,
    CreditContract,
    ForgettingContract,
    PoolContract,
    BudgetContract,
    PoolBooksContract,
    DonationsContract,
    SessionContract,
    BootstrapContract,
    OutboxContract,
):
    """All of it."""
