"""Whatever one row of a mixed run's ledger is altered by hand, in whatever column, the audit names it.

The tables and columns are the ledger's own, asked of the file: a column that comes is tried without a word here.
"""

import asyncio
import sqlite3
from contextlib import closing, contextmanager

import pytest

from ledger.audit import audit
from ledger.migrate import migrate
from ledger.records import EventRole, NewEvent
from ledger.seals import APART, SUMS, broken_seals, learn_to_seal, sealed_tables
from ledger.sqlite import open_ledger
from tests.ledger.books import NOW, applied
from tests.ledger.test_audit_bootstrap import live_a_little
from tests.money.crowd import Crowd

JOBS = 20
UNIQUE = 'SELECT name FROM pragma_index_list(?) WHERE "unique"'
NAMED_OTHERWISE = {
    # what is not named as its own row, the words that name it, and why that will do
    "postings": ("entries row {entry} ", "a posting is of its entry, and sealed with it"),
    "accounts.balance_msat": ("account {name}", "it moves with every posting, and is held against their sum"),
    "job_transitions": ("step job → ", "a step has no more to it than its two states"),
    "refund_transitions": ("step refund → ", "the same"),
    "session_transitions": ("step session → ", "the same"),
    "bootstrap_transitions": ("step bootstrap → ", "the same"),
    "seals": ("{what} row {row}", "a seal names the row it is of"),
}


async def everything_else(path):
    """What the crowd does not do: orders of nodes, events, answers that are kept, and the Workshop's diary."""
    await live_a_little(path)
    store = open_ledger(f"sqlite:///{path}")
    (job,) = await store.jobs(limit=1) or (None,)
    event = NewEvent(id="e1" * 32, job_id=job and job.id, role=EventRole.FEEDBACK, json="{}", targets="[]")
    action = (await applied(store, events=(event,))).actions[0]
    await store.delivered(action.id, event.id, {"wss://a.example": "ok"}, NOW, None)
    await store.begin_answer("key", "hash", "seed", NOW)
    await store.finish_answer("key", 200, "{}")
    await store.begin_answer("other", "hash", "seed", NOW)
    await store.note_world_events([(NOW, "job:complete")])
    await store.remember("wallet_cursor", "1")
    await store.close()


def the_crowd(path):
    crowd = Crowd("any cell", pool=10_000)
    while crowd.jobs() < JOBS:
        crowd.comes(crowd.one_of("hint", "twice", "listing"))
        crowd.wait(crowd.one_of(10, 60))
    with closing(sqlite3.connect(path)) as copy:
        crowd.world.query(lambda db: None)
        crowd.world.ledger._reader._connection.backup(copy)
    crowd.world.close()


def loaded(path):
    """A ledger in memory, its triggers gone, so that anything can be written to it."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    with closing(sqlite3.connect(path)) as file:
        file.backup(memory)
    assert audit(memory) == []
    for (name,) in memory.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        memory.execute(f"DROP TRIGGER {name}")
    memory.execute("PRAGMA ignore_check_constraints = ON")
    return memory


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory):
    """A mixed run of customers, and another ledger with a row of whatever they leave empty."""
    folder = tmp_path_factory.mktemp("cells")
    the_crowd(folder / "crowd.db")
    asyncio.run(everything_else(folder / "else.db"))
    found = [loaded(folder / "crowd.db"), loaded(folder / "else.db")]
    yield found
    for ledger in found:
        ledger.close()


@contextmanager
def undone(ledger):
    ledger.execute("BEGIN")
    try:
        yield
    finally:
        ledger.rollback()


def run(ledger, statement, **names):
    """Run a statement about a table of the ledger's own."""
    return ledger.execute(statement.format(**names))


def tables_of(ledger):
    names = ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    return sorted(name for (name,) in names)


def columns_of(ledger, table):
    """``(name, type, may be NULL, is of the key)`` of each."""
    found = ledger.execute('SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (table,)).fetchall()
    return [(name, kind, not (needed or place), bool(place)) for name, kind, needed, place in found]


def fresh_cells():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as ledger:
        migrate(ledger)
        return [(table, name) for table in tables_of(ledger) for name, *_ in columns_of(ledger, table)]


CELLS = fresh_cells()
TABLES = sorted({table for table, _ in CELLS})


def key_of(ledger, table):
    return " || ' ' || ".join(name for name, _, _, of_key in columns_of(ledger, table) if of_key)


def keys_of(ledger, table, which, order):
    names = {"key": key_of(ledger, table), "table": table, "which": which, "order": order}
    return [key for (key,) in run(ledger, "SELECT {key} FROM {table} WHERE {which} ORDER BY {order}, 1", **names)]


def row_names(ledger, table, column, where):
    """How the row that is altered has to be named, by what stands in it before or after."""
    words, _ = NAMED_OTHERWISE.get(f"{table}.{column}") or NAMED_OTHERWISE.get(table) or (None, "")
    key = key_of(ledger, table)
    cursor = run(
        ledger, "SELECT *, {key} AS its_key FROM {table} WHERE {where}", key=key, table=table, where=where
    )
    names = [name for name, *_ in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    return [words.format(**row) if words else f"{table} row {row['its_key']}" for row in rows]


def is_named(ledger, names):
    rows = [finding.row for finding in audit(ledger)]
    return any(row == name or row.startswith(f"{name.rstrip()} ") for name in names for row in rows)


def alterations(ledger, table, column):
    """``(which rows, new value)``: a number one more, a text another, nothing from something, and the reverse."""
    _, kind, may_be_null, _ = next(found for found in columns_of(ledger, table) if found[0] == column)
    other = {"INTEGER": f"{column} + 1", "BLOB": "x'01'"}.get(kind, f"{column} || 'x'")
    if kind == "ANY":
        other = f"CASE typeof({column}) WHEN 'integer' THEN {column} + 1000000 ELSE {column} || 'x' END"
    yield f"{column} IS NOT NULL", other
    if may_be_null:
        yield f"{column} IS NOT NULL", "NULL"
        yield f"{column} IS NULL", "7" if kind == "INTEGER" else "'x'"
    if column == "state":
        states = [f"'{state}'" for (state,) in run(ledger, "SELECT DISTINCT state FROM {table}", table=table)]
        yield from (("state <> " + state, state) for state in states)


@pytest.mark.parametrize(("table", "column"), CELLS, ids=".".join)
def test_a_cell_that_was_altered_is_named(ledgers, table, column):
    tried = 0
    for ledger in ledgers:
        for which, value in alterations(ledger, table, column):
            rows = keys_of(ledger, table, which, column)
            for row in {rows[0], rows[-1]} if rows and "+ 1" not in value else rows[-1:]:
                tried += 1
                where = f"{key_of(ledger, table)} = {row!r}"
                with undone(ledger):
                    names = row_names(ledger, table, column, where)
                    change = "UPDATE {table} SET {column} = {value} WHERE {where}"
                    run(ledger, change, table=table, column=column, value=value, where=where)
                    assert is_named(ledger, names), (names, value, audit(ledger))
    assert tried, f"no row of the two ledgers has anything in {table}.{column} to be altered"


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_was_removed_is_named(ledgers, table):
    tried = 0
    for ledger in ledgers:
        rows = keys_of(ledger, table, "true", "1")
        for row in {*rows[:1], *rows[-1:]}:
            tried += 1
            where = f"{key_of(ledger, table)} = {row!r}"
            with undone(ledger):
                names = row_names(ledger, table, None, where)
                run(ledger, "DELETE FROM {table} WHERE {where}", table=table, where=where)
                assert is_named(ledger, names), (names, audit(ledger))
    assert tried


def double(ledger, table, row):
    """Write a row again, under another key and with other ids where they are unique."""
    unique = {
        name
        for (index,) in ledger.execute(UNIQUE, (table,)).fetchall()
        for (name,) in ledger.execute("SELECT name FROM pragma_index_info(?)", (index,))
    }
    columns = columns_of(ledger, table)
    *shared, last = (name for name, _, _, of_key in columns if of_key)
    unique = (unique | {last}) - set(shared)
    terms = []
    for name, kind, *_ in columns:
        new = f"{name} + 1000000" if kind == "INTEGER" else f"{name} || 'x'"
        terms.append(new if name in unique else name)
    names = {"table": table, "terms": ", ".join(terms), "key": key_of(ledger, table), "row": repr(row)}
    run(ledger, "INSERT INTO {table} SELECT {terms} FROM {table} WHERE {key} = {row}", **names)


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_was_doubled_is_named(ledgers, table):
    tried = 0
    for ledger in ledgers:
        for row in keys_of(ledger, table, "true", "1")[-1:]:
            tried += 1
            with undone(ledger):
                before = set(row_names(ledger, table, None, "true"))
                double(ledger, table, row)
                names = set(row_names(ledger, table, None, "true")) - before
                assert is_named(ledger, names or before), (names, audit(ledger))
    assert tried


def test_every_table_is_sealed_or_says_why_not():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as ledger:
        migrate(ledger)
        sealed = {table.name: set(table.columns) for table in sealed_tables(ledger)}
        learn_to_seal(ledger)
        assert list(broken_seals(ledger, sealed_tables(ledger))) == []
    assert set(sealed) | set(APART) == set(TABLES)
    apart = {f"{table}.{column}" for table, columns in SUMS.items() for column in columns} | set(APART)
    assert apart == set(NAMED_OTHERWISE)
    assert {(table, column) for table, column in CELLS if table in sealed and column not in sealed[table]} == {
        ("accounts", "balance_msat")
    }
