"""Rows of SQLite to records and back. Columns and fields meet here and nowhere else.

A record's field says what it means to us; a column says its unit as well, because people read the table too.
"""

import hashlib
import sqlite3
from typing import Any

from ledger.credit import TopUpRecord
from ledger.entries import Entry
from ledger.money import MicroUsd, Msats
from ledger.records import (
    Door,
    EventRole,
    FactRecord,
    IdentityRecord,
    InvoiceRecord,
    InvoiceState,
    JobRecord,
    JobState,
    Mode,
    NewEvent,
    NewJob,
    PendingAction,
    Quote,
    RefundRecord,
    RefundState,
)
from ledger.reservations import NewReservation, ReservationEnd

Parameters = dict[str, Any]


def job_from(row: sqlite3.Row) -> JobRecord:
    """A row of ``jobs``."""
    return JobRecord(
        id=row["id"],
        version=row["version"],
        state=JobState(row["state"]),
        door=Door(row["door"]),
        mode=Mode(row["mode"]),
        event_id=row["event_id"],
        pubkey=row["nostr_pubkey"],
        quote=Quote(
            eval_fee=Msats(row["eval_fee_msat"]),
            work_fee=Msats(row["work_fee_msat"]),
            estimated_cost=MicroUsd(row["estimated_cost_usd"]),
            margin_percent=row["margin_pct"],
            btc_price_micro_usd=row["btc_price_usd"],
            btc_price_source=row["btc_price_source"],
            work_model=row["work_model"],
            max_output_tokens=row["max_output_tokens"],
        ),
        share_eval=Msats(row["share_eval_msat"]),
        share_work=Msats(row["share_work_msat"]),
        credit_used=Msats(row["credit_used_msat"]),
        refund_to=row["refund_to"],
        free_tier=bool(row["free_tier"]),
        absorbed_sats=row["absorbed_sats"],
        eval_runs=row["eval_runs"],
        work_runs=row["work_runs"],
        eval_passed=None if row["eval_passed"] is None else bool(row["eval_passed"]),
        eval_input_tokens=row["eval_input_tokens"],
        eval_output_tokens=row["eval_output_tokens"],
        actual_input_tokens=row["actual_input_tokens"],
        actual_output_tokens=row["actual_output_tokens"],
        actual_cost=MicroUsd(row["actual_cost_usd"]),
        truncated=bool(row["truncated"]),
        charge_eval=Msats(row["charge_eval_msat"]),
        charge_work=Msats(row["charge_work_msat"]),
        shortfall=Msats(row["shortfall_msat"]),
        pool_credit=Msats(row["pool_credit_msat"]),
        reason=row["reason"],
        error_message=row["error_message"],
        asked_at=row["asked_at"],
        created_at=row["created_at"],
        paid_at=row["paid_at"],
        ended_at=row["ended_at"],
        due_at=row["due_at"],
        session_id=row["session_id"],
    )


def job_begun(job: NewJob) -> JobRecord:
    """The row that a new job has just become."""
    return JobRecord(
        id=job.id,
        version=1,
        state=job.state,
        door=job.door,
        mode=job.mode,
        event_id=job.event_id,
        pubkey=job.pubkey,
        quote=job.quote,
        share_eval=job.share_eval,
        share_work=job.share_work,
        credit_used=job.credit_used,
        refund_to=job.refund_to,
        free_tier=job.free_tier,
        absorbed_sats=job.absorbed_sats,
        eval_runs=job.eval_runs,
        asked_at=job.asked_at,
        created_at=job.created_at,
        paid_at=job.paid_at,
        due_at=job.due_at,
        session_id=job.session_id,
    )


def new_job_columns(job: NewJob) -> Parameters:
    """What ``insert_job`` writes."""
    quote = job.quote
    return {
        "id": job.id,
        "state": job.state,
        "door": job.door,
        "mode": job.mode,
        "event_id": job.event_id,
        "pubkey": job.pubkey,
        "request_hash": hashlib.sha256(job.request.encode()).hexdigest(),
        "eval_fee": quote.eval_fee,
        "work_fee": quote.work_fee,
        "estimated_cost": quote.estimated_cost,
        "margin_percent": quote.margin_percent,
        "btc_price": quote.btc_price_micro_usd,
        "btc_price_source": quote.btc_price_source,
        "work_model": quote.work_model,
        "max_output_tokens": quote.max_output_tokens,
        "share_eval": job.share_eval,
        "share_work": job.share_work,
        "credit_used": job.credit_used,
        "refund_to": job.refund_to,
        "free_tier": job.free_tier,
        "absorbed_sats": job.absorbed_sats,
        "eval_runs": job.eval_runs,
        "asked_at": job.asked_at,
        "created_at": job.created_at,
        "paid_at": job.paid_at,
        "due_at": job.due_at,
        "session_id": job.session_id,
    }


def job_columns(job: JobRecord) -> Parameters:
    """What ``update_job`` writes: all that may change, and the version that was decided on."""
    return {
        "id": job.id,
        "version": job.version,
        "state": job.state,
        "share_eval": job.share_eval,
        "share_work": job.share_work,
        "credit_used": job.credit_used,
        "refund_to": job.refund_to,
        "free_tier": job.free_tier,
        "absorbed_sats": job.absorbed_sats,
        "eval_runs": job.eval_runs,
        "work_runs": job.work_runs,
        "eval_passed": job.eval_passed,
        "eval_input_tokens": job.eval_input_tokens,
        "eval_output_tokens": job.eval_output_tokens,
        "actual_input_tokens": job.actual_input_tokens,
        "actual_output_tokens": job.actual_output_tokens,
        "actual_cost": job.actual_cost,
        "truncated": job.truncated,
        "charge_eval": job.charge_eval,
        "charge_work": job.charge_work,
        "shortfall": job.shortfall,
        "pool_credit": job.pool_credit,
        "reason": job.reason,
        "error_message": job.error_message,
        "paid_at": job.paid_at,
        "ended_at": job.ended_at,
        "due_at": job.due_at,
    }


def identity_from(row: sqlite3.Row) -> IdentityRecord:
    """A row of ``identities``: its columns are the record's fields."""
    return IdentityRecord(**dict(row))


def identity_columns(identity: IdentityRecord) -> Parameters:
    """What ``insert_identity`` and ``update_identity`` write."""
    return {
        "pubkey": identity.pubkey,
        "version": identity.version,
        "trust_score": identity.trust_score,
        "interaction_count": identity.interaction_count,
        "paid_jobs": identity.paid_jobs,
        "first_seen": identity.first_seen,
        "last_seen": identity.last_seen,
    }


def reservation_columns(reservation: NewReservation) -> Parameters:
    """What ``insert_reservation`` writes; the key is its job's."""
    return {
        "job_id": reservation.job_id,
        "tier": reservation.tier,
        "budget": reservation.budget,
        "amount": reservation.amount,
        "at": reservation.at,
    }


def reservation_end_columns(end: ReservationEnd) -> Parameters:
    """What ``end_reservation`` writes."""
    return {"job_id": end.job_id, "granted": end.granted, "at": end.at}


def invoice_from(row: sqlite3.Row) -> InvoiceRecord:
    """A row of ``invoices`` with its job's id."""
    return InvoiceRecord(
        payment_hash=row["payment_hash"],
        account=row["account"],
        job_id=row["job_id"],
        amount=Msats(row["amount_msat"]),
        bolt11=row["bolt11"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        state=InvoiceState(row["state"]),
        received=Msats(row["received_msat"]),
    )


def invoice_columns(invoice: InvoiceRecord) -> Parameters:
    """What ``write_invoice`` writes."""
    return {
        "payment_hash": invoice.payment_hash,
        "account": invoice.account,
        "job_id": invoice.job_id,
        "amount": invoice.amount,
        "bolt11": invoice.bolt11,
        "created_at": invoice.created_at,
        "expires_at": invoice.expires_at,
        "state": invoice.state,
        "received": invoice.received,
    }


def topup_from(row: sqlite3.Row) -> TopUpRecord:
    """A row of ``topups``."""
    return TopUpRecord(
        id=row["id"],
        event_id=row["event_id"],
        account=row["account"],
        pubkey=row["nostr_pubkey"],
        amount=Msats(row["amount_msat"]),
        origin=row["origin"],
        payment_hash=row["payment_hash"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
    )


def topup_columns(topup: TopUpRecord) -> Parameters:
    """What ``write_topup`` writes."""
    return {
        "id": topup.id,
        "event_id": topup.event_id,
        "account": topup.account,
        "pubkey": topup.pubkey,
        "amount": topup.amount,
        "origin": topup.origin,
        "payment_hash": topup.payment_hash,
        "created_at": topup.created_at,
        "ended_at": topup.ended_at,
    }


def refund_from(row: sqlite3.Row) -> RefundRecord:
    """A row of ``refunds`` with its job's id."""
    return RefundRecord(
        id=row["id"],
        version=row["version"],
        job_id=row["job_id"],
        pubkey=row["pubkey"],
        amount=Msats(row["amount_msat"]),
        reason=row["reason"],
        state=RefundState(row["state"]),
        kept_fee_room=Msats(row["kept_fee_room_msat"]),
        payment_hash=row["payment_hash"],
        bolt11=row["bolt11"],
        max_fee=Msats(row["max_fee_msat"]),
        fee=Msats(row["fee_msat"]),
        attempts=row["attempts"],
        note=row["note"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        due_at=row["due_at"],
        origin=row["origin"],
        target=row["target"],
        session_id=row["session_id"],
        kept_for_way=Msats(row["kept_for_way_msat"]),
        bootstrap_id=row["bootstrap_id"],
    )


def refund_columns(refund: RefundRecord) -> Parameters:
    """What ``insert_refund``, ``update_refund`` and the payments read from a refund."""
    return {
        "id": refund.id,
        "version": refund.version,
        "job_id": refund.job_id,
        "pubkey": refund.pubkey,
        "amount": refund.amount,
        "reason": refund.reason,
        "state": refund.state,
        "kept_fee_room": refund.kept_fee_room,
        "payment_hash": refund.payment_hash,
        "bolt11": refund.bolt11,
        "max_fee": refund.max_fee,
        "fee": refund.fee,
        "attempts": refund.attempts,
        "note": refund.note,
        "created_at": refund.created_at,
        "updated_at": refund.updated_at,
        "due_at": refund.due_at,
        "origin": refund.origin,
        "target": refund.target,
        "session_id": refund.session_id,
        "kept_for_way": refund.kept_for_way,
        "bootstrap_id": refund.bootstrap_id,
    }


def fact_from(row: sqlite3.Row) -> FactRecord:
    """A row of ``facts`` with its job's id."""
    return FactRecord(
        id=row["id"], kind=row["kind"], job_id=row["job_id"], at=row["at"], body=row["body"], done=row["done"]
    )


def fact_columns(fact: FactRecord, job_id: str | None) -> Parameters:
    """What ``insert_fact`` writes; ``job_id`` is the job it turned out to be about."""
    return {
        "id": fact.id,
        "kind": fact.kind,
        "job_id": job_id,
        "at": fact.at,
        "body": fact.body,
        "done": fact.done,
    }


def entry_columns(entry: Entry, row: int, fact: int, at: int) -> Parameters:
    """What ``insert_entry`` writes."""
    return {"row": row, "id": entry.id, "code": entry.code, "reason": entry.reason, "fact": fact, "at": at}


def action_from(row: sqlite3.Row) -> PendingAction:
    """A row of ``outbox``."""
    return PendingAction(
        id=row["id"],
        kind=row["kind"],
        job_id=row["job_id"],
        body=row["body"],
        due_at=row["due_at"],
        attempts=row["attempts"],
        started=bool(row["started"]),
    )


def event_from(row: sqlite3.Row) -> NewEvent:
    """A row of ``events`` with its job's id."""
    return NewEvent(
        id=row["id"],
        job_id=row["job_id"],
        role=EventRole(row["role"]),
        json=row["json"],
        targets=row["targets"],
    )


def event_columns(event: NewEvent) -> Parameters:
    """What ``insert_event`` writes."""
    return {
        "id": event.id,
        "job_id": event.job_id,
        "role": event.role,
        "json": event.json,
        "targets": event.targets,
    }
