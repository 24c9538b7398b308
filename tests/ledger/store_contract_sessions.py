"""What a store promises of sessions. Part of `StoreContract`."""

import dataclasses

import pytest

from ledger import accounts
from ledger.entries import Code
from ledger.money import Msats
from ledger.records import JobState, RefundState, Short, Stale
from ledger.sessions import SessionRecord, SessionState
from ledger.store import RuleBroken
from tests.ledger.books import (
    HASH,
    JOB,
    KEY,
    NOW,
    applied,
    begun,
    identity,
    invoice,
    moves,
    new_job,
    paid_in,
    refund,
    topup,
    write,
)

SESSION = "5e" * 16
OTHER = "5f" * 16
CREDIT = accounts.session(SESSION)


def session(session_id: str = SESSION, **fields) -> SessionRecord:
    """A session that waits for its deposit."""
    row = SessionRecord(id=session_id, pubkey=None, created_at=NOW, used_at=NOW)
    return dataclasses.replace(row, **fields)


def filling(topup_id: str = "t1", **fields):
    return topup(topup_id, **({"account": CREDIT, "pubkey": None, "origin": ""} | fields))


async def opened(store, **fields) -> SessionRecord:
    """A session that waits, as it stands in the ledger."""
    await applied(store, session=session(**fields))
    return await at(store)


async def at(store, session_id: str = SESSION) -> SessionRecord | None:
    return await store.look(lambda view: view.session(session_id))


async def moved_to(store, row: SessionRecord, state: SessionState, **fields) -> SessionRecord:
    await applied(store, session=dataclasses.replace(row, state=state, **fields))
    return await at(store)


class SessionContract:
    """Sessions, the one top-up that waits, whose refunds and jobs they are."""

    async def test_a_session_comes_back_as_it_was_written_and_rises_with_each_change(self, store):
        await applied(store, identity=identity())
        row = await opened(store, pubkey=KEY)
        assert row == session(pubkey=KEY, version=1)
        row = await moved_to(store, row, SessionState.ACTIVE, used_at=NOW + 5)
        assert row == session(pubkey=KEY, version=2, state=SessionState.ACTIVE, used_at=NOW + 5)
        row = await moved_to(store, row, SessionState.CLOSED, ended_at=NOW + 9, refund_to="alice@example.com")
        assert (row.version, row.ended_at, row.refund_to) == (3, NOW + 9, "alice@example.com")
        assert await at(store, OTHER) is None

    async def test_what_waits_of_a_keys_sessions_is_counted_and_of_nobody_elses(self, store):
        async def waiting():
            return await store.look(lambda view: view.open_topups_of_sessions(KEY))

        await applied(store, identity=identity())
        await opened(store, pubkey=KEY)
        await applied(store, session=session(OTHER))
        await applied(store, topups=(topup("of the key itself"),))
        await applied(store, topups=(filling("other", account=accounts.session(OTHER)),))
        assert await waiting() == 0
        await applied(store, topups=(filling(),))
        assert await waiting() == 1
        await applied(store, topups=(filling(ended_at=NOW + 1),))
        assert await waiting() == 0

    async def test_a_session_that_changed_meanwhile_is_stale(self, store):
        row = await opened(store)
        await moved_to(store, row, SessionState.ACTIVE)
        assert await write(store, session=dataclasses.replace(row, state=SessionState.EXPIRED)) == Stale()
        assert await write(store, session=session()) == Stale()

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("awaiting_payment", "closed"),
            ("active", "expired"),
            ("active", "awaiting_payment"),
            ("closed", "active"),
            ("expired", "closed"),
        ],
    )
    async def test_a_session_takes_no_step_that_is_not_in_its_graph(self, store, old, new):
        row = await opened(store)
        for state in {"expired": ["expired"], "closed": ["active", "closed"]}.get(old, [old]):
            if state != row.state:
                row = await moved_to(store, row, SessionState(state), ended_at=NOW if state == "closed" else None)
        ended = NOW if new == "closed" else None
        with pytest.raises(RuleBroken, match="may not go from the state"):
            await write(store, session=dataclasses.replace(row, state=SessionState(new), ended_at=ended))

    @pytest.mark.parametrize("fields", [{"ended_at": NOW}, {"state": SessionState.CLOSED}])
    async def test_only_a_closed_session_has_its_end(self, store, fields):
        row = await opened(store)
        row = await moved_to(store, row, SessionState.ACTIVE)
        with pytest.raises(RuleBroken, match="closed_has_its_time"):
            await write(store, session=dataclasses.replace(row, **fields))

    async def test_a_session_begins_unpaid_and_refers_to_a_key_that_is_known(self, store):
        with pytest.raises(RuleBroken, match="begins awaiting payment"):
            await write(store, session=session(state=SessionState.ACTIVE))
        with pytest.raises(RuleBroken, match="FOREIGN KEY"):
            await write(store, session=session(pubkey=KEY))
        await applied(store, session=session(pubkey=KEY), identity=identity())

    async def test_one_topup_of_a_session_waits_at_most_and_the_first_is_its_deposit(self, store):
        await opened(store)
        await applied(store, topups=(filling(),))
        with pytest.raises(RuleBroken, match=r"topups\.account"):
            await write(store, topups=(filling("t2"),))
        over = filling(ended_at=NOW)
        await applied(store, topups=(over, filling("t2")))
        await applied(store, topups=(topup("t3"), topup("t4")))  # a key may wait for several

        def found(view):
            return view.deposit_of(SESSION), view.open_topup_of(SESSION), view.deposit_of(OTHER)

        assert await store.look(found) == (over, filling("t2"), None)

    async def test_the_invoice_of_a_session_fills_its_account(self, store):
        await opened(store)
        await applied(store, topups=(filling(),))
        made = dataclasses.replace(filling(), payment_hash=HASH)
        await applied(store, invoices=(invoice(HASH, account=CREDIT),), topups=(made,))
        assert await store.look(lambda view: view.topup_of_invoice(HASH)) == made
        assert await store.look(lambda view: view.open_topup_of(SESSION)) == made

    async def test_what_is_in_a_session_is_never_below_nothing(self, store):
        await opened(store)
        await applied(store, entries=(paid_in(CREDIT, 100),))
        assert await write(store, entries=(moves(CREDIT, f"job:{JOB}", 101, Code.CREDIT_USED),)) == Short(CREDIT)

    async def test_a_job_says_whose_session_pays_for_it_for_ever(self, store):
        await opened(store)
        assert (await begun(store, session_id=SESSION)).session_id == SESSION
        job = await store.job(JOB)
        assert job.session_id == SESSION
        with pytest.raises(RuleBroken, match="FOREIGN KEY"):
            await write(store, new_job=new_job("b2" * 16, session_id=OTHER))
        changed = dataclasses.replace(job, session_id=None, state=JobState.EXPIRED, ended_at=NOW, due_at=None)
        await applied(store, job=changed)
        assert (await store.job(JOB)).session_id == SESSION

    async def test_a_refund_is_of_a_session_and_of_no_keys_credit(self, store):
        await opened(store)
        row = refund("r1", session_id=SESSION, state=RefundState.HELD, amount=Msats(5))
        owed = moves(CREDIT, "refund:r1", 5, Code.OWED)
        await applied(store, refunds=(row,), entries=(paid_in(CREDIT, 5), owed))
        (found,) = await store.look(lambda view: view.refunds_of_session(SESSION))
        assert found == dataclasses.replace(row, version=1)
        assert await store.look(lambda view: view.refunds_of_session(OTHER)) == ()
        assert await store.look(lambda view: view.payouts_of(KEY)) == ()
        assert [each.id for each in await store.refunds(open_only=True)] == ["r1"]
