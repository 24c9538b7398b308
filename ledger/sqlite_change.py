"""One fact and all it changes, written by SQLite inside a transaction that is already open.

Whoever calls undoes everything when something is raised here; see :class:`Undone` for the two races in which
that is the plan.
"""

import dataclasses
import sqlite3
from collections.abc import Iterator
from typing import assert_never

from ledger import accounts
from ledger.bootstrap import BootstrapRecord
from ledger.credit import FORGOTTEN_AT_ONCE, TopUpRecord
from ledger.entries import Entry, Posting
from ledger.records import (
    PUBLISH,
    Applied,
    Change,
    FactRecord,
    IdentityRecord,
    JobRecord,
    NewAction,
    NewJob,
    PendingAction,
    RefundRecord,
    RefundState,
    Replayed,
    Short,
    Stale,
)
from ledger.reservations import NewReservation, ReservationEnd
from ledger.sessions import SessionRecord
from ledger.sqlite_bootstrap import bootstrap_columns
from ledger.sqlite_rows import (
    action_from,
    entry_columns,
    event_columns,
    fact_columns,
    identity_columns,
    invoice_columns,
    job_begun,
    job_columns,
    new_job_columns,
    refund_columns,
    reservation_columns,
    reservation_end_columns,
    topup_columns,
)
from ledger.sqlite_sessions import session_columns
from ledger.sqlite_view import SQL, SqliteView
from ledger.store import Decide, RuleBroken


class Undone(Exception):
    """A race was lost: what was written so far has to be undone, and the caller is told ``outcome``."""

    def __init__(self, outcome: Stale | Short) -> None:
        super().__init__(outcome)
        self.outcome = outcome


def apply(connection: sqlite3.Connection, fact: FactRecord, decide: Decide) -> Applied | Replayed:
    """Decide on ``fact`` and write what follows.

    Raises:
        Undone: a versioned row moved, or an account would go below its floor.
        RuleBroken: a constraint refused the change.
    """
    # The look is as good as a constraint: this transaction holds the only right to write. The constraint is there.
    known = connection.execute(SQL["fact_is_known"], {"id": fact.id}).fetchone()
    if known is not None:
        _finish(connection, fact)
        return Replayed()
    change = decide(SqliteView(connection))
    try:
        return _write(connection, fact, change)
    except sqlite3.IntegrityError as error:
        raise RuleBroken(f"fact {fact.id} was not applied, because the ledger refuses it: {error}") from error


def _write(connection: sqlite3.Connection, fact: FactRecord, change: Change) -> Applied:
    """Everything in the order in which rows refer to each other."""
    _write_identity(connection, change.identity)
    _write_session(connection, change.session)
    _write_bootstrap(connection, change.bootstrap)
    job = _write_job(connection, change)
    values = fact_columns(fact, _job_of(fact, change))
    (fact_row,) = connection.execute(SQL["insert_fact"], values).fetchone()
    _reserve(connection, change.reservation)
    for entry in change.entries:
        _book(connection, entry, fact_row, fact.at)
    _end_reservation(connection, change.reservation_end)
    for invoice in change.invoices:
        if not connection.execute(SQL["write_invoice"], invoice_columns(invoice)).rowcount:
            raise RuleBroken(f"invoice {invoice.payment_hash} may change its state and nothing else")
    for topup in change.topups:
        _write_topup(connection, topup)
    for refund in change.refunds:
        _write_refund(connection, refund)
    for event in change.events:
        connection.execute(SQL["insert_event"], event_columns(event))
    actions = tuple(_write_action(connection, action) for action in _actions(change))
    if change.forget is not None:
        _forget(connection, change.forget)
    _finish(connection, fact)
    return Applied(job, actions, change)


def _job_of(fact: FactRecord, change: Change) -> str | None:
    """The job a fact belongs to: the one it names, else the one it changes (a payment is known by its hash)."""
    jobs = (
        fact.job_id,
        change.new_job and change.new_job.id,
        change.job and change.job.id,
        *(invoice.job_id for invoice in change.invoices),
        *(refund.job_id for refund in change.refunds),
    )
    return next((job_id for job_id in jobs if job_id), None)


def _write_identity(connection: sqlite3.Connection, identity: IdentityRecord | None) -> None:
    if identity is None:
        return
    statement = SQL["update_identity" if identity.version else "insert_identity"]
    if not connection.execute(statement, identity_columns(identity)).rowcount:
        raise Undone(Stale())


def _write_session(connection: sqlite3.Connection, session: SessionRecord | None) -> None:
    if session is None:
        return
    statement = SQL["update_session" if session.version else "insert_session"]
    if not connection.execute(statement, session_columns(session)).rowcount:
        raise Undone(Stale())


def _write_bootstrap(connection: sqlite3.Connection, order: BootstrapRecord | None) -> None:
    if order is None:
        return
    statement = SQL["update_bootstrap" if order.version else "insert_bootstrap"]
    if not connection.execute(statement, bootstrap_columns(order)).rowcount:
        raise Undone(Stale())


def _write_job(connection: sqlite3.Connection, change: Change) -> JobRecord | None:
    match change.new_job, change.job:
        case None, None:
            if change.result is not None:
                raise RuleBroken("a result was to be written without its job")
            return None
        case NewJob() as new, None:
            connection.execute(SQL["insert_job"], new_job_columns(new))
            texts = {"job_id": new.id, "request": new.request, "origin": new.origin, "follows": new.follows}
            connection.execute(SQL["insert_texts"], texts)
            job = job_begun(new)
        case None, JobRecord() as old:
            if not connection.execute(SQL["update_job"], job_columns(old)).rowcount:
                raise Undone(Stale())
            job = dataclasses.replace(old, version=old.version + 1)
        case _:
            raise RuleBroken("one change can't make a job and change one")
    if change.result is not None:
        connection.execute(SQL["write_result"], {"job_id": job.id, "result": change.result})
    return job


def _reserve(connection: sqlite3.Connection, new: NewReservation | None) -> None:
    """Before its entry: the ledger takes no money for a reservation that has no row."""
    if new is None:
        return
    if not connection.execute(SQL["insert_reservation"], reservation_columns(new)).rowcount:
        raise RuleBroken(f"the pool can't set money aside for job {new.job_id}, which is not there")


def _end_reservation(connection: sqlite3.Connection, end: ReservationEnd | None) -> None:
    """After the entries that drained it."""
    if end is None:
        return
    if not connection.execute(SQL["end_reservation"], reservation_end_columns(end)).rowcount:
        raise RuleBroken(f"job {end.job_id} has no reservation that is open: it ends once")


def _book(connection: sqlite3.Connection, entry: Entry, fact_row: int, at: int) -> None:
    """Write an entry's postings, each of which moves its account, then the entry that seals them."""
    (row,) = connection.execute(SQL["next_entry"]).fetchone()
    for posting in entry.postings:
        _post(connection, posting, row)
    connection.execute(SQL["insert_entry"], entry_columns(entry, row, fact_row, at))


def _post(connection: sqlite3.Connection, posting: Posting, entry_row: int) -> None:
    values = {"entry": entry_row, "account": posting.account, "amount": posting.amount}
    try:
        if connection.execute(SQL["insert_posting"], values).rowcount:
            return
        kind = accounts.kind_of(posting.account)
        connection.execute(SQL["insert_account"], {"name": posting.account, "kind": kind})
        connection.execute(SQL["insert_posting"], values)
    except sqlite3.IntegrityError as error:
        if str(error) != "CHECK constraint failed: floor":
            raise
        raise Undone(Short(posting.account)) from error


def _write_topup(connection: sqlite3.Connection, topup: TopUpRecord) -> None:
    if not connection.execute(SQL["write_topup"], topup_columns(topup)).rowcount:
        raise RuleBroken(f"top-up {topup.id} may get its invoice and its end and nothing else")


def _write_refund(connection: sqlite3.Connection, refund: RefundRecord) -> None:
    values = refund_columns(refund)
    statement = SQL["update_refund" if refund.version else "insert_refund"]
    if not connection.execute(statement, values).rowcount:
        raise Undone(Stale())
    match refund.state:
        case RefundState.SENDING:
            if not connection.execute(SQL["payment_begins"], values).rowcount:
                raise RuleBroken(
                    f"refund {refund.id}: payment {refund.payment_hash} was used before, or is in flight"
                )
        case RefundState.SENT:
            if not connection.execute(SQL["payment_arrived"], values).rowcount:
                raise RuleBroken(f"refund {refund.id}: payment {refund.payment_hash} was not in flight")
        case RefundState.OWED | RefundState.HELD | RefundState.CREDITED | RefundState.PAID_ELSEWHERE:
            connection.execute(SQL["payment_failed"], values)
        case RefundState.IN_DOUBT:
            pass  # still in flight, for all we know
        case _:
            assert_never(refund.state)


def _actions(change: Change) -> Iterator[NewAction]:
    yield from change.actions
    for event in change.events:
        yield NewAction(kind=PUBLISH, job_id=event.job_id, body=event.id, due_at=event.due_at)


def _write_action(connection: sqlite3.Connection, action: NewAction) -> PendingAction:
    values = {"kind": action.kind, "job_id": action.job_id, "body": action.body, "due_at": action.due_at}
    return action_from(connection.execute(SQL["insert_action"], values).fetchone())


def _forget(connection: sqlite3.Connection, pubkey: str) -> None:
    # The texts last: that they are there tells a job that is remembered.
    for statement in ("forget_events", "forget_reasons", "forget_texts"):
        connection.execute(SQL[statement], {"pubkey": pubkey, "limit": FORGOTTEN_AT_ONCE})
    for statement in ("forget_topups", "forget_payouts", "forget_targets"):
        connection.execute(SQL[statement], {"pubkey": pubkey})


def forget_delivered(connection: sqlite3.Connection, event_id: str) -> None:
    """Erase an event that was published, if its job was forgotten meanwhile."""
    if connection.execute(SQL["is_forgotten"], {"event_id": event_id}).fetchone() is not None:
        connection.execute(SQL["forget_event"], {"event_id": event_id})


def _finish(connection: sqlite3.Connection, fact: FactRecord) -> None:
    if fact.done is not None:
        connection.execute(SQL["finish_action"], {"id": fact.done})
