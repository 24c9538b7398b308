"""A seal on every row, so that whoever writes to the ledger past Timmy is found out, and by which row.

A seal is a SHA-256 over all columns of a row. Triggers of the writing connection alone (TEMP, so no other program
has them) write it in the statement that writes the row, whichever that is; the audit computes it anew. It proves
that no hand slipped and no other program wrote; who has this code can make seals too.
"""

import hashlib
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

APART: Final = {
    "seals": "a seal that was altered, or is gone, no longer fits the row it names",
    "postings": "they are sealed with the entry they belong to",
    "job_transitions": "the audit holds them against the schema, step by step",
    "refund_transitions": "the audit holds them against the schema, step by step",
    "session_transitions": "the audit holds them against the schema, step by step",
    "bootstrap_transitions": "the audit holds them against the schema, step by step",
}
"""The tables whose rows have no seal of their own, and why they can do without."""
SUMS: Final = {"accounts": {"balance_msat": "the audit holds it against the sum of its postings"}}
"""By table, the columns that no seal is over, and why: a balance moves with every posting."""
BROKEN: Final = b""
"""In place of the seal of a row that had been altered when Timmy next wrote it: it is never made good by that."""
_SEAL_BYTES: Final = 16
_LABELS: Final = ("id", "entry_id", "name", "payment_hash")
_POSTINGS: Final = """(
    SELECT group_concat(account || ' ' || amount_msat) FROM (
        SELECT account, amount_msat FROM postings WHERE entry = {row}.id ORDER BY account
    )
)"""
# The + before a key takes its type's affinity away: else SQLite converts every seal's key to compare the two, and
# reads all seals of the table for each row.
_TRIGGERS: Final = (
    # A row that is gone and comes again was removed by another hand: Timmy's own takes the seal along.
    """CREATE TEMP TRIGGER seal_new_{table} AFTER INSERT ON main.{table} BEGIN
        INSERT INTO seals (what, row, seal) VALUES ('{table}', {new_key}, seal({new_terms}))
        ON CONFLICT (what, row) DO UPDATE SET seal = x'';
    END""",
    """CREATE TEMP TRIGGER seal_changed_{table} AFTER UPDATE{of} ON main.{table} BEGIN
        UPDATE seals SET seal = seal_anew(seal, {old_terms}, {new_terms})
        WHERE what = '{table}' AND row = +{old_key};
    END""",
    """CREATE TEMP TRIGGER seal_gone_{table} AFTER DELETE ON main.{table} BEGIN
        DELETE FROM seals WHERE what = '{table}' AND row = +{old_key};
    END""",
)
_NOT_AS_WRITTEN: Final = """
    SELECT {key}, {label}, CASE WHEN seals.row IS NULL THEN 'added' ELSE 'changed' END
    FROM {table} LEFT JOIN seals ON seals.what = '{table}' AND seals.row = +{key}
    WHERE seals.seal IS NOT seal({terms})
"""
_GONE: Final = """
    SELECT row, NULL, 'gone' FROM seals WHERE what = '{table}' AND row NOT IN (SELECT {key} FROM {table})
"""
_SEAL_ALL: Final = """
    INSERT INTO seals (what, row, seal) SELECT '{table}', {key}, seal({terms}) FROM {table} WHERE true
    ON CONFLICT (what, row) DO NOTHING
"""
_MARK_BROKEN: Final = """
    INSERT INTO seals (what, row, seal) VALUES (?, ?, x'') ON CONFLICT (what, row) DO UPDATE SET seal = x''
"""


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table with the columns that tell its rows apart, and those that its seals are over."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]

    def sql(self, template: str) -> str:
        """A statement about this table. Only names of our own schema are filled in."""
        label = next((name for name in _LABELS if name in self.columns and name not in self.key), "NULL")
        return template.format(
            table=self.name,
            key=self._key_of(self.name),
            terms=self._terms_of(self.name),
            label=label,
            of=f" OF {', '.join(self.columns)}" if self.name in SUMS else "",
            old_key=self._key_of("OLD"),
            old_terms=self._terms_of("OLD"),
            new_key=self._key_of("NEW"),
            new_terms=self._terms_of("NEW"),
        )

    def _key_of(self, row: str) -> str:
        """What tells a row apart."""
        return " || ' ' || ".join(f"{row}.{name}" for name in self.key)

    def _terms_of(self, row: str) -> str:
        """The text that the seal of a row is over, as bytes."""
        terms = [f"{row}.{name}" for name in self.columns]
        if self.name == "entries":
            terms.append(_POSTINGS.format(row=row))
        return f"CAST(json_array({', '.join(terms)}) AS BLOB)"


def sealed_tables(connection: sqlite3.Connection) -> list[SealedTable]:
    """Every table whose rows have seals, as its columns are now; none in a ledger of before there were seals."""
    tables = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
    names = {str(name) for (name,) in tables}
    if "seals" not in names:
        return []
    mine = sorted(name for name in names - set(APART) if not name.startswith("sqlite_"))
    return [_table(connection, name) for name in mine]


def _table(connection: sqlite3.Connection, name: str) -> SealedTable:
    found = connection.execute("SELECT name, pk FROM pragma_table_info(?)", (name,)).fetchall()
    key = tuple(str(column) for column, place in found if place)
    sums = SUMS.get(name, {})
    return SealedTable(name, key, tuple(str(column) for column, _ in found if column not in sums))


def seal(terms: bytes) -> bytes:
    """The seal of a row."""
    return hashlib.sha256(terms).digest()[:_SEAL_BYTES]


def _seal_anew(stored: bytes, before: bytes, after: bytes) -> bytes:
    return seal(after) if stored == seal(before) else BROKEN


def learn_to_seal(connection: sqlite3.Connection) -> None:
    """Give a connection the SQL functions that make seals."""
    connection.create_function("seal", 1, seal, deterministic=True)
    connection.create_function("seal_anew", 3, _seal_anew, deterministic=True)


def keep_sealed(connection: sqlite3.Connection) -> None:
    """From now on seal whatever this connection writes. The ledger is of the newest schema."""
    connection.execute("PRAGMA temp_store = MEMORY")
    learn_to_seal(connection)
    for table in sealed_tables(connection):
        for template in _TRIGGERS:
            connection.execute(table.sql(template))


@dataclass(frozen=True, slots=True)
class BrokenSeal:
    """A row that is not as Timmy wrote it: ``how`` is ``changed``, ``added`` or ``gone``."""

    table: str
    row: str | int
    label: str | None
    """An id that people know it by, where its key is none."""
    how: str


def broken_seals(connection: sqlite3.Connection, tables: Collection[SealedTable]) -> Iterator[BrokenSeal]:
    """Every row that was written past Timmy. The connection has learned to seal."""
    for table in tables:
        for template in (_NOT_AS_WRITTEN, _GONE):
            for row in connection.execute(table.sql(template)):
                yield BrokenSeal(table.name, *row)


def seal_all(connection: sqlite3.Connection) -> None:
    """Seal every row as it is: at the end of a migration, in its transaction. What was broken stays broken.

    The connection is on the newest schema, without the triggers. Takes a few seconds for a million rows.
    """
    learn_to_seal(connection)
    tables = sealed_tables(connection)
    if tables:
        connection.execute("DELETE FROM seals WHERE seal <> x''")
    for table in tables:
        connection.execute(table.sql(_SEAL_ALL))


def mark_broken(connection: sqlite3.Connection) -> None:
    """Let what is broken now stay broken, whatever seals are made anew: at the beginning of a migration."""
    learn_to_seal(connection)
    for found in list(broken_seals(connection, sealed_tables(connection))):
        connection.execute(_MARK_BROKEN, (found.table, found.row))
