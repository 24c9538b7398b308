"""The invariants, looked for in the books as they lie on disk: what the code promised, found true or named.

It trusts nothing that wrote the ledger: every rule is a query of its own over the rows (``audit.sql``), and the
constraints that are meant to make it true are looked for as well. Reads one snapshot and changes nothing.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.migrate import check_version, schema_of
from ledger.queries import named_queries, sql_text, statements
from ledger.seals import broken_seals, learn_to_seal, sealed_tables
from ledger.sqlite import connect_read_only
from ledger.writer import unavailable

QUERIES: Final = named_queries("audit.sql")
_GRAPHS: Final = """
    SELECT 'job', from_state, to_state FROM job_transitions
    UNION ALL SELECT 'refund', from_state, to_state FROM refund_transitions
    UNION ALL SELECT 'session', from_state, to_state FROM session_transitions
    UNION ALL SELECT 'bootstrap', from_state, to_state FROM bootstrap_transitions
"""


_WHAT_NEXT: Final = "put it back as a backup has it, and find out who writes to the ledger beside Timmy"
_WHAT: Final = {"entries": "it, or one of its postings,"}
_ALTERED: Final = {
    "changed": f"was changed by another hand than Timmy's: {_WHAT_NEXT}",
    "added": f"was added by another hand than Timmy's: {_WHAT_NEXT}",
    "gone": f"was removed by another hand than Timmy's: {_WHAT_NEXT}",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that may not be. ``rule`` begins with its number (``I1`` … ``I10``), ``file`` or ``seal``."""

    rule: str
    row: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.row}: {self.sentence}"


def audit(ledger: Path | sqlite3.Connection) -> list[Finding]:
    """Check a whole ledger: the file, its constraints, then every rule. An empty list is a pass.

    Takes as long as reading the ledger does, so call it in a thread of its own.

    Raises:
        StoreUnavailable: there is no ledger of this version, or it can't be read.
    """
    if isinstance(ledger, sqlite3.Connection):
        return _audit(ledger)
    try:
        with closing(connect_read_only(ledger, any_version=True)) as connection:
            # Of another version by another's hand it is read all the same, for that is a finding.
            if not _altered_rows(connection, only="schema_version"):
                check_version(connection)
            return _audit(connection)
    except sqlite3.Error as error:
        raise unavailable(str(ledger), error) from error


def _audit(connection: sqlite3.Connection) -> list[Finding]:
    if connection.in_transaction:
        return _findings(connection)
    connection.execute("BEGIN")
    try:
        return _findings(connection)
    finally:
        connection.rollback()


def _findings(connection: sqlite3.Connection) -> list[Finding]:
    return (
        _damage(connection)
        + _missing_constraints(connection)
        + _broken_rules(connection)
        + _altered_rows(connection)
    )


def _damage(connection: sqlite3.Connection) -> list[Finding]:
    answers = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    damage = [Finding("file is sound", "file", answer) for answer in answers if answer != "ok"]
    astray = connection.execute("PRAGMA foreign_key_check").fetchall()
    return damage + [
        Finding("file is sound", f"{row[0]} row {row[1]}", f"it points at a row of {row[2]} that is not there")
        for row in astray
    ]


def _missing_constraints(connection: sqlite3.Connection) -> list[Finding]:
    """A table, trigger or index that is not as the schema has it no longer holds what it was made for."""
    with _fresh_ledger() as fresh:
        expected, graphs = schema_of(fresh), _graphs(fresh)
    gone = sorted(f"{kind} {name}" for kind, name, _ in expected - schema_of(connection))
    moved = sorted(f"step {' → '.join(step)}" for step in graphs ^ _graphs(connection))
    return [Finding("file has its constraints", row, "it is gone or was altered") for row in gone + moved]


@contextmanager
def _fresh_ledger() -> Iterator[sqlite3.Connection]:
    """A ledger with nothing in it, to know what one is made of."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        for statement in statements(sql_text("schema.sql")):
            fresh.execute(statement)
        yield fresh


def _graphs(connection: sqlite3.Connection) -> set[tuple[str, ...]]:
    """Every step that a job, a refund, a session or the order of a node may take."""
    return {tuple(row) for row in connection.execute(_GRAPHS)}


def _altered_rows(connection: sqlite3.Connection, only: str | None = None) -> list[Finding]:
    """What was written past Timmy. The other rules say what it did to the books; this names the row itself."""
    if not sealed_tables(connection):
        return []  # the seals are gone, which was said above
    with _fresh_ledger() as fresh:
        tables = [table for table in sealed_tables(fresh) if only in (None, table.name)]
    learn_to_seal(connection)
    return [
        Finding(
            "seal: a row is as Timmy wrote it",
            f"{found.table} row {found.row}" + (f" ({found.label})" if found.label else ""),
            f"{_WHAT.get(found.table, 'it')} {_ALTERED[found.how]}",
        )
        for found in broken_seals(connection, tables)
    ]


def _broken_rules(connection: sqlite3.Connection) -> list[Finding]:
    return [finding for rule, query in QUERIES.items() for finding in _broken(connection, rule, query)]


def _broken(connection: sqlite3.Connection, rule: str, query: str) -> list[Finding]:
    try:
        return [Finding(rule, str(row[0]), str(row[1])) for row in connection.execute(query)]
    except sqlite3.OperationalError as error:
        if not str(error).startswith("no such "):
            raise
        return [Finding(rule, "the ledger", f"it can't be looked for: {error}")]
