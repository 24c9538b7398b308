"""Rows of ``sessions`` to records and back, as :mod:`ledger.sqlite_rows` has it for all others."""

import sqlite3

from ledger.sessions import SessionRecord, SessionState
from ledger.sqlite_rows import Parameters


def session_from(row: sqlite3.Row) -> SessionRecord:
    """A row of ``sessions``."""
    return SessionRecord(
        id=row["id"],
        version=row["version"],
        state=SessionState(row["state"]),
        pubkey=row["nostr_pubkey"],
        created_at=row["created_at"],
        used_at=row["used_at"],
        ended_at=row["ended_at"],
        refund_to=row["refund_to"],
    )


def session_columns(session: SessionRecord) -> Parameters:
    """What ``insert_session`` and ``update_session`` write."""
    return {
        "id": session.id,
        "version": session.version,
        "state": session.state,
        "pubkey": session.pubkey,
        "created_at": session.created_at,
        "used_at": session.used_at,
        "ended_at": session.ended_at,
        "refund_to": session.refund_to,
    }
