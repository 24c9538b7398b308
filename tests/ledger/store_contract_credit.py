"""What a store promises of prepaid credit and of forgetting. Part of `StoreContract`."""

import dataclasses

import pytest

from ledger import accounts, sqlite_change
from ledger.credit import Unfinished
from ledger.entries import Code
from ledger.money import Msats
from ledger.records import RUN, EventRole, InvoiceState, JobState, JobTexts, NewAction, RefundState, Short, Stale
from ledger.store import RuleBroken
from tests.ledger.books import (
    HASH,
    JOB,
    KEY,
    NOW,
    applied,
    balance,
    begun,
    event,
    identity,
    invoice,
    moved,
    moves,
    paid_in,
    refund,
    topup,
    write,
)

OTHER = "cd" * 32
CREDIT = accounts.customer(KEY)


def of_topup(payment_hash=HASH, **fields):
    return invoice(payment_hash, account=CREDIT, **fields)


class CreditContract:
    """Top-ups that wait and end, pay-outs, and runs that nobody has begun."""

    async def test_a_topup_comes_back_as_it_was_written_gets_its_invoice_and_ends(self, store):
        asked = topup(event_id="ee" * 32)
        await applied(store, topups=(asked,))
        assert await store.look(lambda view: view.waiting_topups_of(KEY, 9)) == ((asked, None),)
        made = dataclasses.replace(asked, payment_hash=HASH)
        await applied(store, invoices=(of_topup(),), topups=(made,))

        def found(view):
            return view.topup("t1"), view.topup_of_event("ee" * 32), view.topup_of_invoice(HASH)

        assert await store.look(found) == (made, made, made)
        assert await store.look(lambda view: view.waiting_topups_of(KEY, 9)) == ((made, of_topup()),)
        ended = dataclasses.replace(made, ended_at=NOW + 9)
        await applied(store, topups=(ended,))
        assert await store.look(found) == (ended, ended, ended)
        assert await store.look(lambda view: view.waiting_topups_of(KEY, 9)) == ()

    async def test_an_unknown_topup_is_none(self, store):
        def found(view):
            return view.topup("t1"), view.topup_of_event("ee" * 32), view.topup_of_invoice(HASH)

        assert await store.look(found) == (None, None, None)

    async def test_waiting_topups_are_told_oldest_first_and_not_more_than_wanted(self, store):
        await applied(store, topups=tuple(topup(f"t{number}") for number in range(4)))
        await applied(store, topups=(topup("other", pubkey=OTHER),))
        told = await store.look(lambda view: view.waiting_topups_of(KEY, 3))
        assert [row.id for row, _ in told] == ["t0", "t1", "t2"]

    @pytest.mark.parametrize(
        "fields",
        [
            {"amount": Msats(1)},
            {"account": accounts.customer(OTHER)},
            {"payment_hash": "03" * 32},
            {"ended_at": None},
            {"ended_at": NOW + 1},
        ],
    )
    async def test_a_topup_keeps_its_terms_its_invoice_and_its_end(self, store, fields):
        ended = topup(payment_hash=HASH, ended_at=NOW)
        await applied(store, invoices=(of_topup(), of_topup("03" * 32)), topups=(ended,))
        with pytest.raises(RuleBroken):
            await write(store, topups=(dataclasses.replace(ended, **fields),))
        assert await store.look(lambda view: view.topup("t1")) == ended

    async def test_a_topup_needs_an_invoice_that_is_there(self, store):
        with pytest.raises(RuleBroken, match="FOREIGN KEY"):
            await write(store, topups=(topup(payment_hash=HASH),))

    async def test_a_request_event_makes_one_topup(self, store):
        await applied(store, topups=(topup(event_id="ee" * 32),))
        with pytest.raises(RuleBroken, match="event_id"):
            await write(store, topups=(topup("t2", event_id="ee" * 32),))

    async def test_topups_count_with_the_jobs_of_their_key(self, store):
        await applied(store, identity=identity())
        await begun(store, pubkey=KEY)
        rows = (
            topup("a"),
            topup("b", created_at=NOW - 60),
            topup("c", created_at=NOW - 61, ended_at=NOW),
            topup("d", pubkey=OTHER),
        )
        await applied(store, topups=rows)

        def counts(view):
            return view.open_jobs_of(KEY), view.jobs_since(KEY, NOW - 60), view.open_invoices()

        assert await store.look(counts) == (3, 3, 4)

    async def test_a_topup_given_up_counts_while_its_invoice_may_be_paid(self, store):
        states = {"h1": InvoiceState.OPEN, "h2": InvoiceState.SETTLED, "h3": InvoiceState.EXPIRED}
        for name, state in states.items():
            row = topup(name, payment_hash=name, ended_at=NOW)
            await applied(store, invoices=(of_topup(name, state=state),), topups=(row,))
        await applied(store, invoices=(of_topup("h4"),), topups=(topup("waits", payment_hash="h4"),))

        def given_up(view):
            return [view.cancelled_since(KEY, since) for since in (NOW, NOW + 1)]

        assert await store.look(given_up) == [1, 0]

    async def test_a_payout_is_born_and_sent_in_one_change_that_debits_the_credit(self, store):
        await applied(store, entries=(paid_in(CREDIT, 30_000),))
        owed = refund(pubkey=KEY, origin="{}")
        sending = dataclasses.replace(
            owed, version=1, state=RefundState.SENDING, payment_hash=HASH, bolt11="lnbc1", max_fee=Msats(2_000)
        )
        leaves = moves(CREDIT, "refund:r1", 30_000, Code.OWED)
        await applied(store, refunds=(owed, sending), entries=(leaves,))
        (row,) = await store.look(lambda view: view.payouts_of(KEY))
        assert row == dataclasses.replace(sending, version=2)
        assert await store.look(lambda view: view.payouts_of(OTHER)) == ()
        assert (await balance(store, CREDIT), await balance(store, "refund:r1")) == (0, 30_000)

    async def test_of_two_payouts_of_all_the_credit_the_second_is_short(self, store):
        await applied(store, entries=(paid_in(CREDIT, 30_000),))
        rows = [refund(name, pubkey=KEY, state=RefundState.HELD) for name in ("r1", "r2")]
        changes = [
            {"refunds": (row,), "entries": (moves(CREDIT, f"refund:{row.id}", 30_000, Code.OWED),)} for row in rows
        ]
        await applied(store, **changes[0])
        assert await write(store, **changes[1]) == Short(CREDIT)
        assert await store.look(lambda view: view.refund("r2")) is None

    async def test_two_steps_of_a_refund_in_one_change_both_follow_the_graph(self, store):
        flight = {"payment_hash": HASH, "bolt11": "lnbc1"}
        await applied(store, refunds=(refund(pubkey=KEY),))
        await applied(store, refunds=(refund(version=1, pubkey=KEY, state=RefundState.SENDING, **flight),))
        owed = refund(version=2, pubkey=KEY, **flight)
        credited = dataclasses.replace(owed, version=3, state=RefundState.CREDITED)
        assert await write(store, refunds=(owed, dataclasses.replace(credited, version=2))) == Stale()
        await applied(store, refunds=(owed, credited))
        assert (await store.look(lambda view: view.refund("r1"))).state is RefundState.CREDITED
        assert await store.look(lambda view: view.payouts_of(KEY)) == ()

    async def test_the_fee_cap_of_a_payout_is_not_ours(self, store):
        flight = {"payment_hash": HASH, "bolt11": "lnbc1", "max_fee": Msats(3_000)}
        await applied(store, refunds=(refund(), refund(version=1, state=RefundState.SENDING, **flight)))
        assert await store.look(lambda view: view.fee_caps_in_flight()) == 0

    async def test_a_run_waits_until_somebody_begins_it(self, store):
        kinds = (RUN, "CheckInvoice")
        actions = tuple(NewAction(kind=kind, job_id=JOB, body="{}") for kind in kinds)
        run, check = (await applied(store, actions=actions)).actions

        async def waits(job_id=JOB):
            return await store.look(lambda view: view.run_waits(job_id))

        assert (await waits(), await waits("b" * 32)) == (True, False)
        await store.mark_started(check.id)
        assert await waits()
        await store.mark_started(run.id)
        assert not await waits()
        await store.postpone(run.id, NOW)
        assert await waits()
        await store.finish(run.id)
        assert not await waits()


class ForgettingContract:
    """Texts are erased, and nothing else."""

    async def an_ended_job(self, store, job_id=JOB, **fields):
        """A job of :data:`KEY` with a result, a published event and a reason; and that event's outbox row."""
        values = {"pubkey": KEY, "state": JobState.EVALUATING, "refund_to": "me@home"} | fields
        job = await begun(store, job_id, **values)
        job = await moved(store, job, JobState.EXECUTING)
        ended = {"state": JobState.COMPLETE, "ended_at": NOW, "reason": "why", "error_message": "how"}
        outcome = await applied(
            store,
            job=dataclasses.replace(job, **ended),
            result="because",
            events=(event(f"e{job_id[1:]}" * 2, job_id),),
        )
        return outcome.job, outcome.actions[0]

    async def delivered(self, store, action):
        await store.delivered(action.id, action.body, {"wss://a": "accepted"}, NOW, None)

    async def test_an_ended_job_is_forgotten_and_all_but_its_texts_stays(self, store):
        await applied(store, identity=identity())
        job, action = await self.an_ended_job(store)
        await self.delivered(store, action)
        before = await store.story(JOB)
        await applied(store, forget=KEY)
        after = await store.story(JOB)
        assert after.texts == await store.texts(JOB) == JobTexts("", "", None, forgotten=True)
        stays = {"reason": None, "error_message": None, "refund_to": None, "version": job.version + 1}
        assert after.job == dataclasses.replace(job, **stays)
        ((published, deliveries),) = after.events
        assert (published.json, published.id, published.job_id) == ("", action.body, JOB)
        assert deliveries == before.events[0][1]
        assert (after.facts, after.entries, after.invoices, after.refunds) == (
            before.facts, before.entries, before.invoices, before.refunds,
        )  # fmt: skip

    async def test_an_event_that_is_still_to_be_delivered_is_forgotten_when_it_was(self, store):
        await applied(store, identity=identity())
        _, action = await self.an_ended_job(store)
        await applied(store, forget=KEY)
        assert (await store.event(action.body)).json == '{"kind":6050}'
        await store.delivered(action.id, action.body, {"wss://a": "timeout"}, NOW, NOW + 5)
        assert (await store.event(action.body)).json == '{"kind":6050}'
        await self.delivered(store, action)
        assert (await store.event(action.body)).json == ""

    async def test_what_goes_on_and_what_is_anothers_is_remembered(self, store):
        await applied(store, identity=identity())
        await applied(store, identity=identity(OTHER))
        await self.an_ended_job(store, "b" * 32, pubkey=OTHER)
        await self.an_ended_job(store, "c" * 32, pubkey=None)
        await begun(store, "d" * 32, pubkey=KEY)
        assert await store.look(lambda view: view.remembered_jobs_of(KEY)) == 0
        await applied(store, forget=KEY)
        for job_id in ("b" * 32, "c" * 32, "d" * 32):
            assert (await store.texts(job_id)).request == "why?"
        assert await store.look(lambda view: view.remembered_jobs_of(OTHER)) == 1

    async def test_an_event_of_a_job_that_is_remembered_stays_when_it_was_delivered(self, store):
        await applied(store, identity=identity())
        _, action = await self.an_ended_job(store)
        await self.delivered(store, action)
        assert (await store.event(action.body)).json == '{"kind":6050}'

    async def test_an_event_of_no_job_stays(self, store):
        await applied(store, identity=identity())
        (action,) = (await applied(store, events=(event(job_id=None, role=EventRole.FEEDBACK),))).actions
        await applied(store, forget=KEY)
        await self.delivered(store, action)
        assert (await store.event(action.body)).json == '{"kind":6050}'

    async def test_forgetting_twice_is_forgetting_once(self, store):
        await applied(store, identity=identity())
        _, action = await self.an_ended_job(store)
        await self.delivered(store, action)
        assert await store.look(lambda view: view.remembered_jobs_of(KEY)) == 1
        await applied(store, forget=KEY)
        once = await store.story(JOB)
        assert await store.look(lambda view: view.remembered_jobs_of(KEY)) == 0
        await applied(store, forget=KEY)
        assert await store.story(JOB) == once

    async def test_of_very_many_jobs_the_oldest_are_forgotten_first_and_the_rest_when_asked_again(
        self, store, monkeypatch
    ):
        monkeypatch.setattr(sqlite_change, "FORGOTTEN_AT_ONCE", 2)
        await applied(store, identity=identity())
        jobs = [f"{number:032x}" for number in range(5)]
        for number, job_id in enumerate(jobs):
            _, action = await self.an_ended_job(store, job_id, created_at=NOW - number)
            await self.delivered(store, action)
        for left in (3, 1, 0):
            await applied(store, forget=KEY)
            remembered = [job_id for job_id in jobs if not (await store.texts(job_id)).forgotten]
            assert remembered == jobs[:left]
            stories = [await store.story(job_id) for job_id in jobs]
            assert [story.job.id for story in stories if story.events[0][0].json] == remembered
            assert [story.job.id for story in stories if story.job.reason] == remembered

    async def test_why_we_cancelled_a_job_stays_for_it_is_not_the_keys_doing(self, store):
        await applied(store, identity=identity())
        job = await begun(store, pubkey=KEY)
        await moved(store, job, JobState.CANCELLED, error_message="no invoice could be made")
        await applied(store, forget=KEY)
        assert await store.look(lambda view: view.cancelled_since(KEY, NOW)) == 0

    async def test_notes_on_how_to_answer_go_with_what_has_ended(self, store):
        flight = {"payment_hash": HASH, "bolt11": "lnbc1"}
        rows = (refund(pubkey=KEY, origin="{}", state=RefundState.HELD), refund("r2", pubkey=KEY, origin="{}"))
        await applied(store, topups=(topup("open"), topup("ended", ended_at=NOW)), refunds=rows)
        await applied(store, refunds=(refund("r2", version=1, pubkey=KEY, state=RefundState.SENDING, **flight),))
        await applied(store, refunds=(refund("r2", version=2, pubkey=KEY, state=RefundState.SENT, **flight),))
        await applied(store, forget=KEY)

        def notes(view):
            topups = [view.topup(name).origin for name in ("open", "ended")]
            return topups + [view.refund(name).origin for name in ("r1", "r2")]

        assert await store.look(notes) == ['{"relay":"here"}', "", "{}", ""]

    async def test_the_note_of_a_refund_is_written_once(self, store):
        await applied(store, refunds=(refund(pubkey=KEY, origin="{}"),))
        await applied(store, refunds=(refund(version=1, pubkey=KEY, origin="other", state=RefundState.HELD),))
        assert (await store.look(lambda view: view.refund("r1"))).origin == "{}"

    async def test_what_of_a_key_is_not_over_is_told(self, store):
        async def unfinished():
            return await store.look(lambda view: view.unfinished_of(KEY))

        assert await unfinished() == Unfinished()
        await applied(store, identity=identity())
        job, _ = await self.an_ended_job(store)
        await begun(store, "b" * 32, pubkey=KEY)
        await begun(store, "c" * 32)
        assert await unfinished() == Unfinished(jobs=1)
        rows = (refund(job_id=JOB, state=RefundState.HELD), refund("r2", job_id=JOB, state=RefundState.CREDITED))
        await applied(store, refunds=(*rows, refund("r3", pubkey=KEY), refund("r4", pubkey=OTHER)))
        assert await unfinished() == Unfinished(jobs=1, owed=Msats(60_000))
        await applied(store, invoices=(invoice(job_id=job.id), invoice("05" * 32, expires_at=NOW + 9_999)))
        assert await unfinished() == Unfinished(jobs=1, owed=Msats(60_000), payable_until=NOW + 600)
        waits = topup(payment_hash=HASH)
        await applied(store, invoices=(of_topup(expires_at=NOW + 700),), topups=(waits,))
        left = Unfinished(jobs=1, topups=1, owed=Msats(60_000), payable_until=NOW + 700)
        assert await unfinished() == left
        await applied(store, topups=(dataclasses.replace(waits, ended_at=NOW),))
        assert await unfinished() == dataclasses.replace(left, topups=0)
        await applied(store, invoices=(of_topup(expires_at=NOW + 700, state=InvoiceState.EXPIRED),))
        assert (await unfinished()).payable_until == NOW + 600
