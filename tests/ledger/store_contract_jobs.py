"""What a store promises of jobs, and of the keys they come from. Part of `StoreContract`."""

import dataclasses

import pytest

from ledger.accounts import POOL
from ledger.money import MicroUsd, Msats
from ledger.records import (
    Applied,
    Door,
    EventRole,
    InvoiceState,
    JobState,
    JobTexts,
    Mode,
    NewEvent,
    Stale,
)
from ledger.store import RuleBroken
from tests.ledger.books import (
    JOB,
    KEY,
    NOW,
    QUOTE,
    applied,
    balance,
    begun,
    identity,
    invoice,
    moved,
    new_job,
    paid_in,
    write,
)


def line(number):
    return f"{number}" * 32


async def answered_in_a_line(store, count):
    """Jobs of which each follows the one before, all answered."""
    for number in range(1, count + 1):
        job = await begun(
            store,
            line(number),
            request=f"q{number}",
            follows=line(number - 1) if number > 1 else None,
            state=JobState.EVALUATING,
        )
        await applied(store, job=await moved(store, job, JobState.EXECUTING), result=f"a{number}")


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
        """JOB-16."""
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

    async def test_a_thread_is_read_from_its_beginning_to_the_newest_answer(self, store):
        await answered_in_a_line(store, 4)
        assert await self.thread(store, line(4)) == ["q1>a1", "q2>a2", "q3>a3", "q4>a4"]
        assert await self.thread(store, line(4), 2) == ["q2>a2", "q3>a3", "q4>a4"]
        await begun(store, line(5), request="q5", follows=line(4))
        assert await self.thread(store, line(5), 2) == ["q3>a3", "q4>a4"]
        assert await self.thread(store, "f" * 32) == []

    async def test_a_thread_does_not_reach_back_over_what_has_no_answer(self, store):
        await answered_in_a_line(store, 2)
        await begun(store, line(3), request="q3", follows=line(2))
        await begun(store, line(4), request="q4", follows=line(3))
        assert await self.thread(store, line(4)) == []
        assert await self.thread(store, line(3)) == ["q1>a1", "q2>a2"]

    async def test_a_job_that_follows_none_or_an_unknown_one_stands_alone(self, store):
        job = await begun(store, follows="f" * 32, state=JobState.EVALUATING)
        job = await moved(store, job, JobState.EXECUTING)
        await applied(store, job=job, result="because")
        assert await self.thread(store, JOB) == ["why?>because"]

    async def test_a_keys_newest_jobs_are_told_the_newest_first(self, store):
        await applied(store, identity=identity())
        await applied(store, identity=identity("cd" * 32))
        for number, key in enumerate((KEY, KEY, "cd" * 32, KEY), start=1):
            await begun(store, line(number), pubkey=key, created_at=NOW + number // 4)
        newest = await store.look(lambda view: view.newest_jobs_of(KEY, 2))
        assert [job.id for job in newest] == [line(4), line(2)]
        assert await store.look(lambda view: view.newest_jobs_of("ef" * 32, 2)) == ()

    async def test_where_its_events_go_is_told_also_of_a_job_that_was_forgotten(self, store):
        await applied(store, identity=identity())
        job = await begun(store, pubkey=KEY, state=JobState.EVALUATING)
        for number in range(1, 4):
            about = {"job_id": JOB, "role": EventRole.FEEDBACK, "json": '{"id":1}', "targets": f"to {number}"}
            await applied(store, events=(NewEvent(id=f"{number:064x}", **about),))
        await moved(store, job, JobState.REJECTED)
        await applied(store, forget=KEY)
        assert await store.look(lambda view: view.targets_of(JOB)) == ("to 1", "to 2", "to 3")
        assert await store.look(lambda view: view.targets_of("b" * 32)) == ()

    @staticmethod
    async def thread(store, job_id, limit=9):
        turns = await store.look(lambda view: view.thread(job_id, limit))
        return [f"{turn.request}>{turn.answer}" for turn in turns]

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

    async def test_the_keys_that_have_paid_are_told_the_last_seen_first(self, store):
        for key, paid, seen in (("aa", 1, NOW), ("bb", 0, NOW + 3), ("cc", 2, NOW + 2), ("dd", 9, NOW + 1)):
            await applied(store, identity=identity(key * 32, paid_jobs=paid, last_seen=seen))
        assert list(await store.paying_keys(10)) == ["cc" * 32, "dd" * 32, "aa" * 32]
        assert list(await store.paying_keys(1)) == ["cc" * 32]

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

    async def test_what_a_key_has_cancelled_lately_is_counted_and_nothing_else(self, store):
        await applied(store, identity=identity())
        await applied(store, identity=identity("cd" * 32))
        for number, (key, age) in enumerate([(KEY, 0), (KEY, 100), (KEY, 101), ("cd" * 32, 0), (None, 0)]):
            job = await begun(store, f"{number:032x}", pubkey=key, created_at=NOW - age)
            await moved(store, job, JobState.CANCELLED)
        for number, state in enumerate((JobState.EXPIRED, JobState.EVALUATING), 10):
            await moved(store, await begun(store, f"{number:032x}", pubkey=KEY), state)
        await begun(store, "aa" * 16, pubkey=KEY)
        dropped = await begun(store, "bb" * 16, pubkey=KEY)
        await moved(store, dropped, JobState.CANCELLED, error_message="no invoice could be made")

        def cancelled(view):
            return [view.cancelled_since(KEY, since) for since in (NOW - 101, NOW - 100, NOW, NOW + 1)]

        assert await store.look(cancelled) == [3, 2, 1, 0]

    async def test_of_waiting_jobs_and_payable_invoices_the_larger_number_counts(self, store):
        """A job waits before it has an invoice, and an invoice may be paid after its job was cancelled."""

        async def counts_after(**change):
            await applied(store, **change)
            return await store.look(lambda view: view.open_invoices())

        assert await counts_after() == 0
        assert await counts_after(new_job=new_job()) == 1
        assert await counts_after(new_job=new_job("a2" * 16)) == 2
        payable = tuple(invoice(f"{number:064x}") for number in range(3))
        assert await counts_after(invoices=payable[:2]) == 2
        assert await counts_after(invoices=payable[2:]) == 3
        job = await store.job(JOB)
        cancelled = dataclasses.replace(job, state=JobState.CANCELLED, ended_at=NOW)
        assert await counts_after(job=cancelled) == 3
        expired = tuple(dataclasses.replace(each, state=InvoiceState.EXPIRED) for each in payable)
        assert await counts_after(invoices=expired) == 1

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

    async def test_the_newest_jobs_that_moved_a_keys_score(self, store):
        """A free answer raised nothing, a cancelled request lowered nothing, another key's job is another's."""
        await applied(store, identity=identity())

        async def ends(number, state, *, charge=0, pubkey=KEY):
            terms = {"pubkey": pubkey, "state": JobState.EVALUATING, "created_at": NOW + number}
            job = await begun(store, line(number), **terms)
            if state is JobState.COMPLETE:
                job = await moved(store, job, JobState.EXECUTING)
            await moved(store, job, state, charge_work=Msats(charge))

        async def told():
            rows = await store.look(lambda view: (view.last_paid_success(KEY), view.last_trouble(KEY)))
            return [row and row.id for row in rows]

        assert await told() == [None, None]
        await ends(1, JobState.COMPLETE, charge=5_000)
        await ends(2, JobState.REJECTED)
        assert await told() == [line(1), line(2)]
        await ends(3, JobState.COMPLETE)
        await ends(4, JobState.CANCELLED)
        await ends(5, JobState.FAILED, pubkey=None)
        assert await told() == [line(1), line(2)]
        await ends(6, JobState.FAILED)
        await ends(7, JobState.COMPLETE, charge=1_000)
        assert await told() == [line(7), line(6)]
