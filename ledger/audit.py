"""The invariants, looked for in the books as they lie on disk: what the code promised, found true or named.

It trusts nothing that wrote the ledger: every rule is a query of its own over the rows (``audit.sql``), and the
constraints that are meant to make it true are looked for as well. Reads one snapshot and changes nothing.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.migrate import schema_of
from ledger.queries import named_queries, sql_text, statements
from ledger.sqlite import connect_read_only

QUERIES: Final = named_queries("audit.sql")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that may not be. ``rule`` begins with its number (``I1`` … ``I8``, or ``file``)."""

    rule: str
    row: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.row}: {self.sentence}"


def audit(ledger: Path | sqlite3.Connection) -> list[Finding]:
    """Check a whole ledger: the file, its constraints, then every rule. An empty list is a pass.

    Takes as long as reading the ledger does, so call it in a thread of its own.

    Raises:
        StoreUnavailable: there is no ledger of this version.
        sqlite3.Error: the file can't be read at all.
    """
    if isinstance(ledger, sqlite3.Connection):
        return _audit(ledger)
    with closing(connect_read_only(ledger)) as connection:
        return _audit(connection)


def _audit(connection: sqlite3.Connection) -> list[Finding]:
    connection.execute("BEGIN")
    try:
        broken = [
            Finding("file is sound", "file", str(row[0]))
            for row in connection.execute("PRAGMA integrity_check")
            if row[0] != "ok"
        ]
        return broken + _missing_constraints(connection) + _broken_rules(connection)
    finally:
        connection.rollback()


def _missing_constraints(connection: sqlite3.Connection) -> list[Finding]:
    """A table, trigger or index that is not as the schema has it no longer holds what it was made for."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        for statement in statements(sql_text("schema.sql")):
            fresh.execute(statement)
        expected = schema_of(fresh)
        tables = ("job_transitions", "refund_transitions")
        graphs = {name: _rows(fresh, name) for name in tables}
    missing = sorted((kind, name) for kind, name, _ in expected - schema_of(connection))
    findings = [
        Finding("file has its constraints", f"{kind} {name}", "it is gone or was altered")
        for kind, name in missing
    ]
    for name, graph in graphs.items():
        if _rows(connection, name) != graph:
            findings.append(Finding("file has its constraints", f"table {name}", "its rows were altered"))
    return findings


def _rows(connection: sqlite3.Connection, table: str) -> set[tuple[str, str]]:
    rows = connection.execute(f"SELECT from_state, to_state FROM {table}")  # noqa: S608 - the two names above
    return {(row[0], row[1]) for row in rows}


def _broken_rules(connection: sqlite3.Connection) -> list[Finding]:
    return [
        Finding(rule, str(row[0]), str(row[1]))
        for rule, query in QUERIES.items()
        for row in connection.execute(query)
    ]
