"""Short ways to write facts, jobs and changes in ledger tests."""

import asyncio
import dataclasses
import itertools
import threading

from ledger import accounts
from ledger.accounts import POOL
from ledger.credit import TopUpRecord
from ledger.entries import Code, Entry, transfer
from ledger.money import MicroUsd, Msats
from ledger.records import (
    Applied,
    Change,
    Door,
    EventRole,
    FactRecord,
    IdentityRecord,
    InvoiceRecord,
    JobRecord,
    JobState,
    Mode,
    NewEvent,
    NewJob,
    Outcome,
    Quote,
    RefundRecord,
    RefundState,
)
from ledger.reservations import NewReservation, ReservationEnd
from ledger.store import Store

NOW = 1_800_000_000
KEY = "ab" * 32
JOB = "a1" * 16
HASH = "02" * 32
PATIENCE_S = 30
_numbers = itertools.count(1)


def fact(fact_id: str | None = None, **fields) -> FactRecord:
    """A fact; one nobody has heard of unless it is named."""
    values = {"kind": "Test", "job_id": None, "at": NOW, "body": "{}"} | fields
    return FactRecord(id=fact_id or f"fact-{next(_numbers)}", **values)


async def write(store: Store, *, fact_id: str | None = None, done: int | None = None, at=NOW, **change) -> Outcome:
    """Commit one change."""
    return await store.commit(fact(fact_id, done=done, at=at), lambda _: Change(**change))


async def applied(store: Store, **change) -> Applied:
    """Commit one change that has to be applied."""
    outcome = await write(store, **change)
    assert isinstance(outcome, Applied), outcome
    return outcome


QUOTE = Quote(
    eval_fee=Msats(2_000),
    work_fee=Msats(50_000),
    estimated_cost=MicroUsd(31_415),
    margin_percent=40,
    btc_price_micro_usd=60_000_000_000,
    btc_price_source="test",
    work_model="model",
    max_output_tokens=400,
)


def new_job(job_id: str = JOB, **fields) -> NewJob:
    """A job of nobody's key that waits for its first money."""
    job = NewJob(
        id=job_id,
        state=JobState.AWAITING_EVAL_PAYMENT,
        door=Door.NOSTR,
        mode=Mode.ONCE,
        event_id=None,
        pubkey=None,
        request="why?",
        origin='{"relay":"here"}',
        quote=QUOTE,
        share_eval=QUOTE.eval_fee,
        share_work=QUOTE.work_fee,
        asked_at=NOW - 1,
        created_at=NOW,
    )
    return dataclasses.replace(job, **fields)


async def begun(store: Store, job_id: str = JOB, **fields) -> JobRecord:
    """Write a job."""
    job = (await applied(store, new_job=new_job(job_id, **fields))).job
    assert job is not None
    return job


async def moved(store: Store, job: JobRecord, state: JobState, **fields) -> JobRecord:
    """Write a job's next state."""
    ended = state in (JobState.COMPLETE, JobState.REJECTED, JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED)
    values = {"state": state, "ended_at": NOW} if ended else {"state": state}
    done = (await applied(store, job=dataclasses.replace(job, **values | fields))).job
    assert done is not None
    return done


def identity(pubkey: str = KEY, **fields) -> IdentityRecord:
    """A key we have just met."""
    return dataclasses.replace(IdentityRecord(pubkey=pubkey, first_seen=NOW, last_seen=NOW), **fields)


def reservation(job_id: str = JOB, amount: int = 50_000, **fields) -> dict:
    """The parts of a change that set pool money aside for a job: the row and the entry that fills it."""
    row = NewReservation(job_id=job_id, tier="established", budget=Msats(50_000), amount=Msats(amount), at=NOW)
    row = dataclasses.replace(row, **fields)
    entry = moves(POOL, accounts.reserved(job_id), amount, Code.RESERVED, f"reserved:{job_id}")
    return {"reservation": row, "entries": (entry,)}


def granted(grant: int, reserved: int = 50_000, job_id: str = JOB, at: int = NOW) -> dict:
    """The parts of a change that end a reservation: the grant is earned, the rest goes back."""
    account = accounts.reserved(job_id)
    entries = []
    if grant:
        entries.append(moves(account, accounts.EARNED, grant, Code.SETTLEMENT, f"settlement:{job_id}"))
    if reserved - grant:
        entries.append(moves(account, POOL, reserved - grant, Code.RELEASED, f"released:{job_id}"))
    end = ReservationEnd(job_id=job_id, granted=Msats(grant), at=at)
    return {"reservation_end": end, "entries": tuple(entries)}


def invoice(payment_hash: str = "01" * 32, **fields) -> InvoiceRecord:
    """An open invoice for a job."""
    record = InvoiceRecord(
        payment_hash=payment_hash,
        account=accounts.job(JOB),
        job_id=None,
        amount=Msats(52_000),
        bolt11="lnbc1",
        created_at=NOW,
        expires_at=NOW + 600,
    )
    return dataclasses.replace(record, **fields)


def topup(topup_id: str = "t1", **fields) -> TopUpRecord:
    """A top-up that waits for its invoice."""
    record = TopUpRecord(
        id=topup_id,
        event_id=None,
        account=accounts.customer(KEY),
        pubkey=KEY,
        amount=Msats(52_000),
        origin='{"relay":"here"}',
        created_at=NOW,
    )
    return dataclasses.replace(record, **fields)


def refund(refund_id: str = "r1", **fields) -> RefundRecord:
    """A refund that is owed."""
    record = RefundRecord(
        id=refund_id,
        version=0,
        job_id=None,
        pubkey=None,
        amount=Msats(30_000),
        reason="change",
        state=RefundState.OWED,
        created_at=NOW,
        updated_at=NOW,
    )
    return dataclasses.replace(record, **fields)


def event(event_id: str = "e1" * 32, job_id: str | None = JOB, role: EventRole = EventRole.RESULT) -> NewEvent:
    """An event to publish; a job's result unless told otherwise."""
    return NewEvent(id=event_id, job_id=job_id, role=role, json='{"kind":6050}', targets='["wss://a"]')


def paid_in(account: str, amount: int, entry_id: str | None = None) -> Entry:
    """Money that came in for an account."""
    name = entry_id or f"settled:{next(_numbers)}"
    return transfer(name, Code.SETTLED, accounts.NODE, account, Msats(amount))


def moves(debit: str, credit: str, amount: int, code: Code = Code.RESERVED, entry_id: str | None = None) -> Entry:
    """Money that moves between two accounts."""
    return transfer(entry_id or f"entry-{next(_numbers)}", code, debit, credit, Msats(amount))


async def balance(store: Store, account: str) -> int:
    """What an account holds, in msat."""
    return await store.look(lambda view: view.balance(account))


class Held:
    """Keeps the thread busy until it is let go."""

    def __init__(self, writer):
        self._gate = threading.Event()
        self._running = threading.Event()
        self._task = asyncio.ensure_future(writer.run(self._work))

    def _work(self, _):
        self._running.set()
        self._gate.wait(PATIENCE_S)

    async def started(self):
        await asyncio.to_thread(self._running.wait, PATIENCE_S)

    async def release(self):
        self._gate.set()
        await self._task
